"""Fake actors for the real pools: they run on the driver's event loop and answer at once or after random times.

They cost the event loop little: an answer is a slice of prepared tokens and text. It is copied, as everything is that
comes from another process, so that the driver uses as much memory as with real actors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from actors.evaluators.autoscaling import Bounds
from actors.evaluators.members import PoolTimeouts
from actors.evaluators.pool import EvaluatorPool
from actors.generators.actor import SampleRequest
from actors.generators.pool import GeneratorPool
from actors.weights.transfer import Publication
from benchmarks.tools.memory import read_peak_bytes, reset_peak
from evaluator.verdict import Status, Verdict
from learner.learner import UpdateMetrics, UpdateResult
from learner.rollout import Completion, Judgement, TrainBatch, TrainSequence

VOCABULARY = 151_936
EOS_TOKEN_ID = 0
MEDIAN_TOKENS = 600
TOKENS_SIGMA = 0.8
MEDIAN_JUDGE_S = 0.1
JUDGE_SIGMA = 1.0
SECONDS_PER_TOKEN = 5e-3  # if answers take time; on a GPU a token takes several times as long
PASS_SHARE = 0.4
CHARACTERS_PER_TOKEN = 3
DEADLINE_S = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticAnswers:
    """Random answers of a run, by number, with their judgements.

    Attributes:
        lengths: response tokens of each answer, int64 [answers], log-normal.
        judge_seconds: seconds to judge each answer, float64 [answers], log-normal.
        passing: verdict of each answer, bool [answers].
        max_tokens: largest number of response tokens.
        token_ids: tokens of which every response is a slice, int32 [64 * max_tokens].
        logprobs: sampler log-probs of these tokens, float32 [64 * max_tokens].
        text: text of which every response's text is a slice.
    """

    lengths: np.ndarray
    judge_seconds: np.ndarray
    passing: np.ndarray
    max_tokens: int
    token_ids: np.ndarray
    logprobs: np.ndarray
    text: str

    @classmethod
    def draw(cls, count: int, max_tokens: int, seed: int) -> SyntheticAnswers:
        """Draw ``count`` answers of at most ``max_tokens`` response tokens."""
        rng = np.random.default_rng(seed)
        tokens = 64 * max_tokens
        lengths = np.minimum(np.ceil(rng.lognormal(np.log(MEDIAN_TOKENS), TOKENS_SIGMA, count)), max_tokens)
        return cls(
            lengths=lengths.astype(int),
            judge_seconds=rng.lognormal(np.log(MEDIAN_JUDGE_S), JUDGE_SIGMA, count),
            passing=rng.random(count) < PASS_SHARE,
            max_tokens=max_tokens,
            token_ids=np.minimum(rng.zipf(1.2, tokens), VOCABULARY - 1).astype(np.int32),
            logprobs=-rng.random(tokens).astype(np.float32),
            text="x = 1; " * (CHARACTERS_PER_TOKEN * tokens // 7 + 1),
        )

    def make_completion(self, number: int, request: SampleRequest, version: int) -> Completion:
        """Make the completion of answer ``number`` by policy ``version``; its text begins with the number."""
        length = int(self.lengths[number])
        start = number * 7919 % (len(self.token_ids) - self.max_tokens)
        return Completion(
            claim=request.claim,
            question_id=request.question_id,
            sample_index=request.sample_index,
            prompt_token_ids=request.prompt_token_ids.copy(),
            response_token_ids=self.token_ids[start : start + length].copy(),
            sampler_logprobs=self.logprobs[start : start + length].copy(),
            finish_reason="length" if length == self.max_tokens else "stop",
            temperature=request.temperature,
            policy_versions=np.full(length, version, dtype=np.int32),
            text=f"{number}\n{self.text[start : start + CHARACTERS_PER_TOKEN * length]}",
            generation_seconds=length * SECONDS_PER_TOKEN,
        )

    def make_judgement(self, number: int, text: str) -> Judgement:
        """Make the judgement of answer ``number``; the first half of its text is taken as its program."""
        seconds = float(self.judge_seconds[number])
        if self.passing[number]:
            verdict = Verdict(
                status=Status.PASSED,
                tests_passed=20,
                tests_run=20,
                tests_total=20,
                first_failed=None,
                accepted_by="exact",
                seconds=seconds,
                detail="",
            )
        else:
            verdict = Verdict(
                status=Status.WRONG_ANSWER,
                tests_passed=3,
                tests_run=4,
                tests_total=20,
                first_failed=3,
                accepted_by=None,
                seconds=seconds,
                detail="expected 7, got 8",
            )
        return Judgement(verdict=verdict, code=text[: len(text) // 2], incomplete=False, seconds=seconds)


@dataclass(kw_only=True)
class FakeActorState:
    """State that the fake actors of a run share.

    Attributes:
        answers: answers of the run.
        timed: sleep for the drawn durations; otherwise answer at once.
        requests: number of requests received so far, also the next answer's index.
        version: published version of the weights.
        due: when each undelivered answer was generated (or will be), in ``time.monotonic`` seconds, by index.
        handovers: delays in seconds from generation to arrival at an evaluator.
    """

    answers: SyntheticAnswers
    timed: bool
    requests: int = 0
    version: int = 0
    due: dict[int, float] = field(default_factory=dict)
    handovers: list[float] = field(default_factory=list)


class FakeGenerator:
    """Fake generator actor that works on any number of requests at a time."""

    def __init__(self, name: str, state: FakeActorState) -> None:
        self.name = name
        self.actor = self
        self.state = state

    async def start(self) -> None:
        """Do nothing: there is no engine to start."""

    async def watch(self) -> None:
        """Wait forever, since a fake never dies."""
        await asyncio.Event().wait()

    def kill(self) -> None:
        """Do nothing: there is no process to end."""

    async def generate(self, request: SampleRequest) -> Completion:
        """Return the next answer."""
        state = self.state
        number = state.requests
        version = state.version
        state.requests += 1
        if not state.timed:
            await asyncio.sleep(0)
            return state.answers.make_completion(number, request, version)
        seconds = float(state.answers.lengths[number]) * SECONDS_PER_TOKEN
        state.due[number] = time.monotonic() + seconds
        await asyncio.sleep(seconds)
        return state.answers.make_completion(number, request, version)


class FakeEvaluator:
    """Fake evaluator actor that judges ``sandboxes`` programs at a time; further ones wait."""

    def __init__(self, sandboxes: int, state: FakeActorState) -> None:
        self.actor: Any = self
        self.free_sandboxes = asyncio.Semaphore(sandboxes)
        self.state = state

    async def start(self) -> tuple[str, ...]:
        """Return the missing isolation mechanisms: none."""
        return ()

    async def judge(self, problem: Any, text: str) -> Judgement:
        """Return the judgement of an answer; ``text`` begins with its number."""
        state = self.state
        number = int(text[: text.index("\n")])
        if state.timed:
            state.handovers.append(time.monotonic() - state.due.pop(number))
        async with self.free_sandboxes:
            await asyncio.sleep(float(state.answers.judge_seconds[number]) if state.timed else 0.0)
        return state.answers.make_judgement(number, text)

    async def ping(self) -> None:
        """Return at once, as a living actor does."""

    async def stop(self) -> None:
        """Do nothing: there are no sandboxes to stop."""

    def kill(self) -> None:
        """Do nothing: there is no process to end."""


def build_generator_pool(count: int, state: FakeActorState) -> GeneratorPool:
    """Build the real pool with ``count`` fake generators."""

    def create(name: str, index: int, restart: int) -> Any:
        return FakeGenerator(name, state)

    return GeneratorPool(count, create)


def build_evaluator_pool(count: int, sandboxes: int, state: FakeActorState) -> EvaluatorPool:
    """Build the real pool with ``count`` fake evaluators; problems are passed directly, not through Ray's store."""
    return EvaluatorPool(
        lambda name: FakeEvaluator(sandboxes, state),
        sandboxes=sandboxes,
        cpus=1.0,
        bounds=Bounds(count, count),
        timeouts=PoolTimeouts(call_s=DEADLINE_S, start_s=DEADLINE_S),
        put=lambda problem: problem,
    )


