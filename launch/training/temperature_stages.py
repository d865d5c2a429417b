"""The temperature of a run, step by step: from configuration, calibration or checkpoint, with every decision told.

``learner.temperature`` decides; this holds its state and tells a person and the run directory.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from conf.schema import Config, TemperatureConfig
from launch.problems.prompts import PromptedProblem
from launch.records.display import Display
from launch.records.run_directory import RunDirectory
from launch.training.calibration import (
    calibrate,
    calibration_settings,
    calibration_table,
    read_calibration,
    write_calibration,
)
from launch.training.problem_order import ProblemOrder
from launch.training.sampling import Sampler
from learner.diversity import mean_distinct_ngrams
from learner.rollout import Group
from learner.temperature import (
    Decision,
    DiversityController,
    Rule,
    Schedule,
    TemperatureState,
    calibrated,
    decided,
    observed,
)


class Temperature:
    """Holds the state; ``before_step``, sample, ``after_step``, in turn."""

    def __init__(self, config: Config, state: TemperatureState, directory: RunDirectory, display: Display) -> None:
        self.state = state
        self.directory = directory
        self.display = display
        self.rule = temperature_rule(config.temperature)

    def before_step(self, step: int) -> float:
        """The temperature to sample ``step`` at."""
        self.state, decision = decided(self.rule, self.state, step)
        if decision is not None:
            tell_decision(decision, self.directory, self.display)
        return self.state.value

    def after_step(self, groups: Sequence[Group], diversity: Sequence[float | None]) -> dict[str, float]:
        """Take in the ``diversity`` of all ``groups`` that were sampled (``distinct_ngrams`` of each); the metrics.

        Stale groups that an earlier stage sampled say nothing about this one.
        """
        present = [
            value
            for group, value in zip(groups, diversity, strict=True)
            if all(rollout.completion.temperature == self.state.value for rollout in group.rollouts)
        ]
        self.state = observed(self.state, mean_distinct_ngrams(present))
        return temperature_metrics(self.state)


def temperature_rule(config: TemperatureConfig) -> Rule:
    """What changes the temperature."""
    if config.kind == "diversity":
        return DiversityController(tuple(config.grid), config.min_diversity)
    return Schedule(config.value, tuple(config.schedule))


def temperature_metrics(state: TemperatureState) -> dict[str, float]:
    """The temperature that sampled a step, and the average of its stage with the step's diversity in it."""
    found = {"temperature/value": state.value, "temperature/stage": float(state.stage)}
    return found if state.ema is None else {**found, "temperature/ema": state.ema}


async def first_temperature(
    config: Config,
    training: Sequence[PromptedProblem],
    sampler: Sampler,
    ends: Collection[int],
    directory: RunDirectory,
    display: Display,
) -> TemperatureState:
    """The state at step 0: configured, or calibrated on the problems of the first steps.

    A calibration that a killed run had finished is not made again. Raises CalibrationError, DeadlineExceeded.
    """
    if config.temperature.kind != "diversity":
        return TemperatureState(value=config.temperature.value)
    settings = calibration_settings(config, len(training))
    path = directory.calibration_path
    calibration = read_calibration(path, settings)
    if calibration is None:
        order = ProblemOrder(len(training), config.run.seed)
        problems = [training[index] for index in order.batch(0, settings.problems)]
        calibration = await calibrate(sampler, problems, settings, ends, display.phase)
    chosen = calibrated(calibration.measurements, config.temperature.target_diversity)
    write_calibration(path, calibration, chosen)
    display.console.print(calibration_table(calibration, chosen))
    tell_decision(chosen, directory, display)
    return TemperatureState(value=chosen.new)


def tell_decision(decision: Decision, directory: RunDirectory, display: Display) -> None:
    """One line for a person, one row of ``temperature.jsonl``."""
    display.say(decision.line)
    directory.append_decision(decision)
