"""The training loop on actors that are none: on-policy and ahead, killed and resumed, its timeline."""

import asyncio
import json
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from evaluator.verdict import Status
from launch.records.run_directory import RunDirectory
from launch.records.timeline import FILE
from launch.training.driver_state import read_driver_state
from learner.credit import EmptyBatch
from learner.rollout import Judgement
from tests.factories import verdict
from tests.world import World, column, run


def distinct(temperature, version):
    return 4


class Halves(World):
    """Half of the answers to a problem are right."""

    async def judge(self, problem, text):
        judgement = await super().judge(problem, "right" if self.judged % 2 else "wrong")
        self.judged += 1
        return judgement

    judged = 0


class Clocked(Halves):
    """Every call takes time, on a clock that stands still otherwise."""

    now = 1000.0

    async def generate(self, request):
        self.now += 3.0
        return await super().generate(request)

    async def judge(self, problem, text):
        self.now += 1.0
        return await super().judge(problem, text)

    async def prepare(self, sequences, deadline_s):
        await super().prepare(sequences, deadline_s)
        self.now += 0.5
        return 0.5

    async def update(self, batch, deadline_s):
        self.now += 5.0
        return replace(await super().update(batch, deadline_s), old_logprob_seconds=1.0, update_seconds=4.0)

    async def publish(self, version):
        self.now += 0.75
        return replace(await super().publish(version), write_seconds=0.5, load_seconds=0.25)


def questions(directory, step):
    table = pq.read_table(directory.path / "rollouts" / f"step_{step:06d}.parquet")
    return table["question_id"].to_pylist()


@pytest.mark.heavy
@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_problems_come_in_one_order_whatever_the_staleness(tmp_path, staleness):
    """Step k is sampled by version k - staleness, or by the first."""
    on_policy, _ = run(tmp_path / "on_policy", Halves(distinct), "run.steps=6")
    ahead, _ = run(tmp_path / "ahead", Halves(distinct), "run.steps=6", f"algorithm.max_staleness={staleness}")
    assert [questions(ahead, step) for step in range(6)] == [questions(on_policy, step) for step in range(6)]
    assert column(ahead, "staleness/max") == [min(staleness, step) for step in range(6)]
    assert column(ahead, "group/lost") == [0] * 6


@pytest.mark.heavy
@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_run_killed_while_it_samples_ahead_goes_on_with_what_it_had(tmp_path, kill_at):
    """Over the end of an epoch (8 problems, 2 a step): the same problems, and READY groups are not sampled again."""
    arguments = ("run.steps=6", "run.checkpoint_every=2", "algorithm.max_staleness=1")
    whole, _ = run(tmp_path / "whole", Halves(distinct), *arguments)
    run(tmp_path / "killed", Halves(distinct, kill_at), *arguments)
    resumed, _ = run(tmp_path / "killed", Halves(distinct), *arguments, "run.resume=true")
    assert resumed.first_step == kill_at // 2 * 2
    assert [questions(resumed, step) for step in range(6)] == [questions(whole, step) for step in range(6)]
    assert column(resumed, "step") == column(whole, "step") == list(range(6))
    state = read_driver_state(resumed.checkpoint_path(6))
    assert (state.buffer.next_step, state.buffer.claims) == (6, ())


def test_a_checkpoint_has_the_groups_that_were_sampled_ahead(tmp_path):
    class Slow(Halves):
        """Gives its groups time to be ready while the learner works."""

        async def update(self, batch, deadline_s):
            for _ in range(500):  # turns of the loop, not seconds: the groups need no more
                await asyncio.sleep(0)
            return await super().update(batch, deadline_s)

    arguments = ("run.steps=6", "run.checkpoint_every=2", "algorithm.max_staleness=1")
    killed, _ = run(tmp_path, Slow(distinct, kill_at=3), *arguments)
    state = read_driver_state(killed.checkpoint_path(2))
    assert [claim.step for claim in state.buffer.claims] == [2, 2, 3, 3]
    assert {claim.number for claim in state.buffer.claims if claim.step == 2} <= state.buffer.ready.keys()
    world = Slow(distinct)
    run(tmp_path, world, *arguments, "run.resume=true")
    assert len(world.temperatures) == 4 * 8 - 4 * len(state.buffer.ready)


