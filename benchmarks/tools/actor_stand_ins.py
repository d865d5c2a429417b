"""Actors that are none: they live on the driver's event loop, and answer at once or after drawn times.

What they do costs the loop as little as it can: an answer is cut out of tokens and text that are there already. But it
is a copy, as everything is that comes from another process, so that the driver holds as much as with real actors.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from actors.generator import SampleRequest
from actors.routing import LeastBusy
from actors.weight_transfer import Publication
from benchmarks.tools.memory import forget_peak, peak_bytes
from evaluator.problem import Problem
from evaluator.verdict import Status, Verdict
from learner.learner import UpdateMetrics
from learner.rollout import Completion, Judgement, TrainBatch

VOCABULARY = 151_936
END = 0
MEDIAN_TOKENS, TOKENS_SIGMA = 600, 0.8
MEDIAN_JUDGE_S, JUDGE_SIGMA = 0.1, 1.0
TOKEN_S = 2e-3  # where times are drawn; on a GPU it is about ten times as long
PASSING = 0.4
CHARACTERS = 3  # of a token's text


@dataclass(frozen=True)
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
        rng, tokens = np.random.default_rng(seed), 64 * longest
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
            verdict = Verdict(Status.PASSED, 20, 20, 20, None, "exact", seconds, "")
        else:
            verdict = Verdict(Status.WRONG_ANSWER, 3, 4, 20, 3, None, seconds, "expected 7, got 8")
        return Judgement(verdict, text[: len(text) // 2], False, seconds)


class Generators:
    """Engines behind the real routing; an engine works on all its requests at once."""

    def __init__(self, count: int, drawn: Drawn, timed: bool) -> None:
        self.drawn, self.timed, self.asked, self.version = drawn, timed, 0, 0
        self.due: dict[int, float] = {}
        engines: list[Any] = [self] * count
        self.routing = LeastBusy(engines)

    async def generate(self, request: SampleRequest) -> Completion:
        """An answer; with ``timed``, ``due`` says when it was to be there (``time.monotonic``)."""
        return await self.routing.call(request.max_tokens, lambda engine: engine.answer(request))

    async def answer(self, request: SampleRequest) -> Completion:
        """What an engine does."""
        number, self.asked, version = self.asked, self.asked + 1, self.version
        if not self.timed:
            await asyncio.sleep(0)
            return self.drawn.completion(number, request, version)
        seconds = float(self.drawn.lengths[number]) * TOKEN_S
        self.due[number] = time.monotonic() + seconds
        await asyncio.sleep(seconds)
        return self.drawn.completion(number, request, version)


class Sandboxes:
    """One evaluator: ``workers`` programs at once, further ones wait."""

    def __init__(self, workers: int) -> None:
        self.free = asyncio.Semaphore(workers)

    async def judge(self, seconds: float) -> None:
        """Takes ``seconds`` of a sandbox."""
        async with self.free:
            await asyncio.sleep(seconds)


class Evaluators:
    """Evaluators behind the real routing. ``handovers``: seconds from when an answer was due until it was here."""

    def __init__(self, count: int, workers: int, generators: Generators) -> None:
        self.drawn, self.timed, self.due = generators.drawn, generators.timed, generators.due
        self.handovers: list[float] = []
        evaluators: list[Any] = [Sandboxes(workers) for _ in range(count)]
        self.routing = LeastBusy(evaluators)

    async def judge(self, problem: Problem, text: str) -> Judgement:
        """The drawn verdict."""
        number = int(text[: text.index("\n")])
        seconds = float(self.drawn.judge_seconds[number]) if self.timed else 0.0
        if self.timed:
            self.handovers.append(time.monotonic() - self.due.pop(number))
        await self.routing.call(1, lambda evaluator: evaluator.judge(seconds))
        return self.drawn.judgement(number, text)


class Learner:
    """Takes a batch and keeps nothing of it; an update takes ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def update(self, batch: TrainBatch, deadline_s: float) -> UpdateMetrics:
        """Figures that mean nothing."""
        await asyncio.sleep(self.seconds)
        nothing: dict[str, Any] = {field.name: 0 for field in fields(UpdateMetrics)}
        return UpdateMetrics(**nothing | {"update_seconds": self.seconds})

    async def save(self, path: str, driver_files: object, deadline_s: float) -> None:
        """No checkpoint."""


class Transfer:
    """Gives engines the version at once; ``peaks``: the most resident bytes between one publication and the next."""

    def __init__(self, generators: Generators) -> None:
        self.generators, self.peaks = generators, list[int]()

    async def publish(self, version: int) -> Publication:
        """Requests from here on are answered with ``version``."""
        self.generators.version = version
        self.peaks.append(peak_bytes())
        forget_peak()
        return Publication(version, 0, 0.0, 0.0, {})
