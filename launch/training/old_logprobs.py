"""Old log-probs of a step, for the groups that are complete while others are still being sampled.

    completions:  ──group──group─────────group──────last──►
    learner:      idle ──old log-probs──────old log-probs──rest──► update

On-policy, the learner has nothing else to do until the step's last completion, and its weights are those that sample.
When sampling ahead, the completions are usually there already, and all are computed together. So they are in
deterministic mode, where nothing may depend on the order in which completions finish.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launch.records.timeline import Laps
from launch.training.rollouts import Rollouts
from launch.training.run import Run
from learner.credit import build_train_sequences
from learner.rollout import Completion, CompletionId, TrainSequence


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedStep:
    """Completions of a step as training sequences; the learner has computed and kept their old log-probs.

    Attributes:
        sequences: the sequences by the id of their completion.
        early_seconds: seconds of the learner for calls that began while completions were still being sampled.
        seconds: seconds of the learner for the rest.
    """

    sequences: dict[CompletionId, TrainSequence]
    early_seconds: float
    seconds: float


async def prepare_step(run: Run, step: int, rollouts: Rollouts, laps: Laps) -> PreparedStep:
    """Wait for the completions of ``step`` (lap ``generate``) and for their old log-probs (lap ``old_log_prob``).

    A call of the learner that is in progress when the last completion arrives counts in ``generate``.
    """
    preparation = _Preparation(run, step)
    early = run.config.learner.logprobs_while_sampling and not run.config.run.deterministic
    sampling = asyncio.ensure_future(rollouts.completions(step))
    try:
        with laps("generate"):
            while early and not sampling.done():
                await _wait_for_another(rollouts, step, sampling)
                if rollouts.is_sampled(step):
                    break
                await preparation.prepare(rollouts.complete_groups(step))
            completions = await sampling
        early_seconds = preparation.seconds
        with laps("old_log_prob"):
            await preparation.prepare(completions)
    finally:
        sampling.cancel()
    return PreparedStep(
        sequences=preparation.sequences,
        early_seconds=early_seconds,
        seconds=preparation.seconds - early_seconds,
    )


async def _wait_for_another(rollouts: Rollouts, step: int, sampling: asyncio.Future[list[Completion]]) -> None:
    """Wait for another completion of ``step``, or for the end of ``sampling``, which has a deadline."""
    another = asyncio.ensure_future(rollouts.wait_for_completion(step))
    try:
        futures: set[asyncio.Future[Any]] = {another, sampling}
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        another.cancel()


class _Preparation:
    """Old log-probs of a step, computed in several calls of the learner."""

    def __init__(self, run: Run, step: int) -> None:
        self.run = run
        self.step = step
        self.sequences: dict[CompletionId, TrainSequence] = {}
        self.seconds = 0.0

    async def prepare(self, completions: Sequence[Completion]) -> None:
        """Prepare those of ``completions`` that are not prepared yet."""
        new = [completion for completion in completions if completion.id not in self.sequences]
        if not new:
            return
        sequences = build_train_sequences(new)
        started = time.monotonic()
        self.seconds += await self.run.learner.prepare(list(sequences.values()))
        self.sequences |= sequences
        for rank in self.run.learner.ranks:
            self.run.records.timeline.add_span(rank, "old log-probs", started, time.monotonic(), step=self.step)
