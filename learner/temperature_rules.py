"""The sampling temperature: constant, changed by schedule, or raised in stages when diversity falls.

    state --decide_temperature(rule, state, step)--> state of the step
          --sample at state.value, measure the diversity D--> record_diversity(state, D)

The paper (arXiv 2603.07777 section 2.4) chooses the temperature from the initial diversity D and its trend: constant or
raised in stages, never by a continuous ramp, which permanently destabilises the training. It specifies no rule; the one
here (``DiversityController``) is this project's.

All values are frozen and all functions pure, so a run that resumes from a checkpointed state continues exactly. A
decision is taken before a step, from the state after the previous step; taken again after a restart, it is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

EMA_WEIGHT = 0.1
"""Weight of a step's diversity in the moving average."""
REFERENCE_STEPS = 20
"""Number of steps of a stage after which its moving average becomes the reference for later steps."""
MAX_DROP = 0.9
"""The next stage begins when the moving average is below this share of the reference."""
MIN_STAGE_STEPS = 40
"""Smallest number of steps of a stage."""
MIN_REWARD_SHARE = 0.9
"""Share of the highest mean reward that a temperature must reach to be chosen by calibration."""

RuleName = Literal[
    "calibration", "calibration_fallback", "schedule", "configuration", "drop", "floor", "top", "restore"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class TemperatureState:
    """The current temperature and the diversity of its stage (the steps since it last changed).

    The state is JSON-compatible: ``TemperatureState(**asdict(state)) == state``.

    Attributes:
        value: current temperature.
        stage: number of changes of the temperature so far.
        steps: number of finished steps of this stage.
        ema: moving average of D over this stage; None before the first D.
        reference: the moving average REFERENCE_STEPS steps after the stage began; None before.
        at_top: True once a rule has asked for a higher temperature than the grid's last, which is reported only once.
        start_diversity: D that calibration measured at the temperature of step 0; None without calibration.
    """

    value: float
    stage: int = 0
    steps: int = 0
    ema: float | None = None
    reference: float | None = None
    at_top: bool = False
    start_diversity: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """A choice of the temperature, with the numbers that it is based on.

    Attributes:
        step: first step sampled at ``new``.
        old: temperature before; None at the start of a run.
        new: temperature chosen.
        rule: name of the rule that made the choice.
        explanation: reason of the choice as text.
        steps: number of steps sampled at ``old``.
        ema: moving average of D at ``old``; None if there is none.
        reference: reference of the moving average at ``old``; None if there is none.
    """

    step: int
    old: float | None
    new: float
    rule: RuleName
    explanation: str
    steps: int = 0
    ema: float | None = None
    reference: float | None = None

    @property
    def line(self) -> str:
        """Log line that reports the decision."""
        old = "" if self.old is None else f"{self.old:g} -> "
        return f"step {self.step:>4}  temperature {old}{self.new:g}: {self.explanation}"


@dataclass(frozen=True)
class TemperatureSchedule:
    """A fixed sequence of temperatures.

    Attributes:
        value: temperature from step 0 on.
        changes: (step, temperature) pairs in ascending order of steps; empty for a constant temperature.
    """

    value: float
    changes: tuple[tuple[int, float], ...] = ()

    def value_at(self, step: int) -> float:
        """Return the temperature of ``step``."""
        return [self.value, *(value for start, value in self.changes if start <= step)][-1]

    def decide(self, state: TemperatureState, step: int) -> Decision | None:
        """Return the change due at ``step``, or None.

        A change is due by the schedule, or because the run was resumed with another configuration.
        """
        new = self.value_at(step)
        if new == state.value:
            return None
        scheduled = step in (start for start, _ in self.changes)
        explanation = "as scheduled" if scheduled else "as now configured"
        return Decision(
            step=step,
            old=state.value,
            new=new,
            rule="schedule" if scheduled else "configuration",
            explanation=explanation + ("" if state.ema is None else f"; {describe_average(state)}"),
            steps=state.steps,
            ema=state.ema,
            reference=state.reference,
        )


@dataclass(frozen=True)
class DiversityController:
    """Rule that ends a stage when its diversity has fallen, and chooses the temperature of the next.

    The next temperature is the next higher one of the grid or, with ``restore``, the smallest one at which the present
    policy has the diversity that the run started with (after POLARIS, 2025).

    Attributes:
        grid: temperatures in ascending order.
        floor: a stage also ends when the moving average of D is below this.
        restore: measure the grid again at the end of a stage.
    """

    grid: tuple[float, ...]
    floor: float
    restore: bool = False

    def needs_measurements(self, state: TemperatureState) -> bool:
        """Return True if the stage has ended and the grid must be measured before the next temperature is decided."""
        return self.restore and self._stage_end_reason(state) is not None

    def choose_restoring(self, state: TemperatureState, step: int, measurements: Sequence[Measurement]) -> Decision:
        """Return the change to the smallest temperature whose D is at least that of the run's start.

        If there is none, it is the one with the highest D. It may be the present one, which then begins a new stage.

        Args:
            state: state after the previous step, whose stage has ended.
            step: first step that will be sampled at the new temperature.
            measurements: measurements of the present policy, one per temperature of the grid.
        """
        reason = self._stage_end_reason(state)
        assert reason is not None and state.start_diversity is not None  # calibration comes before the first stage
        diverse = [item for item in measurements if item.diversity >= state.start_diversity]
        if diverse:
            chosen = min(diverse, key=lambda item: item.temperature)
            choice = f"the smallest with D >= {state.start_diversity:.4f}, that of the start"
        else:
            chosen = max(measurements, key=lambda item: item.diversity)
            choice = f"none has D >= {state.start_diversity:.4f}, that of the start; this is the highest D"
        return Decision(
            step=step,
            old=state.value,
            new=chosen.temperature,
            rule="restore",
            explanation=f"{reason[1]}; measured again: D {chosen.diversity:.4f}, {choice}",
            steps=state.steps,
            ema=state.ema,
            reference=state.reference,
        )

    def decide(self, state: TemperatureState, step: int) -> Decision | None:
        """Return the change to the next temperature if the stage has ended, else None.

        At the top of the grid the decision keeps the temperature; it is returned only once.
        """
        reason = self._stage_end_reason(state)
        if reason is None or state.at_top:
            return None
        rule, explanation = reason
        higher = [value for value in self.grid if value > state.value]
        if not higher:
            rule, explanation = "top", f"{explanation}; the grid has no higher temperature"
        return Decision(
            step=step,
            old=state.value,
            new=higher[0] if higher else state.value,
            rule=rule,
            explanation=explanation,
            steps=state.steps,
            ema=state.ema,
            reference=state.reference,
        )

    def _stage_end_reason(self, state: TemperatureState) -> tuple[RuleName, str] | None:
        """Return the rule that ends the stage and its explanation, or None if the stage goes on."""
        if state.steps < MIN_STAGE_STEPS or state.ema is None:
            return None
        if state.reference is not None and state.ema < MAX_DROP * state.reference:
            threshold = (
                f"under {MAX_DROP:g} x {state.reference:.4f}, the average {REFERENCE_STEPS} steps after it began"
            )
            return "drop", f"{describe_average(state)}: {threshold}"
        if state.ema < self.floor:
            return "floor", f"{describe_average(state)}: under {self.floor:g}"
        return None


TemperatureRule = TemperatureSchedule | DiversityController


def decide_temperature(
    rule: TemperatureRule, state: TemperatureState, step: int, measurements: Sequence[Measurement] = ()
) -> tuple[TemperatureState, Decision | None]:
    """Apply ``rule`` before ``step``.

    Args:
        rule: what changes the temperature.
        state: state after the previous step.
        step: number of the step that will be sampled.
        measurements: measurements of the present policy, if the rule needs them (``needs_measurements``).

    Returns:
        The state to sample ``step`` with, and the decision that changed it, if any. A change of the temperature begins
        a new stage, without steps, average and reference.
    """
    if measurements and isinstance(rule, DiversityController):
        restoring = rule.choose_restoring(state, step, measurements)
        return _begin_stage(state, restoring), restoring
    decision = rule.decide(state, step)
    if decision is None:
        return state, None
    if decision.new == state.value:
        return replace(state, at_top=True), decision
    return _begin_stage(state, decision), decision


def _begin_stage(state: TemperatureState, decision: Decision) -> TemperatureState:
    return TemperatureState(value=decision.new, stage=state.stage + 1, start_diversity=state.start_diversity)


def record_diversity(state: TemperatureState, diversity: float | None) -> TemperatureState:
    """Return the state after a finished step.

    Args:
        state: state that the step was sampled with.
        diversity: D of the step's responses; None if they are too short to have one. The step counts in either case.
    """
    ema = state.ema
    if diversity is not None:
        ema = diversity if ema is None else (1 - EMA_WEIGHT) * ema + EMA_WEIGHT * diversity
    steps = state.steps + 1
    reference = ema if state.reference is None and steps >= REFERENCE_STEPS else state.reference
    return replace(state, steps=steps, ema=ema, reference=reference)


@dataclass(frozen=True)
class Measurement:
    """Mean diversity and mean reward of responses that a policy sampled at ``temperature``."""

    temperature: float
    diversity: float
    reward: float


def choose_initial_temperature(measurements: Sequence[Measurement], target: float) -> Decision:
    """Choose the temperature of step 0 from the calibration's measurements.

    The choice is the lowest temperature with D >= ``target`` among those with at least ``MIN_REWARD_SHARE`` of the
    highest mean reward. If none of these reaches ``target``, it is the one with the highest D (in a tie, the lowest).

    Args:
        measurements: one measurement per temperature of the grid, in any order.
        target: diversity D to reach.

    Raises:
        ValueError: if there are no measurements.
    """
    if not measurements:
        raise ValueError("calibration without measurements: measure at least one temperature")
    best_reward = max(measurement.reward for measurement in measurements)
    rewarding = sorted(
        (measurement for measurement in measurements if measurement.reward >= MIN_REWARD_SHARE * best_reward),
        key=lambda measurement: measurement.temperature,
    )
    diverse = [measurement for measurement in rewarding if measurement.diversity >= target]
    reward_condition = f"reward >= {MIN_REWARD_SHARE:g} x {best_reward:.4f}"
    rule: RuleName
    if diverse:
        chosen = diverse[0]
        rule = "calibration"
        reason = f"the smallest with D >= {target:g} and {reward_condition}"
    else:
        chosen = max(rewarding, key=lambda measurement: measurement.diversity)
        rule = "calibration_fallback"
        reason = f"none has D >= {target:g} and {reward_condition}; this is the highest D that keeps the reward"
    explanation = f"D {chosen.diversity:.4f}, reward {chosen.reward:.4f}; {reason}"
    return Decision(step=0, old=None, new=chosen.temperature, rule=rule, explanation=explanation)


def describe_average(state: TemperatureState) -> str:
    """Describe the moving average of the current stage as text."""
    return f"average D {state.ema:.4f} after {state.steps} steps"
