"""Old log-probs of a step, for the groups that are complete while others are still being sampled.

    completions:  ──group──group─────────group──────last──►
    learner:      idle ──old log-probs──────old log-probs──rest──► update

The learner has nothing else to do until the step's last completion: its weights are those that sample. What it computes
meanwhile is not waited for later. In deterministic mode nothing may depend on the order in which completions finish, so
all old log-probs are computed together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from launch.records.timeline import Laps
from launch.training.rollouts import Rollouts
from launch.training.run import Run
from learner.credit import build_train_sequences
from learner.rollout import Completion, CompletionId, TrainSequence


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedStep:
    """Completions of a step as sequences, whose old log-probs the learner has.

    Attributes:
        sequences: the sequences by the id of their completion.
        early_seconds: seconds of the learner while completions were still being sampled.
        seconds: seconds of the learner after the last completion.
    """

    sequences: dict[CompletionId, TrainSequence]
    early_seconds: float
    seconds: float


async def prepare_step(run: Run, step: int, rollouts: Rollouts, laps: Laps) -> PreparedStep:
    """Wait for the completions of ``step`` (lap ``generate``) and for their old log-probs (lap ``old_log_prob``)."""
    preparation = _Preparation(run, step)
    early = run.config.learner.logprobs_while_sampling and not run.config.run.deterministic
    following = asyncio.create_task(preparation.follow(rollouts)) if early else None
    try:
        with laps("generate"):
            completions = await rollouts.completions(step)
        with laps("old_log_prob"):
            async with preparation.lock:  # not in the middle of a call of the learner
                if following is not None:
                    following.cancel()
                early_seconds = preparation.seconds
                await preparation.prepare(completions)
    finally:
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
    if following is not None and not following.cancelled():
        following.result()  # raises what a call of the learner raised
    return PreparedStep(
        sequences=preparation.sequences,
        early_seconds=early_seconds,
        seconds=preparation.seconds - early_seconds,
    )


class _Preparation:
    """Computes the old log-probs of a step in several calls of the learner, one at a time."""

    def __init__(self, run: Run, step: int) -> None:
        self.run = run
        self.step = step
        self.lock = asyncio.Lock()
        self.sequences: dict[CompletionId, TrainSequence] = {}
        self.seconds = 0.0

    async def follow(self, rollouts: Rollouts) -> None:
        """Prepare each group when it is complete; all that have become complete meanwhile are prepared together."""
        while True:
            await rollouts.wait_for_completion(self.step)
            async with self.lock:
                await self.prepare(rollouts.complete_groups(self.step))

    async def prepare(self, completions: Sequence[Completion]) -> None:
        """Prepare those of ``completions`` that are not prepared yet. Hold the lock."""
        new = [completion for completion in completions if completion.id not in self.sequences]
        if not new:
            return
        sequences = build_train_sequences(new)
        started = time.monotonic()
        seconds = await self.run.learner.prepare(list(sequences.values()))
        self.sequences |= sequences
        self.seconds += seconds
        for rank in self.run.learner.ranks:
            self.run.records.timeline.add_span(rank, "old log-probs", started, time.monotonic(), step=self.step)
