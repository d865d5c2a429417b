"""Fake actors in the real pools: they live on the driver's event loop, and answer at once or in drawn times.

What they do costs the loop as little as it can: an answer is cut out of tokens and text that are there already. But it
is a copy, as everything is that comes from another process, so that the driver holds as much as with real actors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from actors.evaluators.autoscaling import Bounds
from actors.evaluators.pool import EvaluatorPool
from actors.evaluators.roster import PoolTimeouts
from actors.generators.actor import SampleRequest
from actors.generators.pool import GeneratorPool
from actors.weights.transfer import Publication
from benchmarks.tools.memory import forget_peak, peak_bytes
from evaluator.verdict import Status, Verdict
from learner.learner import UpdateMetrics
from learner.rollout import Completion, Judgement, TrainBatch, TrainSequence

VOCABULARY = 151_936
END = 0
MEDIAN_TOKENS = 600
TOKENS_SIGMA = 0.8
MEDIAN_JUDGE_S = 0.1
JUDGE_SIGMA = 1.0
TOKEN_S = 5e-3  # where times are drawn; on a GPU it is some times as long
PASSING = 0.4
CHARACTERS = 3  # of a token's text
DEADLINE_S = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """The answers of a run, by number: log-normal lengths of up to ``longest`` tokens, and their judgements."""

    lengths: np.ndarray
    judge_seconds: np.ndarray
    passing: np.ndarray
    longest: int
    token_ids: np.ndarray
    logprobs: np.ndarray
    text: str

    @classmethod
    def for_run(cls, count: int, longest: int, seed: int) -> Drawn:
        rng = np.random.default_rng(seed)
        tokens = 64 * longest
        return cls(
            lengths=np.minimum(np.ceil(rng.lognormal(np.log(MEDIAN_TOKENS), TOKENS_SIGMA, count)), longest).astype(int),
            judge_seconds=rng.lognormal(np.log(MEDIAN_JUDGE_S), JUDGE_SIGMA, count),
            passing=rng.random(count) < PASSING,
            longest=longest,
            token_ids=np.minimum(rng.zipf(1.2, tokens), VOCABULARY - 1).astype(np.int32),
            logprobs=-rng.random(tokens).astype(np.float32),
            text="x = 1; " * (CHARACTERS * tokens // 7 + 1),
        )

    def completion(self, number: int, request: SampleRequest, version: int) -> Completion:
        """Answer ``number``; its text begins with the number."""
        length = int(self.lengths[number])
        start = number * 7919 % (len(self.token_ids) - self.longest)
        return Completion(
            question_id=request.question_id,
            sample_index=request.sample_index,
            prompt_token_ids=request.prompt_token_ids.copy(),
            response_token_ids=self.token_ids[start : start + length].copy(),
            sampler_logprobs=self.logprobs[start : start + length].copy(),
            finish_reason="length" if length == self.longest else "stop",
            temperature=request.temperature,
            policy_versions=np.full(length, version, dtype=np.int32),
            text=f"{number}\n{self.text[start : start + CHARACTERS * length]}",
            generation_seconds=length * TOKEN_S,
        )

    def judgement(self, number: int, text: str) -> Judgement:
        """Of answer ``number``, whose program is the first half of its text."""
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
class Play:
    """What the stand-ins of a run share: the answers, how many were asked for, and the version of the weights.

    With ``timed`` they take their drawn times. ``due``: when each answer was to be there (``time.monotonic``);
    ``handovers``: seconds from then until an evaluator had it.
    """

    drawn: Drawn
    timed: bool
    asked: int = 0
    version: int = 0
    due: dict[int, float] = field(default_factory=dict)
    handovers: list[float] = field(default_factory=list)


class Generator:
    """One engine, which works on all its requests at once."""

    def __init__(self, name: str, play: Play) -> None:
        self.name = name
        self.actor = self
        self.play = play

    async def start(self) -> None:
        """It is there."""

    async def watch(self) -> None:
        """It never dies."""
        await asyncio.Event().wait()

    def kill(self) -> None:
        """It holds nothing."""

    async def generate(self, request: SampleRequest) -> Completion:
        """The next answer."""
        play = self.play
        number, play.asked, version = play.asked, play.asked + 1, play.version
        if not play.timed:
            await asyncio.sleep(0)
            return play.drawn.completion(number, request, version)
        seconds = float(play.drawn.lengths[number]) * TOKEN_S
        play.due[number] = time.monotonic() + seconds
        await asyncio.sleep(seconds)
        return play.drawn.completion(number, request, version)


class Evaluator:
    """One evaluator: ``sandboxes`` programs at once, further ones wait."""

    def __init__(self, sandboxes: int, play: Play) -> None:
        self.actor: Any = self
        self.free = asyncio.Semaphore(sandboxes)
        self.play = play

    async def start(self) -> tuple[str, ...]:
        """It is there, and lacks no fence."""
        return ()

    async def judge(self, problem: Any, text: str) -> Judgement:
        """The drawn verdict."""
        play = self.play
        number = int(text[: text.index("\n")])
        if play.timed:
            play.handovers.append(time.monotonic() - play.due.pop(number))
        async with self.free:
            await asyncio.sleep(float(play.drawn.judge_seconds[number]) if play.timed else 0.0)
        return play.drawn.judgement(number, text)

    async def ping(self) -> None:
        """It lives."""

    async def stop(self) -> None:
        """It holds nothing."""

    def kill(self) -> None:
        """It holds nothing."""


def generator_pool(count: int, play: Play) -> GeneratorPool:
    """The real pool of ``count`` fake generators."""

    def create(name: str, index: int, restart: int) -> Any:
        return Generator(name, play)

    return GeneratorPool(count, create)


def evaluator_pool(count: int, sandboxes: int, play: Play) -> EvaluatorPool:
    """The real pool of ``count`` fake evaluators; a problem is its own reference."""
    return EvaluatorPool(
        lambda: Evaluator(sandboxes, play),
        sandboxes=sandboxes,
        cpus=1.0,
        bounds=Bounds(count, count),
        timeouts=PoolTimeouts(call_s=DEADLINE_S, start_s=DEADLINE_S),
        put=lambda problem: problem,
    )


class Learner:
    """Takes a batch and keeps nothing of it; an update takes ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.names = ["learner rank 0"]
        self.seconds = seconds

    async def prepare(self, sequences: Sequence[TrainSequence], deadline_s: float) -> float:
        """Nothing is prepared."""
        return 0.0

    async def update(self, batch: TrainBatch, deadline_s: float) -> UpdateMetrics:
        """Figures that mean nothing."""
        await asyncio.sleep(self.seconds)
        nothing: dict[str, Any] = {one.name: 0 for one in fields(UpdateMetrics)}
        return UpdateMetrics(**nothing | {"update_seconds": self.seconds})

    async def save(self, path: str, driver_files: object, deadline_s: float) -> None:
        """No checkpoint."""


class Transfer:
    """Gives engines the version at once; ``peaks``: the most resident bytes between one publication and the next."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.peaks = list[int]()

    async def publish(self, version: int) -> Publication:
        """Requests from here on are answered with ``version``."""
        self.play.version = version
        self.peaks.append(peak_bytes())
        forget_peak()
        return Publication(version=version, bytes=0, write_seconds=0.0, load_seconds=0.0, dropped={})
