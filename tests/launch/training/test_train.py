"""Training loop on fake actors: on-policy and ahead, killed and resumed, its timeline."""

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
from learner.batch_checks import BadBatch
from learner.credit import NoTrainableCompletion
from learner.rollout import CompletionId, Judgement
from tests.factories import make_update_result, make_verdict
from tests.fake_actors import FakeActors, read_column, run_training


def all_distinct(temperature, version):
    """Return the number of all_distinct answers of four."""
    return 4


class HalfRightActors(FakeActors):
    """Fake actors of which every second answer passes."""

    async def judge(self, problem, text):
        judgement = await super().judge(problem, "right" if self.judged % 2 else "wrong")
        self.judged += 1
        return judgement

    judged = 0


class ClockedActors(HalfRightActors):
    """Fake actors whose calls advance a fake clock, which nothing else does."""

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
        await super().update(batch, deadline_s)
        return make_update_result(batch, old_logprob_seconds=1.0, update_seconds=4.0)

    async def publish(self, version):
        self.now += 0.75
        return replace(await super().publish(version), write_seconds=0.5, load_seconds=0.25)


def read_question_ids(directory, step):
    table = pq.read_table(directory.path / "rollouts" / f"step_{step:06d}.parquet")
    return table["question_id"].to_pylist()


@pytest.mark.heavy
@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_order_of_problems_is_independent_of_staleness(tmp_path, staleness):
    """Step k is sampled by policy version k - staleness, at least 0."""
    on_policy, _ = run_training(tmp_path / "on_policy", HalfRightActors(all_distinct), "run.steps=6")
    ahead, _ = run_training(
        tmp_path / "ahead", HalfRightActors(all_distinct), "run.steps=6", f"algorithm.max_staleness={staleness}"
    )
    assert [read_question_ids(ahead, step) for step in range(6)] == [
        read_question_ids(on_policy, step) for step in range(6)
    ]
    assert read_column(ahead, "staleness/max") == [min(staleness, step) for step in range(6)]
    assert read_column(ahead, "group/lost") == [0] * 6


@pytest.mark.heavy
@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_run_killed_while_sampling_ahead_resumes_with_its_ready_groups(tmp_path, kill_at):
    """Six steps of 2 problems pass the end of an epoch of 8; READY groups are not sampled again."""
    arguments = ("run.steps=6", "run.checkpoint_every=2", "algorithm.max_staleness=1")
    whole, _ = run_training(tmp_path / "whole", HalfRightActors(all_distinct), *arguments)
    run_training(tmp_path / "killed", HalfRightActors(all_distinct, kill_at), *arguments)
    resumed, _ = run_training(tmp_path / "killed", HalfRightActors(all_distinct), *arguments, "run.resume=true")
    assert resumed.first_step == kill_at // 2 * 2
    assert [read_question_ids(resumed, step) for step in range(6)] == [
        read_question_ids(whole, step) for step in range(6)
    ]
    assert read_column(resumed, "step") == read_column(whole, "step") == list(range(6))
    state = read_driver_state(resumed.checkpoint_path(6))
    assert (state.buffer.next_step, state.buffer.claims) == (6, ())


@pytest.mark.heavy
def test_a_checkpoint_contains_the_groups_sampled_ahead(tmp_path):
    class SlowLearnerActors(HalfRightActors):
        """Fake actors whose groups become READY while the learner works."""

        async def update(self, batch, deadline_s):
            for _ in range(500):  # turns of the event loop, not seconds: the groups need no more
                await asyncio.sleep(0)
            return await super().update(batch, deadline_s)

    arguments = ("run.steps=6", "run.checkpoint_every=2", "algorithm.max_staleness=1")
    killed, _ = run_training(tmp_path, SlowLearnerActors(all_distinct, kill_at=3), *arguments)
    state = read_driver_state(killed.checkpoint_path(2))
    assert [claim.step for claim in state.buffer.claims] == [2, 2, 3, 3]
    assert {claim.number for claim in state.buffer.claims if claim.step == 2} <= state.buffer.ready.keys()
    actors = SlowLearnerActors(all_distinct)
    run_training(tmp_path, actors, *arguments, "run.resume=true")
    assert len(actors.temperatures) == 4 * 8 - 4 * len(state.buffer.ready)


