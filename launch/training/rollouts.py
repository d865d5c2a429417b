"""Rollouts: fill the work buffer with claimed groups, sample them in the background, hand them out by training step.

The groups of step k are claimed when the policy has version k - max_staleness, and trained at version k: no token is
staler than ``max_staleness``. With 0, sampling is on-policy and takes turns with learning; with more, the groups of the
next steps are sampled while the learner works. A step trains on its own groups, however long they take: a step that
took whichever groups were ready first would prefer short answers.

    fill ─► claim ─► request ─► one task per completion: await it ─► have it judged ─► into its slot of the buffer
                                        │                                                    │
    completions(step) waits for ────────┘                          verdicts(step) waits for ─┘
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from actors.generators.pool import GenerationFailed
from actors.waiting import DeadlineExceeded, gather
from launch.problems.prompts import PromptedProblem
from launch.records.display import Display
from launch.training.driver_state import BufferState
from launch.training.problem_order import ProblemOrder
from launch.training.sampling import Sampler
from launch.training.work_buffer import Claim, DropReason, GroupState, Slot, WorkBuffer
from learner.checkpoint import CheckpointError
from learner.rollout import Completion, CompletionId, Group


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutPlan:
    """Number of groups to sample, and how far ahead.

    Attributes:
        steps: training steps of the run.
        batch_size: groups per step.
        group_size: completions per group.
        max_staleness: steps that are sampled ahead.
        max_rounds: rounds of dynamic sampling per step (DAPO, arXiv 2503.14476 section 3.2): groups whose rewards are
            all equal have no advantage to learn from and are replaced. 0: train on every group.
    """

    steps: int
    batch_size: int
    group_size: int
    max_staleness: int
    max_rounds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledStep:
    """Groups of a step that have all verdicts, in the order of their claims.

    Attributes:
        trained: per group, False if dynamic sampling dropped it: its rewards are all equal, or the batch was complete.
        temperature: temperature at which all groups were sampled.
        rounds: rounds of dynamic sampling.
        dropped: number of groups without all verdicts, by the reason for which they were dropped.
        generation_seconds: time waited for completions of further rounds, after ``Rollouts.completions`` returned.
        reward_seconds: time waited for verdicts after the last completion.
        generation_span: seconds from the first request to the last completion, whether or not the driver waited for it.
    """

    groups: tuple[Group, ...]
    trained: tuple[bool, ...]
    temperature: float
    rounds: int
    dropped: Counter[DropReason]
    generation_seconds: float
    reward_seconds: float
    generation_span: float

    @property
    def untrained(self) -> int:
        """Number of groups that dynamic sampling dropped."""
        return len(self.groups) - sum(self.trained)


def expected_problems(missing: int, kept: int, sampled: int, limit: int) -> int:
    """Number of problems that are expected to give ``missing`` groups with signal, at most ``limit``.

    Args:
        missing: number of groups still needed.
        kept: number of groups with signal so far.
        sampled: number of problems sampled so far.
        limit: largest number of problems.
    """
    return limit if kept == 0 else min(limit, math.ceil(missing * sampled / kept))


def has_signal(group: Group) -> bool:
    """Return True if two completions have different rewards, without excluded ones and without overlong penalty."""
    return len({rollout.reward for rollout in group.rollouts} - {None}) > 1


@dataclass(kw_only=True)
class StepProgress:
    """Progress of a step that is being sampled at one temperature. Times in ``time.monotonic`` seconds.

    Attributes:
        requested_at: time of the first request.
        last_completion_at: time of the last completion so far.
        expected: number of completions requested.
        judged: number of completions judged.
        unfinished: number of completions still to come; ``all_finished`` is set when it reaches 0, and
            ``another_finished`` whenever it changes.
        finished: finished completions.
        dropped: number of dropped groups by reason.
        generation_seconds, reward_seconds: see ``SampledStep``.
    """

    temperature: float
    requested_at: float
    last_completion_at: float
    expected: int = 0
    judged: int = 0
    unfinished: int = 0
    finished: list[Completion] = field(default_factory=list)
    all_finished: asyncio.Event = field(default_factory=asyncio.Event)
    another_finished: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: Counter[DropReason] = field(default_factory=Counter)
    generation_seconds: float = 0.0
    reward_seconds: float = 0.0


class Rollouts:
    """Claims groups, samples them in the background and hands them out by step; ``close`` ends all of it."""

    def __init__(
        self,
        *,
        plan: RolloutPlan,
        problems: Sequence[PromptedProblem],
        order: ProblemOrder,
        sampler: Sampler,
        display: Display,
        first_step: int,
    ) -> None:
        self.plan = plan
        self.problems = problems
        self.order = order
        self.sampler = sampler
        self.display = display
        # A round of dynamic sampling may request a batch of groups while those with signal keep their slots.
        batches = plan.max_staleness + 1 + (plan.max_rounds > 0)
        self.buffer = WorkBuffer(capacity=batches * plan.batch_size, group_size=plan.group_size)
        self.next_step = first_step
        self.tasks: dict[int, dict[CompletionId, asyncio.Task[None]]] = {}
        self.progress: dict[int, StepProgress] = {}
        self.generating = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.displayed_step = first_step

    def can_claim(self, version: int) -> bool:
        """Return True if policy ``version`` may sample a step whose groups are not claimed yet."""
        return self.next_step <= min(version + self.plan.max_staleness, self.plan.steps - 1)

    def fill(self, version: int, temperature_of: Callable[[int], float]) -> None:
        """Claim the groups of every step that policy ``version`` may sample; call ``temperature_of`` in step order."""
        while self.can_claim(version):
            step = self.next_step
            self._begin(step, temperature_of(step))
            self._claim(step, self.order.batch(step, self.plan.batch_size), version, 0)
            self.next_step += 1

    async def completions(self, step: int) -> list[Completion]:
        """Wait for the completions of ``step``, not for their verdicts; return them sorted by ``Completion.id``.

        Completions that miss the step's deadline are missing in the list; ``verdicts`` reports them.
        """
        progress = self.progress[step]
        self.displayed_step = step
        if progress.unfinished:
            awaitables = {f"{progress.unfinished} completions": progress.all_finished.wait()}
            with contextlib.suppress(DeadlineExceeded):
                await gather(awaitables, f"the completions of step {step}", self._seconds_left(progress))
        return sorted(progress.finished, key=lambda completion: completion.id)

    async def wait_for_completion(self, step: int) -> None:
        """Wait until another completion of ``step`` is finished or failed, without a deadline."""
        progress = self.progress[step]
        await progress.another_finished.wait()
        progress.another_finished.clear()

    def is_sampled(self, step: int) -> bool:
        """Return True if no completion of ``step`` is being sampled."""
        return self.progress[step].unfinished == 0

    def complete_groups(self, step: int) -> list[Completion]:
        """Return the completions of the groups of ``step`` whose completions are all there, sorted by their ids."""
        finished = self.progress[step].finished
        counts = Counter(completion.id.claim for completion in finished)
        complete = [completion for completion in finished if counts[completion.id.claim] == self.plan.group_size]
        return sorted(complete, key=lambda completion: completion.id)

    async def verdicts(self, step: int, version: int) -> SampledStep:
        """Wait for all verdicts of ``step`` and return its groups.

        Groups without all verdicts at the deadline are dropped. With dynamic sampling, groups whose rewards are all
        equal are dropped too, and further problems are sampled, for ``max_rounds`` rounds at most: as many as are
        expected to complete the batch, and no more than a batch. Groups beyond the batch are dropped.

        Args:
            step: training step.
            version: policy that samples the further problems.
        """
        self.displayed_step = step
        rounds = 0
        dropped: list[Slot] = []
        used = [slot.claim.problem for slot in self.buffer.step_slots(step)]
        await self._await_verdicts(step)
        while self.plan.max_rounds:
            dropped += self._drop_equal(step)
            kept = len(self.buffer.step_slots(step))
            missing = self.plan.batch_size - kept
            if missing <= 0 or rounds == self.plan.max_rounds:
                break
            rounds += 1
            count = expected_problems(missing, kept, len(used), self.plan.batch_size)
            further = self.order.further(step, rounds, count, used)
            used += further
            self._claim(step, further, version, rounds)
            await self._await_verdicts(step)
        return self._sampled_step(step, [*dropped, *self._drop_surplus(step)], rounds)

    def release(self, step: int) -> None:
        """Free the slots of ``step``: it is trained, and the generators have the weights that it produced."""
        for slot in self.buffer.step_slots(step):
            self.buffer.mark_trained(slot.claim.number)

    async def drain(self) -> None:
        """Wait until no completion is being sampled; each step's groups that miss its deadline are dropped."""
        while generating := [slot for slot in self.buffer.slots.values() if slot.state is GroupState.GENERATING]:
            step = min(slot.claim.step for slot in generating)
            try:
                left = self._seconds_left(self.progress[step])
                await gather({"completions in flight": self.idle.wait()}, "draining the engines", left)
            except DeadlineExceeded as error:
                self.display.warn(
                    f"step {step:>4}  groups are dropped: {error} (raise generator.deadline_s if this recurs)"
                )
                for slot in generating:
                    if slot.claim.step == step and slot.state is GroupState.GENERATING:
                        self._drop(slot, DropReason.DEADLINE)
                        for task in self.tasks.pop(slot.claim.number).values():
                            task.cancel()

    def state(self) -> BufferState:
        """State for a checkpoint. Groups that are not READY are sampled again when the run resumes."""
        slots = sorted(self.buffer.slots.values(), key=lambda slot: slot.claim.number)
        return BufferState(
            next_step=self.next_step,
            claimed=self.buffer.claimed,
            claims=tuple(slot.claim for slot in slots),
            ready={slot.claim.number: slot.judged for slot in slots if slot.state is GroupState.READY},
        )

    def restore(self, state: BufferState) -> None:
        """Continue from a checkpoint. Raises CheckpointError if its groups do not fit this configuration."""
        self._check_state(state)
        self.next_step = state.next_step
        self.buffer.claimed = state.claimed
        for claim in state.claims:
            rollouts = state.ready.get(claim.number, ())
            self.buffer.restore(claim, rollouts)
            if claim.step not in self.progress:
                self._begin(claim.step, claim.temperature)
            self.progress[claim.step].finished += [rollout.completion for rollout in rollouts]
        for step in sorted({claim.step for claim in state.claims}):
            unfinished = [claim for claim in state.claims if claim.step == step and claim.number not in state.ready]
            self._request(unfinished, 0)

    async def close(self) -> None:
        """Stop sampling and drop all groups in the buffer."""
        tasks = [task for group_tasks in self.tasks.values() for task in group_tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number in list(self.buffer.slots):
            self.buffer.drop(number, DropReason.STOPPED)

    def _check_state(self, state: BufferState) -> None:
        problems = self.problems
        same_problems = [
            claim.problem < len(problems)
            and {rollout.completion.question_id for rollout in state.ready.get(claim.number, ())}
            <= {problems[claim.problem].problem.question_id}
            for claim in state.claims
        ]
        if not all(same_problems) or any(len(rollouts) != self.plan.group_size for rollouts in state.ready.values()):
            raise CheckpointError(
                "the checkpoint holds sampled groups of other problems, or of another size: resume with the dataset "
                "and the algorithm.group_size that it was made with"
            )

    def _begin(self, step: int, temperature: float) -> None:
        now = time.monotonic()
        self.progress[step] = StepProgress(temperature=temperature, requested_at=now, last_completion_at=now)

    def _seconds_left(self, progress: StepProgress) -> float:
        return max(0.0, progress.requested_at + self.sampler.deadline_s - time.monotonic())

    def _claim(self, step: int, problems: Sequence[int], version: int, sampling_round: int) -> None:
        temperature = self.progress[step].temperature
        claims = [self.buffer.claim(step, problem, temperature, version) for problem in problems]
        self._request(claims, sampling_round)

    def _request(self, claims: Sequence[Claim], sampling_round: int) -> None:
        """Request all completions of ``claims``, which belong to one step; one task waits for each."""
        if not claims:
            return
        progress = self.progress[claims[0].step]
        progress.expected += len(claims) * self.plan.group_size
        progress.unfinished += len(claims) * self.plan.group_size
        by_number = {claim.number: claim for claim in claims}
        completions = self.sampler.request(
            {claim.number: self.problems[claim.problem] for claim in claims},
            self.plan.group_size,
            progress.temperature,
            (claims[0].step, sampling_round),
        )
        for claim in claims:
            self.buffer.mark_generating(claim.number)
            self.tasks[claim.number] = {}
        for id, completion in completions.items():
            task = asyncio.ensure_future(self._sample(by_number[id.claim], completion))
            self.tasks[id.claim][id] = task

    async def _sample(self, claim: Claim, awaitable: Awaitable[Completion]) -> None:
        """Await a completion and its verdict and put both into the buffer, unless the group was dropped meanwhile."""
        completion = await self._completion(claim, awaitable)
        if completion is None or claim.number not in self.buffer.slots:
            return
        self.buffer.mark_completed(claim.number)
        rollout = await self.sampler.judge(self.problems[claim.problem], completion)
        if claim.number not in self.buffer.slots:
            return
        self.buffer.add_rollout(claim.number, rollout)
        progress = self.progress[claim.step]
        progress.judged += 1
        if claim.step == self.displayed_step:
            self.display.show_generation_progress(progress.judged, progress.expected)

    async def _completion(self, claim: Claim, awaitable: Awaitable[Completion]) -> Completion | None:
        """Await a completion. Returns None, after dropping its group, if its engines died."""
        self.generating += 1
        self.idle.clear()
        progress = self.progress[claim.step]
        try:
            completion = await awaitable
            progress.finished.append(completion)
            return completion
        except GenerationFailed as error:
            slot = self.buffer.slots.get(claim.number)
            if slot is not None:
                self.display.warn(f"step {claim.step:>4}  a group is dropped: {error}")
                self._drop(slot, DropReason.FAILED)
            return None
        finally:
            progress.last_completion_at = time.monotonic()
            progress.unfinished -= 1
            progress.another_finished.set()
            if not progress.unfinished:
                progress.all_finished.set()
            self.generating -= 1
            if not self.generating:
                self.idle.set()

    async def _await_verdicts(self, step: int) -> None:
        """Wait for all verdicts of ``step``; groups that miss one at the deadline are dropped."""
        started = time.monotonic()
        slots = self.buffer.step_slots(step)
        progress = self.progress[step]
        awaitables = {
            f"{id.claim}:{self.problems[slot.claim.problem].problem.question_id}#{id.sample_index}": task
            for slot in slots
            for id, task in self.tasks.get(slot.claim.number, {}).items()
        }
        try:
            await gather(awaitables, f"the rollouts of step {step}", self._seconds_left(progress))
        except DeadlineExceeded as error:
            self.display.warn(
                f"step {step:>4}  groups are dropped: {error} (raise generator.deadline_s if this recurs)"
            )
            for slot in self.buffer.step_slots(step):
                if slot.state is not GroupState.READY:
                    self._drop(slot, DropReason.DEADLINE)
        for slot in slots:
            self.tasks.pop(slot.claim.number, None)
        last_completion = max(started, progress.last_completion_at)
        progress.generation_seconds += last_completion - started
        progress.reward_seconds += time.monotonic() - last_completion

    def _sampled_step(self, step: int, dropped: Sequence[Slot], rounds: int) -> SampledStep:
        """Groups of ``step``; ``dropped`` are the slots of the groups that dynamic sampling dropped."""
        trained = self.buffer.step_slots(step)
        slots = sorted([*trained, *dropped], key=lambda slot: slot.claim.number)
        trained_numbers = {slot.claim.number for slot in trained}
        progress = self.progress.pop(step)
        return SampledStep(
            groups=tuple(self.problems[slot.claim.problem].make_group(slot.judged) for slot in slots),
            trained=tuple(slot.claim.number in trained_numbers for slot in slots),
            temperature=progress.temperature,
            rounds=rounds,
            dropped=progress.dropped,
            generation_seconds=progress.generation_seconds,
            reward_seconds=progress.reward_seconds,
            generation_span=progress.last_completion_at - progress.requested_at,
        )

    def _drop_equal(self, step: int) -> list[Slot]:
        """Drop the groups of ``step`` whose rewards are all equal; return their slots."""
        equal = [
            slot
            for slot in self.buffer.step_slots(step)
            if not has_signal(self.problems[slot.claim.problem].make_group(slot.judged))
        ]
        for slot in equal:
            self.buffer.drop(slot.claim.number, DropReason.EQUAL_REWARDS)
        return equal

    def _drop_surplus(self, step: int) -> list[Slot]:
        """Drop the groups of ``step`` beyond the batch, the last ones claimed; return their slots."""
        surplus = self.buffer.step_slots(step)[self.plan.batch_size :]
        for slot in surplus:
            self.buffer.drop(slot.claim.number, DropReason.SURPLUS)
        return surplus

    def _drop(self, slot: Slot, reason: DropReason) -> None:
        """Drop a group that is not READY, and count it."""
        self.buffer.drop(slot.claim.number, reason)
        self.progress[slot.claim.step].dropped[reason] += 1
