"""Rows of the ablation: one JSON file per run, written when the run is complete."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launch.records.run_directory import write_text_atomically

RESULTS = Path(__file__).parent / "results"
CURVES = (
    "critic/rewards/mean",
    "response_length/mean",
    "truncation/rate",
    "truncation/changed_advantages",
    "diversity/distinct_4",
    "temperature/value",
    "actor/entropy",
    "actor/pg_clipfrac_higher",
    "actor/pg_clipfrac_lower",
    "timing_s/step",
)
"""Metrics of the training steps that a row keeps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Attempts of an evaluation: by question id the number of answers and how many of them passed.

    Attributes:
        step: number of training steps before it.
        temperature: sampling temperature.
        attempts: (tried, passed) by question id.
    """

    step: int
    temperature: float
    attempts: dict[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Result of one run.

    Attributes:
        arm: name of the arm.
        seed: seed of the run.
        environment: hash of what all arms share (``benchmarks.ablation.environment``).
        commit: commit of the source code.
        finished: time at which the row was written, ISO 8601.
        settings: resolved configuration of the run.
        calibration: content of the run's calibration.json; None if its temperature was not calibrated.
        problems: (part of the problem set, family) of each problem by question id.
        curves: values by metric and step; None where the step has no such metric.
        evaluations: attempts of all evaluations.
    """

    arm: str
    seed: int
    environment: str
    commit: str | None
    finished: str
    settings: dict[str, Any]
    calibration: dict[str, Any] | None
    problems: dict[str, tuple[str, str]]
    curves: dict[str, list[float | None]]
    evaluations: tuple[Scored, ...]


def row_path(arm: str, seed: int, results: Path = RESULTS) -> Path:
    """Return the path of the row of an arm and a seed."""
    return results / f"{arm}-{seed}.json"


def write_row(row: Row, results: Path = RESULTS) -> None:
    """Write a row atomically, in place of an earlier one of the same arm and seed."""
    results.mkdir(parents=True, exist_ok=True)
    write_text_atomically(row_path(row.arm, row.seed, results), json.dumps(asdict(row)) + "\n")


def read_row(path: Path) -> Row:
    """Read a row."""
    values = json.loads(path.read_text())
    problems = {name: (part, family) for name, (part, family) in values.pop("problems").items()}
    evaluations = tuple(
        Scored(
            step=scored["step"],
            temperature=scored["temperature"],
            attempts={name: (tried, passed) for name, (tried, passed) in scored["attempts"].items()},
        )
        for scored in values.pop("evaluations")
    )
    return Row(**values, problems=problems, evaluations=evaluations)


def read_rows(environment: str, results: Path = RESULTS) -> list[Row]:
    """Read the rows of an environment, sorted by file name; rows of others are void."""
    rows = [read_row(path) for path in sorted(results.glob("*.json"))]
    return [row for row in rows if row.environment == environment]
