"""Calibration: measure diversity and reward of the initial policy at each temperature of the grid, before step 0."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from conf.schema import Config
from evaluator.errors import RunFailed
from launch.problems.prompts import PromptedProblem
from launch.records.run_directory import write_text_atomically
from launch.training.sampling import Sampler
from learner.diversity import distinct_ngram_ratio, mean_distinct_ngram_ratio
from learner.rollout import Group
from learner.temperature_rules import Decision, Measurement

CALIBRATION = 2**32 - 1  # takes the place of a step in the seed of the random numbers


class CalibrationError(RunFailed, RuntimeError):
    """The calibration failed: nothing could be measured at a temperature of the grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationSettings:
    """Settings that a calibration depends on; one with the same settings is read from the run directory."""

    model: str
    dataset: str
    reward: str
    seed: int
    grid: tuple[float, ...]
    problems: int
    samples: int
    max_response_tokens: int


@dataclass(frozen=True)
class QueryMeasurement:
    """Measurement of a problem at a temperature.

    Attributes:
        diversity: D of the responses; None if none has four tokens.
        rewards: reward of each response; None if it is excluded.
    """

    question_id: str
    diversity: float | None
    rewards: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationPoint:
    """Measurements at a temperature.

    Attributes:
        measured: mean diversity over problems and mean reward over responses.
        truncated: share of responses that reached the length limit.
        response_length: mean length in tokens.
        excluded: number of responses that the evaluator could not judge.
        seconds: wall time.
        queries: measurements of the problems.
    """

    measured: Measurement
    truncated: float
    response_length: float
    excluded: int
    seconds: float
    queries: tuple[QueryMeasurement, ...]


@dataclass(frozen=True)
class Calibration:
    """A finished calibration."""

    settings: CalibrationSettings
    points: tuple[CalibrationPoint, ...]

    @property
    def measurements(self) -> list[Measurement]:
        return [point.measured for point in self.points]


def calibration_settings(config: Config, problems: int) -> CalibrationSettings:
    """Settings of the calibration of a run with ``problems`` training problems."""
    dataset = config.dataset
    return CalibrationSettings(
        model=config.model.path,
        dataset=f"{dataset.name} {dataset.path}",
        reward=config.algorithm.reward,
        seed=config.run.seed,
        grid=tuple(config.temperature.grid),
        problems=min(config.temperature.calibration_prompts, problems),
        samples=config.algorithm.group_size,
        max_response_tokens=config.generator.max_response_tokens,
    )


async def calibrate(
    sampler: Sampler,
    problems: Sequence[PromptedProblem],
    settings: CalibrationSettings,
    end_token_ids: Collection[int],
    show_phase: Callable[[str, int, int], None],
    *,
    step: int = 0,
) -> Calibration:
    """Sample and judge ``problems`` at each temperature of the grid.

    Args:
        sampler: engines and evaluators.
        problems: problems to sample.
        settings: temperatures and number of responses.
        end_token_ids: tokens that do not count in the diversity.
        show_phase: called with the name of the phase, the responses judged, and all responses.
        step: step before which is measured, so that deterministic mode draws other random numbers each time.

    Raises CalibrationError if no response at a temperature could be judged, or none has four tokens.
    """
    points = []
    for index, temperature in enumerate(settings.grid):
        started = time.monotonic()

        def show_progress(judged: int, total: int, temperature: float = temperature) -> None:
            show_phase(f"calibrate at T {temperature:g}", judged, total)

        stream_key = (CALIBRATION, index, step) if step else (CALIBRATION, index)
        groups = await sampler.sample(problems, settings.samples, temperature, stream_key, show_progress)
        points.append(calibration_point(temperature, groups, end_token_ids, time.monotonic() - started))
    return Calibration(settings, tuple(points))


def calibration_point(
    temperature: float, groups: Sequence[Group], end_token_ids: Collection[int], seconds: float
) -> CalibrationPoint:
    """Measure ``groups``, sampled at ``temperature`` in ``seconds``. Raises CalibrationError."""
    queries = tuple(
        QueryMeasurement(
            group.question_id,
            distinct_ngram_ratio(group.responses, end_token_ids),
            tuple(rollout.reward for rollout in group.rollouts),
        )
        for group in groups
    )
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    diversity = mean_distinct_ngram_ratio(query.diversity for query in queries)
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    if diversity is None:
        raise CalibrationError(
            f"temperature {temperature:g}: no response has four tokens, so diversity cannot be measured: "
            "set temperature.kind=fixed"
        )
    if not rewards:
        raise CalibrationError(
            f"temperature {temperature:g}: the evaluator failed on every response (sandbox_error); first detail: "
            f"{rollouts[0].judgement.verdict.detail}"
        )
    return CalibrationPoint(
        measured=Measurement(temperature, diversity, float(np.mean(rewards))),
        truncated=float(np.mean([rollout.truncated for rollout in rollouts])),
        response_length=float(np.mean([len(rollout.completion.response_token_ids) for rollout in rollouts])),
        excluded=len(rollouts) - len(rewards),
        seconds=seconds,
        queries=queries,
    )


def write_calibration(path: Path, calibration: Calibration, chosen: Decision) -> None:
    """Write all measurements, and the decision made from them, as JSON."""
    write_text_atomically(path, json.dumps({**asdict(calibration), "chosen": asdict(chosen)}, indent=1))


def read_calibration(path: Path, settings: CalibrationSettings) -> Calibration | None:
    """Read the calibration in ``path``; None if it is missing or of other settings.

    Raises CalibrationError if the file cannot be read as a calibration.
    """
    try:
        calibration = TypeAdapter(Calibration).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise CalibrationError(
            f"{path} was not written by this version of the program; delete it to calibrate again ({error})"
        ) from error
    return calibration if calibration.settings == settings else None


def calibration_table(calibration: Calibration, chosen: Decision) -> Table:
    """Table of the measurements, one row per temperature, with the chosen one marked."""
    settings = calibration.settings
    table = Table(
        title=f"Calibration: {settings.problems} problems x {settings.samples} responses", title_justify="left"
    )
    for heading in ("temperature", "D", "reward", "length", "truncated", "seconds", ""):
        table.add_column(heading, justify="right")
    for point in calibration.points:
        measured = point.measured
        cells = (
            f"{measured.temperature:g}",
            f"{measured.diversity:.4f}",
            f"{measured.reward:.4f}",
            f"{point.response_length:.1f}",
            f"{point.truncated:.3f}",
            f"{point.seconds:.1f}",
            "chosen" if measured.temperature == chosen.new else "",
        )
        table.add_row(*cells)
    return table
