"""Reading of a run directory as it is: running, finished, stopped in the middle of a line, or of an older version.

Nothing here writes, and nothing that is missing or damaged is an error: it is None, or left out and noted.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from launch.records.best_checkpoint import BestCheckpoint, read_best_checkpoint

RunState = Literal["running", "finished", "stopped"]
MetricsRow = Mapping[str, float]

MIN_SILENT_SECONDS = 600.0
"""An unfinished run is called stopped if its files did not change for this long, or for five of its steps."""
SILENT_STEPS = 5


@dataclass(frozen=True)
class RecordedSettings:
    """Values of a YAML or JSON file by dotted key."""

    values: Mapping[str, Any]

    def get(self, key: str) -> Any:
        """Return the value of ``key``, for example "run.steps"; None if the file lacks it."""
        value: Any = self.values
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value

    def get_number(self, key: str) -> float | None:
        """Return the finite number at ``key``; None if there is none."""
        value = convert_to_number(self.get(key))
        return value if value is not None and math.isfinite(value) else None

    def flatten(self) -> dict[str, str]:
        """Return all values as text, by dotted key."""
        return dict(_flatten(self.values, ""))


def convert_to_number(value: object) -> float | None:
    """Return a number of a JSON or YAML file as float; None if it is none, or too large for a float.

    >>> convert_to_number(2), convert_to_number(True), convert_to_number("2"), convert_to_number(10**400)
    (2.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _flatten(values: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    items: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            items += _flatten(value, f"{prefix}{key}.")
        else:
            items.append((f"{prefix}{key}", json.dumps(value, default=str)))
    return items


@dataclass(frozen=True)
class StepFile:
    """A Parquet file of a step: rollouts, or the judged answers of an evaluation.

    Attributes:
        step: the step; of an evaluation the number of steps before it.
        stamp: modification time in ns and size in bytes, which change if the file is written again.
    """

    step: int
    path: Path
    stamp: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFiles:
    """Content of a run directory.

    Attributes:
        config: config.yaml.
        environment: environment.json.
        rows: rows of metrics.jsonl in step order, the last one of each step.
        decisions: rows of temperature.jsonl.
        events: rows of events.jsonl.
        rollouts: files of rollouts, in step order.
        evaluations: files of evaluations in step order, by temperature, the evaluation's own first.
        best: the best checkpoint; None if there is none.
        notes: what could not be read.
    """

    path: Path
    state: RunState
    config: RecordedSettings
    environment: RecordedSettings
    rows: tuple[MetricsRow, ...]
    decisions: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]
    rollouts: tuple[StepFile, ...]
    evaluations: Mapping[float, tuple[StepFile, ...]]
    best: BestCheckpoint | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the run: that of its directory."""
        return self.path.resolve().name

    @property
    def training_rows(self) -> tuple[MetricsRow, ...]:
        """Rows of training steps, without one that is an evaluation only."""
        return tuple(row for row in self.rows if "critic/rewards/mean" in row)


def read_run_files(path: Path, now: Callable[[], float] = time.time) -> RunFiles:
    """Read the files of a run directory, except rollouts and evaluations, which are only listed.

    Args:
        path: run directory.
        now: clock, in seconds since the epoch.
    """
    notes: list[str] = []
    config = _read_settings(path / "config.yaml", yaml.safe_load, notes)
    environment = _read_settings(path / "environment.json", json.loads, notes)
    rows = _read_metrics(path / "metrics.jsonl", notes)
    rollouts = _list_step_files(path / "rollouts")
    return RunFiles(
        path=path,
        state=_find_state(path, config, rows, now()),
        config=config,
        environment=environment,
        rows=rows,
        decisions=_read_lines(path / "temperature.jsonl", notes),
        events=_read_lines(path / "events.jsonl", notes),
        rollouts=rollouts,
        evaluations=_list_evaluations(path / "evaluation", config),
        best=_read_best(path / "checkpoints" / "best.json", notes),
        notes=tuple(notes),
    )


def find_tokenizer(run: RunFiles) -> Path | None:
    """Return the run's tokenizer.json: that of a checkpoint, or of a local model; None if there is none."""
    checkpoints = sorted((run.path / "checkpoints").glob("step_*/tokenizer.json"))
    model = run.config.get("model.path")
    candidates = [*reversed(checkpoints), *([Path(model, "tokenizer.json")] if isinstance(model, str) else [])]
    return next((path for path in candidates if _get_status(path) is not None and path.is_file()), None)


def _read_settings(path: Path, parse: Callable[[str], Any], notes: list[str]) -> RecordedSettings:
    try:
        # As JSON values: YAML also has dates, keys that are no text, and references that make a circle.
        values = json.loads(json.dumps(parse(path.read_text(errors="replace")), default=str, skipkeys=True))
    except FileNotFoundError:
        return RecordedSettings({})
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        notes.append(f"{path.name} cannot be read: {error}")
        return RecordedSettings({})
    return RecordedSettings(values if isinstance(values, Mapping) else {})


def _read_lines(path: Path, notes: list[str]) -> tuple[Mapping[str, Any], ...]:
    """Read the objects of a JSONL file; count lines that are none, like one that was cut by a crash."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error}")
        return ()
    objects = [_parse_object(line) for line in lines if line.strip()]
    damaged = objects.count(None)
    if damaged:
        notes.append(f"{path.name}: {damaged} of {len(objects)} lines are incomplete and left out")
    return tuple(value for value in objects if value is not None)


def _parse_object(line: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_metrics(path: Path, notes: list[str]) -> tuple[MetricsRow, ...]:
    rows: dict[int, MetricsRow] = {}
    for line in _read_lines(path, notes):
        numbers = {name: number for name, value in line.items() if (number := convert_to_number(value)) is not None}
        if math.isfinite(numbers.get("step", math.nan)):
            rows[int(numbers["step"])] = numbers
    return tuple(rows[step] for step in sorted(rows))


def _list_step_files(folder: Path) -> tuple[StepFile, ...]:
    files = []
    for path in sorted(folder.glob("step_*.parquet")):
        number = path.stem.removeprefix("step_")
        status = _get_status(path)  # None: a resumed run has deleted it since it was listed
        if number.isdecimal() and status is not None:
            files.append(StepFile(int(number), path, (status.st_mtime_ns, status.st_size)))
    return tuple(sorted(files, key=lambda file: file.step))


def _get_status(path: Path) -> os.stat_result | None:
    """Return the status of a file; None if there is none, or if the path cannot be one."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _list_evaluations(folder: Path, config: RecordedSettings) -> dict[float, tuple[StepFile, ...]]:
    own = config.get_number("evaluation.temperature")
    found = {1.0 if own is None else own: _list_step_files(folder)}
    for subfolder in sorted(folder.glob("T*")):
        try:
            temperature = float(subfolder.name.removeprefix("T"))
        except ValueError:
            continue
        if math.isfinite(temperature) and not found.get(temperature):
            found[temperature] = _list_step_files(subfolder)
    return {temperature: files for temperature, files in found.items() if files}


def _read_best(path: Path, notes: list[str]) -> BestCheckpoint | None:
    try:
        best = read_best_checkpoint(path)
        is_valid = best is None or (type(best.step) is int and isinstance(best.metric, str))
        return best if is_valid else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read: {error!r}")
        return None


def _find_state(path: Path, config: RecordedSettings, rows: Sequence[MetricsRow], now: float) -> RunState:
    """Return the state of a run: finished, running, or stopped if its files have not changed for long."""
    steps = config.get_number("run.steps")
    if steps is not None and ((rows and rows[-1]["step"] >= steps) or _has_checkpoint(path, int(steps))):
        return "finished"
    changes = [
        status.st_mtime
        for name in ("metrics.jsonl", "timeline.json", "evaluation", "config.yaml")
        if (status := _get_status(path / name)) is not None
    ]
    seconds = [row["timing_s/step"] for row in rows if math.isfinite(row.get("timing_s/step", math.nan))]
    allowed = max(MIN_SILENT_SECONDS, SILENT_STEPS * float(np.median(seconds)) if seconds else 0.0)
    return "running" if changes and now - max(changes) < allowed else "stopped"


def _has_checkpoint(path: Path, step: int) -> bool:
    folder = path / "checkpoints" / f"step_{step:06d}"
    return _get_status(folder) is not None and folder.is_dir()