def test_completions_are_judged_while_a_step_is_written(tmp_path, monkeypatch):
    """The step sampled ahead waits for nothing that the driver does with the last one."""
    world = Halves(distinct)
    write = RunDirectory.write_rollouts
    judged = []

    def slow(directory, step, groups):
        ahead = 8 * min(step + 3, 4)
        ends = time.monotonic() + 60
        while world.judged < ahead and time.monotonic() < ends:
            time.sleep(0.01)
        judged.append(world.judged)
        write(directory, step, groups)

    monkeypatch.setattr(RunDirectory, "write_rollouts", slow)
    run(tmp_path, world, "run.steps=4", "algorithm.max_staleness=1")
    assert judged == [24, 32, 32, 32]


def test_a_step_without_any_verdict_ends_the_run(tmp_path):
    class Broken(World):
        async def judge(self, problem, text):
            return Judgement(verdict=verdict(Status.SANDBOX_ERROR), code=None, incomplete=False, seconds=0.0)

    with pytest.raises(EmptyBatch, match="sandbox_error"):
        run(tmp_path, Broken(distinct), "run.steps=1")


def test_the_timeline_has_every_lap(tmp_path):
    directory, _ = run(tmp_path, Halves(distinct), "run.steps=3", "run.checkpoint_every=2")
    every = json.loads((directory.path / FILE).read_text())
    events = [event for event in every if event["ph"] == "X"]
    laps = [
        "wait for completions",
        "wait for old log-probs",
        "wait for verdicts",
        "credit",
        "wait for the update",
        "drain",
        "publish",
        "bookkeeping",
    ]
    tracks = {event["tid"]: event["args"]["name"] for event in every if event["name"] == "thread_name"}
    of_driver = [event["name"] for event in events if tracks[event["tid"]] == "driver"]
    assert of_driver == [*laps, *laps, "checkpoint", *laps, "checkpoint"]
    of_learner = [event["name"] for event in events if tracks[event["tid"]] == "learner rank 0"]
    assert of_learner == ["old log-probs", "update", "publish"] * 3


def test_old_log_probs_are_asked_for_before_the_verdicts_and_found_by_the_update(tmp_path):
    class Watched(Halves):
        def __init__(self, *settings):
            super().__init__(*settings)
            self.is_asked = asyncio.Event()

        async def prepare(self, sequences, deadline_s):
            self.asked = (sequences, self.judged)
            self.is_asked.set()
            return 0.0

        async def judge(self, problem, text):
            await self.is_asked.wait()  # no verdict comes before
            return await super().judge(problem, text)

        async def update(self, batch, deadline_s):
            self.batches = batch
            return await super().update(batch, deadline_s)

    world = Watched(distinct)
    run(tmp_path, world, "run.steps=1")
    sequences, judged = world.asked
    assert (len(sequences), judged) == (2 * 4, 0)
    trained = [sequence for mini in world.batches.mini_batches for sequence in mini]
    assert [sequence.place for sequence in trained] == list(range(8))
    for sequence in trained:
        assert sequence.name == sequences[sequence.place].name
        assert (sequence.token_ids == sequences[sequence.place].token_ids).all()


def test_all_time_of_a_step_has_a_name(tmp_path, monkeypatch):
    world = Clocked(distinct)
    monkeypatch.setattr(time, "monotonic", lambda: world.now)
    directory, _ = run(tmp_path, world, "run.steps=2")
    assert column(directory, "timing_s/step") == [2 * 4 * (3.0 + 1.0) + 0.5 + 5.0 + 0.75] * 2
    assert column(directory, "timing_s/unaccounted") == [0.0, 0.0]
    assert column(directory, "timing_s/old_log_prob") == [1.5, 1.5]
    assert column(directory, "timing_s/update_weights") == [0.75, 0.75]
