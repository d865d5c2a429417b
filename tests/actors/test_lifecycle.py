"""Life cycle of pool members: background tasks, watching, and errors that cross process boundaries."""

import asyncio
import logging
import pickle

import pytest
from ray.exceptions import RayError, RayTaskError

from actors.evaluators.pool import NoLiveEvaluator
from actors.generators.actor import EngineFailed
from actors.generators.pool import GenerationFailed
from actors.lifecycle import BackgroundTasks, MemberEvent, MemberFailed, NoLiveMember, PoolMembers, summarize_error
from actors.waiting import DeadlineExceeded
from actors.weights.layout import CorruptWeights
from actors.weights.links import LinkError
from actors.weights.transfer import WeightTransferError
from evaluator.errors import RunFailed


def test_background_tasks_report_failures_only():
    async def check():
        failures = []
        background = BackgroundTasks(failures.append)

        async def fail():
            raise KeyError("a bug")

        background.spawn(asyncio.sleep(0))
        background.spawn(fail())
        await asyncio.sleep(0.05)
        assert [repr(failure) for failure in failures] == ["KeyError('a bug')"]
        await background.stop()

    asyncio.run(check())


def test_stop_waits_for_the_cleanup_of_all_tasks():
    async def check():
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

    asyncio.run(check())


class FakeMember:
    """A fake pool member, which lives until the test sets a result or an exception on ``end``."""

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
    """A pool that kills a lost member without replacing it."""

    def replace(self, member, reason):
        self._record_event(member.name, "removed", reason)
        member.kill()


def test_pool_starts_members_and_removes_a_lost_member(caplog):
    async def check():
        bugs = []
        pool = FakeMembers(bugs.append)
        members = [FakeMember("a"), FakeMember("b"), FakeMember("c")]
        assert await pool._start(members, "starting", 5.0) == ["a is ready", "b is ready", "c is ready"]
        for member in members:
            pool._watch(member)
        members[1].end.set_exception(MemberFailed("b", "it died"))
        members[2].end.set_exception(KeyError("a bug"))
        await asyncio.sleep(0.02)
        assert [member.killed for member in members] == [False, True, False]
        assert list(pool.events) == [MemberEvent("b", "removed", "it died")]
        assert [repr(bug) for bug in bugs] == ["KeyError('a bug')"]
        await pool.background.stop()
        assert members[0].end.cancelled()

    caplog.set_level(logging.WARNING)
    asyncio.run(check())
    assert "b removed: it died" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        DeadlineExceeded("the update did not finish within 3 s; pending: learner rank 0"),
        GenerationFailed("completion q#0: 3 engines died while sampling it"),
        MemberFailed("generator 3", "its engine died"),
        NoLiveMember("the pool is closed"),
        NoLiveEvaluator("no evaluator runs"),
        EngineFailed("its engine died"),
        WeightTransferError("no generator serves weights version 3"),
        CorruptWeights("bucket 2 of weights version 3"),
        LinkError("the sender left"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_survives_pickling(error):
    unpickled = pickle.loads(pickle.dumps(error))
    assert type(unpickled) is type(error)
    assert (str(unpickled), vars(unpickled)) == (str(error), vars(error))


def test_member_error_keeps_name_and_reason():
    error = pickle.loads(pickle.dumps(MemberFailed("generator 3", "its engine died")))
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
        (NoLiveMember, RuntimeError),
        (WeightTransferError, RuntimeError),
    ],
)
def test_run_failures_end_a_command_with_status_1(error, builtin):
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
def test_errors_are_formatted_in_one_line(error, expected):
    assert summarize_error(error) == expected
