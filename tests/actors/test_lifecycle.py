"""The life cycle of members: background tasks, their watching, and errors that cross processes."""

import asyncio
import logging
import pickle

import pytest
from ray.exceptions import RayError, RayTaskError

from actors.evaluators.pool import NoEvaluator
from actors.generators.actor import EngineLost
from actors.generators.pool import GenerationFailed
from actors.lifecycle import BackgroundTasks, MemberEvent, MemberLost, NoMemberLeft, PoolMembers, one_line
from actors.waiting import DeadlineExceeded
from actors.weights.layout import CorruptWeights
from actors.weights.links import LinkError
from actors.weights.transfer import WeightTransferError
from evaluator.errors import RunFailed


def test_a_failure_is_reported_and_an_end_is_not():
    async def play():
        failures = []
        background = BackgroundTasks(failures.append)

        async def fail():
            raise KeyError("a bug")

        background.spawn(asyncio.sleep(0))
        background.spawn(fail())
        await asyncio.sleep(0.05)
        assert [repr(failure) for failure in failures] == ["KeyError('a bug')"]
        await background.stop()

    asyncio.run(play())


def test_stopping_waits_until_all_have_cleaned_up():
    async def play():
        ended = []
        failures = []
        background = BackgroundTasks(failures.append)

        async def work(name):
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0.02)
                ended.append(name)

        for name in "ab":
            background.spawn(work(name))
        await asyncio.sleep(0)
        await background.stop()
        assert (sorted(ended), failures) == (["a", "b"], [])
        await background.stop()

    asyncio.run(play())


class FakeMember:
    """Lives until it is told to fail with an error."""

    def __init__(self, name):
        self.name = name
        self.started = False
        self.killed = False
        self.end = asyncio.get_running_loop().create_future()

    async def start(self):
        self.started = True
        return f"{self.name} is ready"

    async def watch(self):
        await self.end

    def kill(self):
        self.killed = True


class FakeMembers(PoolMembers):
    """Kills a lost member, and adds none in its place."""

    def replace(self, member, reason):
        self._note(member.name, "removed", reason)
        member.kill()


def test_members_are_started_together_and_removed_when_lost(caplog):
    async def play():
        bugs = []
        pool = FakeMembers(bugs.append)
        members = [FakeMember("a"), FakeMember("b"), FakeMember("c")]
        assert await pool._start(members, "starting", 5.0) == ["a is ready", "b is ready", "c is ready"]
        for member in members:
            pool._watch(member)
        members[1].end.set_exception(MemberLost("b", "it died"))
        members[2].end.set_exception(KeyError("a bug"))
        await asyncio.sleep(0.02)
        assert [member.killed for member in members] == [False, True, False]
        assert list(pool.events) == [MemberEvent("b", "removed", "it died")]
        assert [repr(bug) for bug in bugs] == ["KeyError('a bug')"]
        await pool.background.stop()
        assert members[0].end.cancelled()

    caplog.set_level(logging.WARNING)
    asyncio.run(play())
    assert "b removed: it died" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        DeadlineExceeded("the update did not finish within 3 s; pending: learner rank 0"),
        GenerationFailed("completion q#0 lost its generator 3 times"),
        MemberLost("generator 3", "its engine died"),
        NoMemberLeft("the pool is closed"),
        NoEvaluator("no evaluator runs"),
        EngineLost("its engine died"),
        WeightTransferError("nobody serves weights version 3"),
        CorruptWeights("bucket 2 of weights version 3"),
        LinkError("the sender left"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error):
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert (str(found), vars(found)) == (str(error), vars(error))


def test_the_error_of_a_member_has_its_name_and_its_reason():
    error = pickle.loads(pickle.dumps(MemberLost("generator 3", "its engine died")))
    assert (error.name, error.reason, str(error)) == (
        "generator 3",
        "its engine died",
        "generator 3: its engine died",
    )


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (DeadlineExceeded, TimeoutError),
        (GenerationFailed, RuntimeError),
        (NoMemberLeft, RuntimeError),
        (WeightTransferError, RuntimeError),
    ],
)
def test_errors_for_a_person_end_a_command_with_status_1(error, builtin):
    assert issubclass(error, RunFailed) and issubclass(error, builtin)
    assert error("why").exit_status == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("no weights"), "RuntimeError: no weights"),
        (RuntimeError("first\n  detail\nlast"), "RuntimeError: first last"),
        (TimeoutError(), "TimeoutError"),
        (RayError("it died\n\tactor_id: 1\nkilled by ray.kill"), "RayError: it died killed by ray.kill"),
        (RayTaskError("judge", "Traceback\n  a frame\nValueError: a bug", ValueError("a bug")), "ValueError: a bug"),
        (RuntimeError("x" * 1000), f"RuntimeError: {'x' * 400}"),
    ],
)
def test_an_error_in_one_line(error, expected):
    assert one_line(error) == expected