class FakeLearner:
    """Fake learner group that ignores its batches; an update takes ``update_seconds``."""

    def __init__(self, update_seconds: float) -> None:
        self.names = ["learner rank 0"]
        self.update_seconds = update_seconds

    async def prepare(self, sequences: Sequence[TrainSequence], deadline_s: float) -> float:
        """Compute nothing, in 0 seconds."""
        return 0.0

    async def update(self, batch: TrainBatch, deadline_s: float) -> UpdateResult:
        """Wait for the time of an update; return metrics that are otherwise 0, and the sampler's log-probs."""
        await asyncio.sleep(self.update_seconds)
        zeros: dict[str, Any] = {metric.name: 0 for metric in fields(UpdateMetrics)}
        sequences = [sequence for mini_batch in batch.mini_batches for sequence in mini_batch]
        return UpdateResult(
            UpdateMetrics(**zeros | {"update_seconds": self.update_seconds}),
            {sequence.id: sequence.sampler_logprobs for sequence in sequences if sequence.id is not None},
        )

    async def save(self, path: str, driver_files: object, deadline_s: float) -> None:
        """Write no checkpoint."""


class FakeTransfer:
    """Fake weight transfer: generators have a new version at once.

    ``peaks`` are the peak resident bytes of the process before each publication, since the previous one.
    """

    def __init__(self, state: FakeActorState) -> None:
        self.state = state
        self.peaks = list[int]()

    async def publish(self, version: int) -> Publication:
        """Set the version of all later answers, and record the peak memory since the previous publication."""
        self.state.version = version
        self.peaks.append(read_peak_bytes())
        reset_peak()
        return Publication(version=version, bytes=0, write_seconds=0.0, load_seconds=0.0, dropped={})
