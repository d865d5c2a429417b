"""Sampling temperature of a run, step by step, from configuration, calibration or checkpoint.

``learner.temperature_rules`` decides; this module holds its state and records each decision.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from conf.schema import Config, TemperatureConfig
from launch.problems.prompts import PromptedProblem
from launch.records.run_records import RunRecords
from launch.training.calibration import (
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
    TemperatureRule,
    TemperatureSchedule,
    TemperatureState,
    choose_initial_temperature,
    decide_temperature,
    record_diversity,
)


class TemperatureStages:
    """State of the sampling temperature: call ``before_step``, sample, then ``after_step``."""

    def __init__(self, config: TemperatureConfig, state: TemperatureState, records: RunRecords) -> None:
        self.state = state
        self.records = records
        self.rule = temperature_rule(config)

    def before_step(self, step: int) -> float:
        """Decide and return the temperature at which to sample ``step``."""
        self.state, decision = decide_temperature(self.rule, self.state, step)
        if decision is not None:
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
        return DiversityController(tuple(config.grid), config.min_diversity)
    return TemperatureSchedule(config.value, tuple(config.schedule))


def temperature_metrics(state: TemperatureState) -> dict[str, float]:
    """Metrics of the temperature of a step, and of its stage's average diversity, the step included."""
    metrics = {"temperature/value": state.value, "temperature/stage": float(state.stage)}
    return metrics if state.ema is None else {**metrics, "temperature/ema": state.ema}


async def first_temperature(
    config: Config,
    training: Sequence[PromptedProblem],
    sampler: Sampler,
    end_token_ids: Collection[int],
    records: RunRecords,
) -> TemperatureState:
    """State at step 0: as configured, or calibrated on the problems of the first steps.

    A calibration that a killed run had finished is read from the run directory. Raises CalibrationError,
    DeadlineExceeded.
    """
    if config.temperature.kind != "diversity":
        return TemperatureState(value=config.temperature.value)
    settings = calibration_settings(config, len(training))
    path = records.directory.calibration_path
    calibration = read_calibration(path, settings)
    if calibration is None:
        order = ProblemOrder(len(training), config.run.seed)
        problems = [training[index] for index in order.batch(0, settings.problems)]
        calibration = await calibrate(sampler, problems, settings, end_token_ids, records.display.set_phase)
    decision = choose_initial_temperature(calibration.measurements, config.temperature.target_diversity)
    write_calibration(path, calibration, decision)
    records.display.console.print(calibration_table(calibration, decision))
    record_decision(decision, records)
    return TemperatureState(value=decision.new)


def record_decision(decision: Decision, records: RunRecords) -> None:
    """Print the decision and append it to ``temperature.jsonl``."""
    records.display.print_line(decision.line)
    records.directory.append_decision(decision)
