"""The work buffer: the groups that are being sampled, judged or trained, each in a named state.

    claim ──► WAITING ──► GENERATING ──► EVALUATING ──► READY ──► TRAINED   slot freed after the weights are published
                 └────────────┴──────────────┴────────────┴─────► DROPPED   slot freed at once

A group is one problem with all its completions. Every claimed group reaches exactly one of the two terminal states. The
number of slots bounds the groups in the other states, and with it memory and how stale a group can get.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from learner.rollout import Rollout


class GroupState(enum.Enum):
    WAITING = "waiting"
    """Claimed; its completions are not requested yet."""
    GENERATING = "generating"
    """Its completions are requested; some are not finished."""
    EVALUATING = "evaluating"
    """All completions are finished; some have no verdict yet."""
    READY = "ready"
    """All completions have a verdict."""
    TRAINED = "trained"
    """The policy has been updated with it, and the generators have the new weights."""
    DROPPED = "dropped"
    """Not trained on, for a ``DropReason``."""


class DropReason(enum.StrEnum):
    DEADLINE = "deadline"
    """Not judged within ``generator.deadline_s``."""
    EQUAL_REWARDS = "equal_rewards"
    """Its rewards are all equal, and dynamic sampling is on."""
    SURPLUS = "surplus"
    """Dynamic sampling found more groups with signal than a batch holds."""
    FAILED = "failed"
    """The engines of one of its completions died in all attempts."""
    STOPPED = "stopped"
    """The run ended before the group's step."""


NEXT_STATES = {
    GroupState.WAITING: {GroupState.GENERATING, GroupState.DROPPED},
    GroupState.GENERATING: {GroupState.EVALUATING, GroupState.DROPPED},
    GroupState.EVALUATING: {GroupState.READY, GroupState.DROPPED},
    GroupState.READY: {GroupState.TRAINED, GroupState.DROPPED},
}


class WorkBufferError(RuntimeError):
    """A call that the buffer's rules do not allow: a fault of the caller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A group that is to be sampled.

    Attributes:
        number: position among all claims of the run.
        step: training step that the group belongs to.
        problem: index of the training problem.
        temperature: sampling temperature.
        version: policy version that begins to sample the group.
    """

    number: int
    step: int
    problem: int
    temperature: float
    version: int


@dataclass(kw_only=True)
class Slot:
    """A claimed group in progress; ``rollouts`` in sample order, None where the verdict is missing."""

    claim: Claim
    rollouts: list[Rollout | None]
    completions: int = 0
    state: GroupState = GroupState.WAITING

    @property
    def judged(self) -> tuple[Rollout, ...]:
        """Rollouts that have a verdict: all of them if the group is READY."""
        return tuple(rollout for rollout in self.rollouts if rollout is not None)


@dataclass(kw_only=True)
class WorkBuffer:
    """Slots for groups in progress.

    Attributes:
        capacity: number of slots.
        group_size: completions per group.
        slots: occupied slots by claim number.
        claimed, trained, dropped: counts over the run; ``dropped`` by reason.
    """

    capacity: int
    group_size: int
    slots: dict[int, Slot] = field(default_factory=dict)
    claimed: int = 0
    trained: int = 0
    dropped: Counter[DropReason] = field(default_factory=Counter)

    @property
    def free(self) -> int:
        """Number of slots without a group."""
        return self.capacity - len(self.slots)

    def claim(self, step: int, problem: int, temperature: float, version: int) -> Claim:
        """Claim a slot for a new group. Raises WorkBufferError when none is free."""
        return self.restore(
            Claim(number=self.claimed, step=step, problem=problem, temperature=temperature, version=version)
        )

    def restore(self, claim: Claim, rollouts: Sequence[Rollout] = ()) -> Claim:
        """Put the group of a checkpoint into a slot; it is READY if it comes with its ``rollouts``."""
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

    def step_slots(self, step: int) -> list[Slot]:
        """Slots of ``step``, in the order of their claims."""
        return sorted(
            (slot for slot in self.slots.values() if slot.claim.step == step), key=lambda slot: slot.claim.number
        )

    def mark_generating(self, number: int) -> None:
        """The group's completions have been requested."""
        self._move(number, GroupState.GENERATING)

    def mark_completed(self, number: int) -> None:
        """Count one more finished completion of the group."""
        slot = self._slot(number)
        slot.completions += 1
        if slot.completions == self.group_size:
            self._move(number, GroupState.EVALUATING)

    def add_rollout(self, number: int, rollout: Rollout) -> None:
        """Add a judged completion to its group. Raises WorkBufferError for a second verdict."""
        slot = self._slot(number)
        place = rollout.completion.sample_index
        if slot.rollouts[place] is not None:
            raise WorkBufferError(f"claim {number}: completion {rollout.completion.name} is judged twice")
        slot.rollouts[place] = rollout
        if None not in slot.rollouts:
            self._move(number, GroupState.READY)

    def drop(self, number: int, reason: DropReason) -> None:
        """Drop the group and free its slot."""
        self._move(number, GroupState.DROPPED)
        self.dropped[reason] += 1
        del self.slots[number]

    def mark_trained(self, number: int) -> None:
        """Free the group's slot: the generators have the weights that it was trained into."""
        self._move(number, GroupState.TRAINED)
        self.trained += 1
        del self.slots[number]

    def _slot(self, number: int) -> Slot:
        if number not in self.slots:
            raise WorkBufferError(f"claim {number} has no slot: it ended, or was never made")
        return self.slots[number]

    def _move(self, number: int, state: GroupState) -> None:
        slot = self._slot(number)
        if state not in NEXT_STATES[slot.state]:
            raise WorkBufferError(f"claim {number}: {state.value} cannot follow {slot.state.value}")
        slot.state = state