def test_rollouts_have_the_learners_log_probs(tmp_path):
    """The fake learner returns the sampler's; excluded completions have none."""

    class ExcludingActors(HalfRightActors):
        """Fake actors whose evaluator fails on the last completion."""

        async def judge(self, problem, text):
            judgement = await super().judge(problem, text)
            if self.judged < 8:
                return judgement
            return replace(judgement, verdict=make_verdict(Status.SANDBOX_ERROR))

    directory, _ = run_training(tmp_path, ExcludingActors(all_distinct), "run.steps=1")
    rows = pq.read_table(directory.path / "rollouts" / "step_000000.parquet").to_pylist()
    assert [row["learner_logprobs"] is None for row in rows] == [row["status"] == "sandbox_error" for row in rows]
    assert sum(row["status"] == "sandbox_error" for row in rows) == 1
    assert all(row["learner_logprobs"] in (None, row["sampler_logprobs"]) for row in rows)


def test_completions_are_judged_while_rollouts_are_written(tmp_path, monkeypatch):
    """The step that is sampled ahead does not wait for the driver to write the last one."""
    actors = HalfRightActors(all_distinct)
    write = RunDirectory.write_rollouts
    judged = []

    def slow_write(directory, step, groups, learner_logprobs):
        ahead = 8 * min(step + 3, 4)
        ends = time.monotonic() + 60
        while actors.judged < ahead and time.monotonic() < ends:
            time.sleep(0.01)
        judged.append(actors.judged)
        write(directory, step, groups, learner_logprobs)

    monkeypatch.setattr(RunDirectory, "write_rollouts", slow_write)
    run_training(tmp_path, actors, "run.steps=4", "algorithm.max_staleness=1")
    assert judged == [24, 32, 32, 32]


def test_a_step_with_only_sandbox_errors_ends_the_run(tmp_path):
    class UnjudgedActors(FakeActors):
        async def judge(self, problem, text):
            return Judgement(verdict=make_verdict(Status.SANDBOX_ERROR), code=None, incomplete=False, seconds=0.0)

    with pytest.raises(NoTrainableCompletion, match="sandbox_error"):
        run_training(tmp_path, UnjudgedActors(all_distinct), "run.steps=1")


def test_the_timeline_contains_every_lap(tmp_path):
    directory, _ = run_training(tmp_path, HalfRightActors(all_distinct), "run.steps=3", "run.checkpoint_every=2")
    every = json.loads((directory.path / FILE).read_text())
    events = [event for event in every if event["ph"] == "X"]
    laps = [
        "generate",
        "old_log_prob",
        "reward",
        "credit",
        "update",
        "drain",
        "publish",
        "record",
    ]
    tracks = {event["tid"]: event["args"]["name"] for event in every if event["name"] == "thread_name"}
    driver_spans = [event["name"] for event in events if tracks[event["tid"]] == "driver"]
    assert driver_spans == [*laps, *laps, "checkpoint", *laps, "checkpoint"]
    learner_spans = [event["name"] for event in events if tracks[event["tid"]] == "learner rank 0"]
    assert learner_spans == ["old log-probs", "update", "publish"] * 3


def test_old_log_probs_are_computed_before_the_verdicts_and_reused_by_the_update(tmp_path):
    class RecordingActors(HalfRightActors):
        def __init__(self, *settings):
            super().__init__(*settings)
            self.prepare_called = asyncio.Event()

        async def prepare(self, sequences, deadline_s):
            self.prepared_call = (sequences, self.judged)
            self.prepare_called.set()
            return 0.0

        async def judge(self, problem, text):
            await self.prepare_called.wait()  # no verdict is given before
            return await super().judge(problem, text)

        async def update(self, batch, deadline_s):
            self.batches = batch
            return await super().update(batch, deadline_s)

    actors = RecordingActors(all_distinct)
    run_training(tmp_path, actors, "run.steps=1")
    sequences, judged = actors.prepared_call
    assert (len(sequences), judged) == (2 * 4, 0)
    trained = [sequence for mini in actors.batches.mini_batches for sequence in mini]
    assert [sequence.id for sequence in trained] == [
        CompletionId(claim, index) for claim in (0, 1) for index in range(4)
    ]
    for before, after in zip(sequences, trained, strict=True):
        assert after.id == before.id
        assert after.token_ids is before.token_ids  # built once


