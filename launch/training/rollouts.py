"""Rollouts: keeps the work buffer full, and hands each training step its groups.

The groups of step k are claimed when the policy has version k - max_staleness, and trained at version k: no token is
staler than ``max_staleness``. With 0, sampling is on-policy and takes turns with learning; with more, the groups of the
next steps are sampled while the learner works. A step trains on its own groups, however long they take: a step that
took whichever were ready first would prefer short answers.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from launch.training.sampling import Sampler, SamplingTimes
from launch.training.work_buffer import Claim, DropReason, GroupState, Slot, WorkBuffer
from learner.checkpoint import CheckpointError
from learner.rollout import Completion, Group, Rollout


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutPlan:
    """``batch_size`` groups of ``group_size`` completions for each of ``steps`` steps, ``max_staleness`` steps ahead.

    ``most_rounds``: of further sampling in a step, for groups that have both rewards (DAPO, arXiv 2503.14476 section
    3.2: a group whose rewards are all equal has no advantage to learn from). 0 trains on every group.
    """

    steps: int
    batch_size: int
    group_size: int
    max_staleness: int
    most_rounds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledStep:
    """All judged groups of a step in the order they were claimed; ``trained`` says which of them are trained on.

    The others have equal rewards. ``rounds``: how often was sampled again. ``lost``: groups without all verdicts, by
    why. ``span``: seconds from the first request to the last completion, waited for or not.
    """

    groups: tuple[Group, ...]
    trained: tuple[bool, ...]
    rounds: int
    lost: Counter[DropReason]
    times: SamplingTimes
    span: float

    @property
    def dropped(self) -> int:
        """Groups left out because their rewards are all equal."""
        return len(self.groups) - sum(self.trained)


def has_both_rewards(group: Group) -> bool:
    """Some completion passed and some failed; excluded ones say nothing. The overlong penalty plays no part."""
    return len({rollout.reward for rollout in group.rollouts} - {None}) == 2


@dataclass(kw_only=True)
class StepProgress:
    """Of a step that is being sampled, at one temperature.

    ``asked``, ``last_completion``: when its first request went out and its last completion came, in ``time.monotonic``
    seconds. ``claimed`` completions are to come, of which ``judged`` are. ``lost``: groups left out, by why.
    """

    temperature: float
    asked: float
    last_completion: float
    claimed: int = 0
    judged: int = 0
    sampled: list[tuple[int, Completion]] = field(default_factory=list)
    """Claim and completion, as they came."""
    to_come: int = 0
    all_came: asyncio.Event = field(default_factory=asyncio.Event)
    lost: Counter[DropReason] = field(default_factory=Counter)


class Rollouts:
    """Claims groups, samples them in the background, hands them out by step; ``close`` ends all of it."""

    def __init__(
        self,
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
        self.buffer = WorkBuffer(capacity=(plan.max_staleness + 1) * plan.batch_size, group_size=plan.group_size)
        self.next_step = first_step
        self.tasks: dict[int, dict[str, asyncio.Task[None]]] = {}
        self.progress: dict[int, StepProgress] = {}
        self.generating = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.awaited_step = first_step

    def fill(self, version: int, temperature_of: Callable[[int], float]) -> None:
        """Claim the groups of every step that ``version`` may begin to sample; ``temperature_of`` is asked in order."""
        while self.next_step <= min(version + self.plan.max_staleness, self.plan.steps - 1):
            step = self.next_step
            self._begin(step, temperature_of(step))
            self._claim(step, self.order.batch(step, self.plan.batch_size), version, 0)
            self.next_step += 1

    async def completions(self, step: int) -> list[Completion]:
        """Those of ``step``, in the order of claims, as soon as all are there: before their verdicts.

        Without those that do not come before the step's deadline, of which ``step`` tells.
        """
        progress = self.progress[step]
        self.awaited_step = step
        left = progress.asked + self.sampler.deadline_s - time.monotonic()
        if progress.to_come:
            came = {f"{progress.to_come} completions": progress.all_came.wait()}
            with contextlib.suppress(DeadlineExceeded):
                await gather(came, f"the completions of step {step}", max(0.0, left))
        sampled = sorted(progress.sampled, key=lambda one: (one[0], one[1].sample_index))
        return [completion for _, completion in sampled]

    async def step(self, step: int, version: int) -> SampledStep:
        """The groups of ``step``; waits until all are judged, and samples further ones if the plan says so.

        A group that is not judged within the deadline is left out. Every group with all equal rewards is, too, where
        there are rounds of further sampling; the slots that this frees are what a round can claim.
        """
        self.awaited_step = step
        rounds = 0
        equal = []
        used = [slot.claim.problem for slot in self.buffer.of_step(step)]
        times = await self._judged(step)
        while self.plan.most_rounds:
            equal += self._drop_equal(step)
            missing = self.plan.batch_size - len(self.buffer.of_step(step))
            if not missing or rounds == self.plan.most_rounds:
                break
            rounds += 1
            further = self.order.further(step, rounds, missing, used)
            used += further
            self._claim(step, further, version, rounds)
            times += await self._judged(step)
        trained = self.buffer.of_step(step)
        slots = sorted([*trained, *equal], key=lambda slot: slot.claim.number)
        numbers = {slot.claim.number for slot in trained}
        progress = self.progress.pop(step)
        return SampledStep(
            groups=tuple(self.problems[slot.claim.problem].group(slot.judged) for slot in slots),
            trained=tuple(slot.claim.number in numbers for slot in slots),
            rounds=rounds,
            lost=progress.lost,
            times=times,
            span=progress.last_completion - progress.asked,
        )

    def served(self, step: int) -> None:
        """The generators have the weights that ``step`` ended with: its groups are trained, their slots free."""
        for slot in self.buffer.of_step(step):
            self.buffer.finish(slot.claim.number)

    async def drain(self) -> None:
        """Wait until no completion is being sampled; groups that exceed their deadline are left out."""
        oldest = min((progress.asked for progress in self.progress.values()), default=time.monotonic())
        left = oldest + self.sampler.deadline_s - time.monotonic()
        try:
            await gather({"completions in flight": self.idle.wait()}, "draining the engines", max(0.0, left))
        except DeadlineExceeded:
            for slot in list(self.buffer.slots.values()):
                if slot.state is GroupState.GENERATING:
                    self._lose(slot, DropReason.DEADLINE)
                    for task in self.tasks.pop(slot.claim.number).values():
                        task.cancel()

    def state(self) -> BufferState:
        """What a checkpoint holds. A group that is not READY is sampled again when the run goes on."""
        slots = sorted(self.buffer.slots.values(), key=lambda slot: slot.claim.number)
        ready = {slot.claim.number: slot.judged for slot in slots if slot.state is GroupState.READY}
        return BufferState(
            next_step=self.next_step,
            claimed=self.buffer.claimed,
            claims=tuple(slot.claim for slot in slots),
            ready=ready,
        )

    def restore(self, state: BufferState) -> None:
        """Go on from a checkpoint. Raises CheckpointError where its groups are not those of this configuration."""
        self._refuse_foreign(state)
        self.next_step = state.next_step
        self.buffer.claimed = state.claimed
        for claim in state.claims:
            self.buffer.take_up(claim, state.ready.get(claim.number, ()))
            if claim.step not in self.progress:
                self._begin(claim.step, claim.temperature)
            ready = state.ready.get(claim.number, ())
            self.progress[claim.step].sampled += [(claim.number, rollout.completion) for rollout in ready]
        for step in sorted({claim.step for claim in state.claims}):
            self._start([claim for claim in state.claims if claim.step == step and claim.number not in state.ready], 0)

    async def close(self) -> None:
        """Stop sampling; whatever is in the buffer is dropped."""
        tasks = [task for of_group in self.tasks.values() for task in of_group.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number in list(self.buffer.slots):
            self.buffer.drop(number, DropReason.STOPPED)

    def _refuse_foreign(self, state: BufferState) -> None:
        problems = self.problems
        size = self.plan.group_size
        known = [
            claim.problem < len(problems)
            and {rollout.completion.question_id for rollout in state.ready.get(claim.number, ())}
            <= {problems[claim.problem].problem.question_id}
            for claim in state.claims
        ]
        if not all(known) or any(len(rollouts) != size for rollouts in state.ready.values()):
            raise CheckpointError(
                "the checkpoint holds sampled groups of other problems, or of another size: resume with the dataset "
                "and the algorithm.group_size that it was made with"
            )

    def _begin(self, step: int, temperature: float) -> None:
        now = time.monotonic()
        self.progress[step] = StepProgress(temperature=temperature, asked=now, last_completion=now)

    def _claim(self, step: int, problems: Sequence[int], version: int, sampling_round: int) -> None:
        temperature = self.progress[step].temperature
        claims = [self.buffer.claim(step, problem, temperature, version) for problem in problems]
        self._start(claims, sampling_round)

    def _start(self, claims: Sequence[Claim], sampling_round: int) -> None:
        """Ask for all completions of ``claims``, which are of one step and one temperature."""
        if not claims:
            return
        progress = self.progress[claims[0].step]
        progress.claimed += len(claims) * self.plan.group_size
        progress.to_come += len(claims) * self.plan.group_size
        prompted = [self.problems[claim.problem] for claim in claims]
        draw = (claims[0].step, sampling_round)
        asked = self.sampler.ask(prompted, self.plan.group_size, claims[0].temperature, draw)
        for claim, one, waits in zip(claims, prompted, asked, strict=True):
            self.buffer.generating(claim.number)
            self.tasks[claim.number] = {
                f"{claim.number}:{one.problem.question_id}#{index}": asyncio.ensure_future(self._rollout(claim, wait))
                for index, wait in enumerate(waits)
            }

    async def _rollout(self, claim: Claim, wait: Awaitable[Completion]) -> None:
        """One completion and its verdict, into the buffer; nothing where its group has been left out meanwhile."""
        problem = self.problems[claim.problem].problem
        completion = await self._completion(claim, wait)
        if completion is None or claim.number not in self.buffer.slots:
            return
        self.buffer.completed(claim.number)
        judgement = await self.sampler.evaluators.judge(problem, completion.text)
        if claim.number not in self.buffer.slots:
            return
        self.buffer.judged(claim.number, Rollout(completion, judgement))
        progress = self.progress[claim.step]
        progress.judged += 1
        if claim.step == self.awaited_step:
            self.display.sampling(progress.judged, progress.claimed)

    async def _completion(self, claim: Claim, wait: Awaitable[Completion]) -> Completion | None:
        """None, and its group is left out, where engines died over it."""
        self.generating += 1
        self.idle.clear()
        progress = self.progress[claim.step]
        try:
            completion = await wait
            progress.sampled.append((claim.number, completion))
            return completion
        except GenerationFailed as error:
            slot = self.buffer.slots.get(claim.number)
            if slot is not None:
                self.display.say(f"step {claim.step:>4}  a group is left out: {error}")
                self._lose(slot, DropReason.FAILED)
            return None
        finally:
            progress.last_completion = time.monotonic()
            progress.to_come -= 1
            if not progress.to_come:
                progress.all_came.set()
            self.generating -= 1
            if not self.generating:
                self.idle.set()

    async def _judged(self, step: int) -> SamplingTimes:
        """Wait for all verdicts of ``step``; groups that lack one at the deadline are left out."""
        started = time.monotonic()
        slots = self.buffer.of_step(step)
        waits = {name: task for slot in slots for name, task in self.tasks.get(slot.claim.number, {}).items()}
        left = self.progress[step].asked + self.sampler.deadline_s - started
        try:
            await gather(waits, f"the rollouts of step {step}", max(0.0, left))
        except DeadlineExceeded as error:
            self.display.say(f"step {step:>4}  groups are left out: {error}")
            for slot in self.buffer.of_step(step):
                if slot.state is not GroupState.READY:
                    self._lose(slot, DropReason.DEADLINE)
        for slot in slots:
            self.tasks.pop(slot.claim.number, None)
        ended = time.monotonic()
        last = max(started, self.progress[step].last_completion)
        return SamplingTimes(last - started, ended - last)

    def _drop_equal(self, step: int) -> list[Slot]:
        found = [
            slot
            for slot in self.buffer.of_step(step)
            if not has_both_rewards(self.problems[slot.claim.problem].group(slot.judged))
        ]
        for slot in found:
            self.buffer.drop(slot.claim.number, DropReason.EQUAL_REWARDS)
        return found

    def _lose(self, slot: Slot, reason: DropReason) -> None:
        """Leave out a group that is not READY."""
        self.buffer.drop(slot.claim.number, reason)
        self.progress[slot.claim.step].lost[reason] += 1
