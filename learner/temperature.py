"""The sampling temperature (arXiv 2603.07777 section 2.4): constant, changed by schedule, or determined by diversity.

    state --decided(rule, state, step)--> state of the step --sample at state.value, measure D--> observed(state, D)

The paper chooses the temperature from the initial diversity D and its trend: constant or raised in stages, never a
continuous ramp, which destabilises the training for good. It gives no rule; the one here is this project's.

Everything is a frozen value and a pure function of it, so a state taken out of a checkpoint goes on as the one that
was put in; a decision is taken before a step, from the state after the step before, and comes out the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

EMA_WEIGHT = 0.1
"""Weight of a step's diversity in the moving average."""
REFERENCE_STEPS = 20
"""The average after that many steps of a stage is what later ones are compared with."""
DROP = 0.9
"""The next stage begins when the average is under this share of the reference."""
STAGE_STEPS = 40
"""Fewest steps of a stage."""
REWARD_KEPT = 0.9
"""Share of the highest mean reward that a temperature must keep to be chosen by calibration."""

Reason = Literal["calibration", "calibration_fallback", "schedule", "configuration", "drop", "floor", "top"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TemperatureState:
    """The temperature in use and the diversity seen at it; ``TemperatureState(**asdict(it))`` is equal to it."""

    value: float
    stage: int = 0
    """How often the temperature was changed."""
    steps: int = 0
    """Steps of this stage that are done."""
    ema: float | None = None
    """Moving average of D over the stage; None before the first D."""
    reference: float | None = None
    """The average REFERENCE_STEPS after the stage began."""
    at_top: bool = False
    """The rule asked for a temperature above the grid's last one; there is none, which is said once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """A choice of the temperature, with the numbers it was made from."""

    step: int
    """The first step sampled at ``new``."""
    old: float | None
    """None at the start of a run."""
    new: float
    rule: Reason
    explanation: str
    steps: int = 0
    """Steps at ``old``; ``ema`` and ``reference`` are those of that stage."""
    ema: float | None = None
    reference: float | None = None

    @property
    def line(self) -> str:
        """For a person."""
        old = "" if self.old is None else f"{self.old:g} -> "
        return f"step {self.step:>4}  temperature {old}{self.new:g}: {self.explanation}"


@dataclass(frozen=True)
class Schedule:
    """``value`` from step 0 on, then ``changes``: (step, temperature), by step. A fixed temperature has no changes."""

    value: float
    changes: tuple[tuple[int, float], ...] = ()

    def at(self, step: int) -> float:
        """The temperature of ``step``."""
        return [self.value, *(value for start, value in self.changes if start <= step)][-1]

    def decision(self, state: TemperatureState, step: int) -> Decision | None:
        """The change due at ``step``, if any: the schedule's, or that of a run resumed with another configuration."""
        new = self.at(step)
        if new == state.value:
            return None
        scheduled = step in (start for start, _ in self.changes)
        explanation = "as scheduled" if scheduled else "as now configured"
        return Decision(
            step=step,
            old=state.value,
            new=new,
            rule="schedule" if scheduled else "configuration",
            explanation=explanation + _average(state),
            steps=state.steps,
            ema=state.ema,
            reference=state.reference,
        )


@dataclass(frozen=True)
class DiversityController:
    """The next value of ``grid`` (ascending) when the stage's diversity has fallen."""

    grid: tuple[float, ...]
    floor: float
    """The next stage begins also when the average is under this."""

    def decision(self, state: TemperatureState, step: int) -> Decision | None:
        """The next stage, if diversity asks for one; at the top of the grid the same temperature, once."""
        fallen = self._fallen(state)
        if fallen is None or state.at_top:
            return None
        rule, explanation = fallen
        above = [value for value in self.grid if value > state.value]
        if not above:
            rule, explanation = "top", f"{explanation}; the grid has no higher temperature"
        new = above[0] if above else state.value
        return Decision(
            step=step,
            old=state.value,
            new=new,
            rule=rule,
            explanation=explanation,
            steps=state.steps,
            ema=state.ema,
            reference=state.reference,
        )

    def _fallen(self, state: TemperatureState) -> tuple[Reason, str] | None:
        if state.steps < STAGE_STEPS or state.ema is None:
            return None
        if state.reference is not None and state.ema < DROP * state.reference:
            of_reference = f"under {DROP:g} x {state.reference:.4f}, the average {REFERENCE_STEPS} steps after it began"
            return "drop", f"{of_stage(state)}: {of_reference}"
        if state.ema < self.floor:
            return "floor", f"{of_stage(state)}: under {self.floor:g}"
        return None


Rule = Schedule | DiversityController


def decided(rule: Rule, state: TemperatureState, step: int) -> tuple[TemperatureState, Decision | None]:
    """The state that ``step`` is sampled with, and the decision that changed it, if one was made.

    A change begins a stage: count, average and reference start again.
    """
    decision = rule.decision(state, step)
    if decision is None:
        return state, None
    if decision.new == state.value:
        return replace(state, at_top=True), decision
    return TemperatureState(value=decision.new, stage=state.stage + 1), decision


def observed(state: TemperatureState, diversity: float | None) -> TemperatureState:
    """The state after a step whose responses had ``diversity`` (None: too short to have one; the step still counts)."""
    ema = state.ema
    if diversity is not None:
        ema = diversity if ema is None else (1 - EMA_WEIGHT) * ema + EMA_WEIGHT * diversity
    steps = state.steps + 1
    reference = ema if state.reference is None and steps >= REFERENCE_STEPS else state.reference
    return replace(state, steps=steps, ema=ema, reference=reference)


@dataclass(frozen=True)
class Measurement:
    """What responses of the initial policy sampled at ``temperature`` were like: mean diversity and mean reward."""

    temperature: float
    diversity: float
    reward: float


def calibrated(measurements: Sequence[Measurement], target: float) -> Decision:
    """The temperature to begin with: the smallest with D >= ``target`` and REWARD_KEPT of the highest mean reward.

    Where none has both, the one with the highest D (of equal ones the smallest) among those that keep the reward.
    Raises ValueError without measurements.
    """
    if not measurements:
        raise ValueError("calibration without measurements")
    highest = max(one.reward for one in measurements)
    keeping = sorted(
        (one for one in measurements if one.reward >= REWARD_KEPT * highest), key=lambda one: one.temperature
    )
    diverse = [one for one in keeping if one.diversity >= target]
    kept = f"reward >= {REWARD_KEPT:g} x {highest:.4f}"
    rule: Reason
    if diverse:
        chosen = diverse[0]
        rule = "calibration"
        how = f"the smallest with D >= {target:g} and {kept}"
    else:
        chosen = max(keeping, key=lambda one: one.diversity)
        rule = "calibration_fallback"
        how = f"none has D >= {target:g} and {kept}; this is the highest D that keeps the reward"
    explanation = f"D {chosen.diversity:.4f}, reward {chosen.reward:.4f}; {how}"
    return Decision(step=0, old=None, new=chosen.temperature, rule=rule, explanation=explanation)


def of_stage(state: TemperatureState) -> str:
    """The stage's average in words."""
    return f"average D {state.ema:.4f} after {state.steps} steps"


def _average(state: TemperatureState) -> str:
    return "" if state.ema is None else f"; {of_stage(state)}"