class HeldActors(HalfRightActors):
    """Fake actors that finish the second group of a step only after the learner has prepared the first one.

    Attributes:
        prepared_calls: number of sequences of each call of ``prepare``.
    """

    def __init__(self, *settings):
        super().__init__(*settings)
        self.first_prepared = asyncio.Event()
        self.prepared_calls = []

    async def generate(self, request):
        if request.claim % 2:
            await self.first_prepared.wait()
        return await super().generate(request)

    def sample_in_order(self, requests, seed):
        return [asyncio.ensure_future(self.generate(request)) for request in requests]

    async def prepare(self, sequences, deadline_s):
        self.prepared_calls.append(len(sequences))
        self.first_prepared.set()
        return 0.25


def test_old_log_probs_of_a_complete_group_are_computed_while_others_are_sampled(tmp_path):
    """The second group waits for the first one's old log-probs: without that, it would never be sampled."""
    actors = HeldActors(all_distinct)
    directory, _ = run_training(tmp_path, actors, "run.steps=1")
    assert actors.prepared_calls[0] == 4 and sum(actors.prepared_calls) == 8
    (all_seconds,) = read_column(directory, "timing_s/span/old_log_prob")
    (waited_for,) = read_column(directory, "timing_s/old_log_prob")
    assert all_seconds - waited_for >= 0.25


@pytest.mark.parametrize(
    "override", ["learner.logprobs_while_sampling=false", "run.deterministic=true", "algorithm.max_staleness=1"]
)
def test_old_log_probs_are_computed_together_if_nothing_is_sampled_meanwhile(tmp_path, override):
    actors = HeldActors(all_distinct)
    actors.first_prepared.set()
    run_training(tmp_path, actors, "run.steps=2", "evaluator.adaptive_timeout=false", override)
    assert actors.prepared_calls[-1] == 8


def test_error_in_early_old_log_probs_ends_the_run(tmp_path):
    class FailingActors(HeldActors):
        async def prepare(self, sequences, deadline_s):
            self.first_prepared.set()
            raise BadBatch("completion q#3: token 9")

    with pytest.raises(BadBatch, match="token 9"):
        run_training(tmp_path, FailingActors(all_distinct), "run.steps=1")


def test_partial_rewards_are_trained_on(tmp_path):
    class PartialActors(FakeActors):
        """Fake actors whose answers all fail, and pass 1, 2, 1, 2, ... of three tests."""

        judged = 0

        async def judge(self, problem, text):
            judgement = await super().judge(problem, "wrong")
            self.judged += 1
            passed = 1 + self.judged % 2
            return replace(judgement, verdict=replace(judgement.verdict, tests_passed=passed))

        async def update(self, batch, deadline_s):
            self.batch = batch
            return await super().update(batch, deadline_s)

    actors = PartialActors(all_distinct)
    arguments = ("run.steps=1", "algorithm.reward=fraction", "algorithm.dynamic_sampling_rounds=2")
    directory, _ = run_training(tmp_path, actors, *arguments)
    assert read_column(directory, "critic/rewards/mean") == [pytest.approx(0.5)]
    assert read_column(directory, "group/trained") == [2]
    assert read_column(directory, "group/none_solved") == [1.0]
    assert {round(sequence.advantage, 2) for mini in actors.batch.mini_batches for sequence in mini} == {-0.87, 0.87}


def test_all_time_of_a_step_is_accounted_for(tmp_path, monkeypatch):
    actors = ClockedActors(all_distinct)
    monkeypatch.setattr(time, "monotonic", lambda: actors.now)
    directory, _ = run_training(tmp_path, actors, "run.steps=2", "learner.logprobs_while_sampling=false")
    assert read_column(directory, "timing_s/step") == [2 * 4 * (3.0 + 1.0) + 0.5 + 5.0 + 0.75] * 2
    assert read_column(directory, "timing_s/unaccounted") == [0.0, 0.0]
    assert read_column(directory, "timing_s/old_log_prob") == [1.5, 1.5]
    assert read_column(directory, "timing_s/update_weights") == [0.75, 0.75]
