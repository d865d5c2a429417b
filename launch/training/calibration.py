"""Calibration: what the initial policy's responses are like at each temperature of the grid, before step 0."""

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
from launch.records.run_directory import write_text
from launch.training.sampling import Sampler
from learner.diversity import distinct_ngrams, mean_distinct_ngrams
from learner.rollout import Group
from learner.temperature import Decision, Measurement

CALIBRATION = 2**32 - 1  # in place of a step, where it says which random numbers are drawn


class CalibrationError(RunFailed, RuntimeError):
    """The temperature cannot be calibrated: nothing could be measured at one of the grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationSettings:
    """What a calibration depends on: one made with the same is not made again."""

    model: str
    dataset: str
    seed: int
    grid: tuple[float, ...]
    problems: int
    samples: int
    max_response_tokens: int


@dataclass(frozen=True)
class QueryMeasurement:
    """One problem at one temperature: D of its responses (None: too short), their rewards (None: excluded)."""

    question_id: str
    diversity: float | None
    rewards: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationPoint:
    """One temperature: means over its queries (D) or responses (the others), what they were made of, and its cost.

    ``response_length`` is in tokens, ``truncated`` the share of responses that reached the length limit.
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
    """Of a run that has ``problems`` problems to train on."""
    dataset = config.dataset
    return CalibrationSettings(
        model=config.model.path,
        dataset=f"{dataset.name} {dataset.path}",
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
    ignore: Collection[int],
    phase: Callable[[str], None],
) -> Calibration:
    """Sample and judge ``problems`` at each temperature of the grid; ``ignore``: tokens left out of the n-grams.

    Raises CalibrationError when at one of them no response could be judged, or none is long enough.
    """
    points = []
    for place, temperature in enumerate(settings.grid):
        started = time.monotonic()

        def told(done: int, total: int, temperature: float = temperature) -> None:
            phase(f"calibrate T {temperature:g}: {done}/{total}")

        groups = await sampler.sample(problems, settings.samples, temperature, (CALIBRATION, place), told)
        points.append(calibration_point(temperature, groups, ignore, time.monotonic() - started))
    return Calibration(settings, tuple(points))


def calibration_point(
    temperature: float, groups: Sequence[Group], ignore: Collection[int], seconds: float
) -> CalibrationPoint:
    """The figures of ``groups``, sampled at ``temperature``. Raises CalibrationError."""
    queries = tuple(
        QueryMeasurement(
            group.question_id,
            distinct_ngrams(group.responses, ignore),
            tuple(rollout.reward for rollout in group.rollouts),
        )
        for group in groups
    )
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    diversity = mean_distinct_ngrams(query.diversity for query in queries)
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    if diversity is None:
        raise CalibrationError(
            f"temperature {temperature:g}: no response has four tokens, so diversity cannot be measured: "
            "set temperature.kind=fixed"
        )
    if not rewards:
        raise CalibrationError(
            f"temperature {temperature:g}: the evaluator failed on every response (sandbox_error): look at its log"
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
    """Every number, and the choice made from them."""
    write_text(path, json.dumps({**asdict(calibration), "chosen": asdict(chosen)}, indent=1))


def read_calibration(path: Path, settings: CalibrationSettings) -> Calibration | None:
    """The calibration in ``path`` if it was made with ``settings``. Raises CalibrationError when it is not one."""
    try:
        calibration = TypeAdapter(Calibration).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise CalibrationError(f"{path} is no calibration of this version: delete it ({error})") from error
    return calibration if calibration.settings == settings else None


def calibration_table(calibration: Calibration, chosen: Decision) -> Table:
    """For a person: a row a temperature, the chosen one marked."""
    settings = calibration.settings
    table = Table(
        title=f"Calibration: {settings.problems} problems x {settings.samples} responses", title_justify="left"
    )
    for heading in ("temperature", "D", "reward", "length", "truncated", "seconds", ""):
        table.add_column(heading, justify="right")
    for point in calibration.points:
        measured = point.measured
        table.add_row(
            f"{measured.temperature:g}",
            f"{measured.diversity:.4f}",
            f"{measured.reward:.4f}",
            f"{point.response_length:.1f}",
            f"{point.truncated:.3f}",
            f"{point.seconds:.1f}",
            "chosen" if measured.temperature == chosen.new else "",
        )
    return table
