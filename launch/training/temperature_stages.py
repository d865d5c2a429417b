"""Sampling temperature of a run, step by step, from configuration, calibration or checkpoint.

``learner.temperature_rules`` decides; this module holds its state and records each decision.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from conf.schema import Config, TemperatureConfig
from launch.problems.prompts import PromptedProblem
from launch.records.run_records import RunRecords
from launch.training.calibration import (
    Calibration,
    calibrate,
    calibration_settings,
    calibration_table,
    read_calibration,
    write_calibration,
)
from launch.training.problem_order import ProblemOrder
from launch.training.sampling import Sampler
from learner.diversity import mean_distinct_ngram_ratio
from learner.rollout import Group
from learner.temperature_rules import (
    Decision,
    DiversityController,
    Measurement,
    TemperatureRule,
    TemperatureSchedule,
    TemperatureState,
    choose_initial_temperature,
    decide_temperature,
    record_diversity,
)

Measure = Callable[[int], Awaitable[Sequence[Measurement]]]
"""Function of the step before which it is called; see ``TemperatureStages``."""


class TemperatureStages:
    """State of the sampling temperature.

    For every step call ``measure_if_needed`` and ``before_step``, sample it, then call ``after_step``.
    """

    def __init__(
        self,
        config: TemperatureConfig,
        state: TemperatureState,
        records: RunRecords,
        *,
        measure: Measure,
        decisions: Sequence[Decision] = (),
    ) -> None:
        """Args:
        config: configured rule.
        state: state after the last step.
        records: where decisions are printed and written.
        measure: measures the present policy at every temperature of the grid.
        decisions: decisions made so far; all decisions are kept for the checkpoint.
        """
        self.state = state
        self.records = records
        self.measure = measure
        self.measurements: Sequence[Measurement] = ()
        self.decisions = [*decisions]
        self.rule = temperature_rule(config)

    async def measure_if_needed(self, step: int) -> None:
        """Measure the present policy if the rule needs that before it decides the temperature of ``step``.

        Raises CalibrationError, DeadlineExceeded.
        """
        if isinstance(self.rule, DiversityController) and self.rule.needs_measurements(self.state):
            self.measurements = await self.measure(step)

    def before_step(self, step: int) -> float:
        """Decide and return the temperature at which to sample ``step``."""
        self.state, decision = decide_temperature(self.rule, self.state, step, self.measurements)
        self.measurements = ()
        if decision is not None:
            self.decisions.append(decision)
            record_decision(decision, self.records)
        return self.state.value

    def after_step(self, groups: Sequence[Group], diversity: Sequence[float | None]) -> TemperatureState:
        """Record the diversity of a step's groups, and return the state of the step.

        Groups that an earlier stage sampled are ignored: they say nothing about the present temperature.

        Args:
            groups: all sampled groups of the step.
            diversity: D of each group, None where no response has four tokens.
        """
        present = [
            value
            for group, value in zip(groups, diversity, strict=True)
            if all(rollout.completion.temperature == self.state.value for rollout in group.rollouts)
        ]
        self.state = record_diversity(self.state, mean_distinct_ngram_ratio(present))
        return self.state


def temperature_rule(config: TemperatureConfig) -> TemperatureRule:
    """Rule that changes the temperature, as configured."""
    if config.kind == "diversity":
        return DiversityController(tuple(config.grid), config.min_diversity, config.rule == "restore")
    return TemperatureSchedule(config.value, tuple(config.schedule))


def temperature_metrics(temperature: float, state: TemperatureState) -> dict[str, float]:
    """Metrics of a step's temperature, and of the present stage and its average diversity up to and including the step.

    Args:
        temperature: temperature at which the step was sampled; with sampling ahead that of an earlier stage, perhaps.
        state: state after the step.
    """
    metrics = {"temperature/value": temperature, "temperature/stage": float(state.stage)}
    return metrics if state.ema is None else {**metrics, "temperature/ema": state.ema}


async def first_temperature(
    config: Config,
    training: Sequence[PromptedProblem],
    sampler: Sampler,
    end_token_ids: Collection[int],
    records: RunRecords,
) -> tuple[TemperatureState, tuple[Decision, ...]]:
    """State at step 0, as configured or calibrated on the problems of the first steps, and the calibration's decision.

    A calibration that a killed run had finished is read from the run directory. Raises CalibrationError,
    DeadlineExceeded.
    """
    if config.temperature.kind != "diversity":
        return TemperatureState(value=config.temperature.value), ()
    path = records.directory.calibration_path
    calibration = read_calibration(path, calibration_settings(config, len(training)))
    if calibration is None:
        calibration = await measure_grid(config, training, sampler, end_token_ids, records)
    decision = choose_initial_temperature(calibration.measurements, config.temperature.target_diversity)
    write_calibration(path, calibration, decision)
    records.display.print_table(calibration_table(calibration, decision))
    record_decision(decision, records)
    (start,) = [item for item in calibration.measurements if item.temperature == decision.new]
    return TemperatureState(value=decision.new, start_diversity=start.diversity), (decision,)


async def measure_grid(
    config: Config,
    training: Sequence[PromptedProblem],
    sampler: Sampler,
    end_token_ids: Collection[int],
    records: RunRecords,
    *,
    step: int = 0,
) -> Calibration:
    """Measure the present policy, that of ``step``, on the problems of the first steps at every temperature."""
    settings = calibration_settings(config, len(training))
    order = ProblemOrder(len(training), config.run.seed)
    problems = [training[index] for index in order.batch(0, settings.problems)]
    return await calibrate(sampler, problems, settings, end_token_ids, records.display.set_phase, step=step)


def record_decision(decision: Decision, records: RunRecords) -> None:
    """Print the decision and append it to ``temperature.jsonl``."""
    records.display.print_line(decision.line)
    records.directory.append_decision(decision)
