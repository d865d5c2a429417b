"""The work buffer: which groups are under way, and in which state each of them is.

    claim ──► WAITING ──► GENERATING ──► EVALUATING ──► READY ──► TRAINED      its slot is free after the weight pull
                 └────────────┴──────────────┴────────────┴─────► DROPPED      its slot is free at once

A group is one problem with all its completions. Every claimed group reaches exactly one of the two terminal states. No
more groups than there are slots are between the states: that bounds memory, and how stale a group can get.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from learner.rollout import Rollout


class GroupState(enum.Enum):
    WAITING = "waiting"
    """Claimed; no engine has been asked."""
    GENERATING = "generating"
    """Some completion is still to come."""
    EVALUATING = "evaluating"
    """All completions are there, some verdict is still to come."""
    READY = "ready"
    """All judged."""
    TRAINED = "trained"
    """The policy has been updated with it, and the generators have the new weights."""
    DROPPED = "dropped"
    """Left out, for a ``DropReason``."""


class DropReason(enum.StrEnum):
    DEADLINE = "deadline"
    """Not judged within ``generator.deadline_s``."""
    EQUAL_REWARDS = "equal_rewards"
    """Dynamic sampling leaves it out."""
    FAILED = "failed"
    """Engines died over one of its completions, again and again."""
    STOPPED = "stopped"
    """The run ended before its step."""


FOLLOWS = {
    GroupState.WAITING: {GroupState.GENERATING, GroupState.DROPPED},
    GroupState.GENERATING: {GroupState.EVALUATING, GroupState.DROPPED},
    GroupState.EVALUATING: {GroupState.READY, GroupState.DROPPED},
    GroupState.READY: {GroupState.TRAINED, GroupState.DROPPED},
}


class WorkBufferError(RuntimeError):
    """The buffer was used against its rules: a fault of the caller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A group that was asked for.

    ``number`` counts the run's claims, ``step`` is the training step it belongs to, ``problem`` indexes the training
    problems, ``version`` is the policy that begins to sample it, at ``temperature``.
    """

    number: int
    step: int
    problem: int
    temperature: float
    version: int


@dataclass(kw_only=True)
class Slot:
    """A claimed group on its way. ``rollouts`` in sample order, None where a verdict is still to come."""

    claim: Claim
    rollouts: list[Rollout | None]
    completions: int = 0
    state: GroupState = GroupState.WAITING

    @property
    def judged(self) -> tuple[Rollout, ...]:
        """All rollouts of a group that is READY; those there are of another."""
        return tuple(rollout for rollout in self.rollouts if rollout is not None)


@dataclass(kw_only=True)
class WorkBuffer:
    """``capacity`` slots for groups of ``group_size`` completions; ``trained`` and ``dropped`` count what has ended."""

    capacity: int
    group_size: int
    slots: dict[int, Slot] = field(default_factory=dict)
    claimed: int = 0
    trained: int = 0
    dropped: Counter[DropReason] = field(default_factory=Counter)

    @property
    def free(self) -> int:
        """Slots without a group."""
        return self.capacity - len(self.slots)

    def claim(self, step: int, problem: int, temperature: float, version: int) -> Claim:
        """A slot for a new group. Raises WorkBufferError when none is free."""
        return self.take_up(
            Claim(number=self.claimed, step=step, problem=problem, temperature=temperature, version=version)
        )

    def take_up(self, claim: Claim, rollouts: Sequence[Rollout] = ()) -> Claim:
        """A slot for a group that a checkpoint holds, READY where it has its ``rollouts``."""
        if not self.free:
            raise WorkBufferError(
                f"all {self.capacity} slots are taken: step {claim.step} cannot claim problem {claim.problem}"
            )
        slot = Slot(claim=claim, rollouts=list(rollouts) or [None] * self.group_size)
        if rollouts:
            slot.completions = self.group_size
            slot.state = GroupState.READY
        self.slots[claim.number] = slot
        self.claimed = max(self.claimed, claim.number + 1)
        return claim

    def of_step(self, step: int) -> list[Slot]:
        """The slots of ``step``, in the order they were claimed."""
        return sorted(
            (slot for slot in self.slots.values() if slot.claim.step == step), key=lambda slot: slot.claim.number
        )

    def generating(self, number: int) -> None:
        """Its completions have been asked for."""
        self._move(number, GroupState.GENERATING)

    def completed(self, number: int) -> None:
        """One more of its completions is there."""
        slot = self._slot(number)
        slot.completions += 1
        if slot.completions == self.group_size:
            self._move(number, GroupState.EVALUATING)

    def judged(self, number: int, rollout: Rollout) -> None:
        """One of its completions has its verdict."""
        slot = self._slot(number)
        place = rollout.completion.sample_index
        if slot.rollouts[place] is not None:
            raise WorkBufferError(f"claim {number}: completion {rollout.completion.name} is judged twice")
        slot.rollouts[place] = rollout
        if None not in slot.rollouts:
            self._move(number, GroupState.READY)

    def drop(self, number: int, reason: DropReason) -> None:
        """Leave it out; its slot is free."""
        self._move(number, GroupState.DROPPED)
        self.dropped[reason] += 1
        del self.slots[number]

    def finish(self, number: int) -> None:
        """The weights that it was trained into are served; its slot is free."""
        self._move(number, GroupState.TRAINED)
        self.trained += 1
        del self.slots[number]

    def _slot(self, number: int) -> Slot:
        if number not in self.slots:
            raise WorkBufferError(f"claim {number} has no slot: it has ended, or never was")
        return self.slots[number]

    def _move(self, number: int, state: GroupState) -> None:
        slot = self._slot(number)
        if state not in FOLLOWS[slot.state]:
            raise WorkBufferError(f"claim {number}: {state.value} cannot follow {slot.state.value}")
        slot.state = state
