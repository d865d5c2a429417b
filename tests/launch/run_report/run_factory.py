"""Factory of run directories with the files of a training run in today's formats. Every argument has a default."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from evaluator.verdict import Status
from launch.evaluation.answers import SCHEMA as ANSWER_SCHEMA
from launch.records.run_directory import DICTIONARY_COLUMNS, SCHEMA
from launch.run_report.run_files import RecordedSettings, RunFiles
from tests.factories import make_config, make_credited_group, make_metrics_row

Values = dict[str, Any]

HOSTILE_TEXT = (
    "\x1b[31mred\x1b[2J\x1b]0;title\x07\x1b]8;;http://example.invalid\x1b\\link\x1b]8;;\x1b\\"
    "\r\x08\x00\x7f\x9b31m\u202eright\u2066\u200b [bold]bold[/bold] [/] [link=file:///]x[/link] :smile:"
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }} &amp; \\ ' \" `"
)
"""Escape sequences, control characters, rich markup, HTML and template markup, as a program could print them."""
FAILURES = (Status.WRONG_ANSWER, Status.RUNTIME_ERROR, Status.TIME_LIMIT, Status.NO_CODE)
TEXT_COLUMNS = tuple(field.name for field in SCHEMA if field.type == pa.string())
OLD_COLUMNS = (
    *("step", "policy_version_min", "policy_version_max", "question_id", "sample_index", "prompt", "response"),
    *("response_token_ids", "sampler_logprobs", "finish_reason", "temperature", "reward", "advantage", "masked"),
    *("status", "tests_passed", "tests_total"),
)
"""Columns that an older version wrote."""


def write_run(
    path: Path,
    *,
    steps: int = 3,
    planned_steps: int | None = None,
    groups: int = 4,
    samples: int = 4,
    texts: Mapping[str, str] | None = None,
    change_row: Callable[[Values], Values] | None = None,
    columns: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    with_evaluations: bool = True,
    with_rollouts: bool = True,
    seconds_ago: float | None = None,
) -> Path:
    """Write a run directory and return its path.

    Of the groups of a step, the first is solved by all samples, the second by half of them, the third by none, further
    ones by a number that rises with the step. The last sample of an unsolved program reached the length limit.

    Args:
        path: directory to create.
        steps: number of steps that the run has done.
        planned_steps: ``run.steps``; by default ``steps``, so the run is finished.
        groups: groups per step.
        samples: completions per group.
        texts: values of text columns, the same in all rows: ``{"code": HOSTILE_TEXT}``.
        change_row: function that returns a row of the rollout file with other values.
        columns: columns of the rollout files; by default all.
        settings: values of the configuration by dotted key.
        with_evaluations: write evaluations before the first and after the last step, at two temperatures.
        with_rollouts: write rollout files.
        seconds_ago: age of the files; by default they are new.
    """
    (path / "rollouts").mkdir(parents=True)
    planned = steps if planned_steps is None else planned_steps
    config = write_settings(path, {"run.name": path.name, "run.steps": planned, **(settings or {})})
    lines = []
    for step in range(steps):
        rows = [{**row, **(texts or {})} for row in make_step_rows(step, groups, samples)]
        rows = [change_row(row) for row in rows] if change_row else rows
        if with_rollouts:
            write_rollout_file(path / "rollouts" / f"step_{step:06d}.parquet", rows, columns)
        lines.append(make_metrics(step, rows))
    if with_evaluations:
        write_evaluations(path, config, steps, lines)
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if seconds_ago is not None:
        make_older(path, seconds_ago)
    return path


def write_settings(path: Path, changes: Mapping[str, Any]) -> Values:
    """Write config.yaml and environment.json; return the content of config.yaml."""
    config = make_settings(changes)
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (path / "environment.json").write_text(json.dumps({"python": "3.11", "commit": "0123456789abcdef", "gpus": []}))
    return config


def make_step_rows(step: int, groups: int, samples: int) -> list[Values]:
    """Return the rows of a step's rollout file."""
    return [make_rollout_values(step, group, sample, samples) for group in range(groups) for sample in range(samples)]


def make_settings(changes: Mapping[str, Any]) -> Values:
    """Return the content of config.yaml; ``changes`` are values by dotted key, of any type."""
    values: Values = copy.deepcopy(asdict(make_config("evaluation.other_temperatures=[0.3]")))
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = values
        for each in sections:
            section = section[each]
        section[name] = value
    return values


def make_rollout_values(step: int, group: int, sample: int, samples: int = 4) -> Values:
    """Return the values of a row of a rollout file, in all columns of its schema."""
    solved = [samples, samples // 2, 0][group] if group < 3 else (group + step) % (samples + 1)
    passed = sample < solved
    status = Status.PASSED if passed else FAILURES[(group + sample) % len(FAILURES)]
    is_truncated = not passed and sample == samples - 1
    rewards = np.array([1.0] * solved + [0.0] * (samples - solved))
    unmasked = float((float(passed) - rewards.mean()) / (rewards.std() + 1e-6))
    is_masked = is_truncated and group % 2 == 0
    tokens = np.arange(10, 14 + sample + group, dtype=np.int32)
    logprobs = np.linspace(-0.75, -0.25, len(tokens), dtype=np.float32)
    has_test = not passed and status is not Status.NO_CODE
    code = None if status is Status.NO_CODE else f"a, b = map(int, input().split())\nprint(a + b)  # {sample}"
    return {
        "step": step,
        "policy_version_min": max(0, step - group % 2),
        "policy_version_max": step,
        "question_id": f"starter/family_{group}/0000",
        "sample_index": sample,
        "prompt": f"Print the sum of two numbers, in version {group}.",
        "response": "I do not know" if code is None else f"The sum:\n```python\n{code}\n```",
        "response_token_ids": tokens,
        "sampler_logprobs": logprobs,
        "learner_logprobs": logprobs + np.float32(0.001 * (sample + 1)),
        "finish_reason": "length" if is_truncated else "stop",
        "temperature": 0.8,
        "reward": float(passed),
        "shaped_reward": float(passed),
        "unmasked_advantage": unmasked,
        "advantage": 0.0 if is_masked else unmasked,
        "truncated": is_truncated,
        "incomplete": code is None or is_masked,
        "repeated_tail": is_truncated and not is_masked,
        "mask_draw": 0.125 if is_masked else 0.5,
        "masked": is_masked,
        "trained": True,
        "status": str(status),
        "accepted_by": "exact" if passed else None,
        "first_failed": 1 if has_test else None,
        "tests_passed": 3 if passed else int(has_test),
        "tests_total": 3,
        "failed_input": "1 2\n" if has_test else None,
        "failed_expected": "3\n" if has_test else None,
        "failed_actual": "4\n" if has_test else None,
        "code": code,
        "generation_seconds": 0.5 + 0.25 * sample + step,
        "evaluation_seconds": 0.0 if code is None else 0.125 * (group + 1),
    }


def write_rollout_file(path: Path, rows: Sequence[Values], columns: Sequence[str] | None = None) -> None:
    """Write a rollout file as the run does, with the columns that its schema and ``columns`` have in common."""
    schema = pa.schema([field for field in SCHEMA if columns is None or field.name in columns])
    table = pa.table({field.name: pa.array([row[field.name] for row in rows], field.type) for field in schema}, schema)
    dictionary = [name for name in DICTIONARY_COLUMNS if name.split(".")[0] in schema.names]
    pq.write_table(table, path, use_dictionary=dictionary)


def make_metrics(step: int, rows: Sequence[Values]) -> Values:
    """Return a row of metrics.jsonl. Its names are those of a run; what depends on ``rows`` agrees with them."""
    rewards = [row["reward"] for row in rows if row["reward"] is not None]
    lengths = [len(row["response_token_ids"]) for row in rows]
    return {
        **make_metrics_row(step, [make_credited_group(Status.PASSED, Status.WRONG_ANSWER)]),
        "critic/rewards/mean": float(np.mean(rewards)) if rewards else 0.0,
        "response_length/mean": float(np.mean(lengths)),
        "response_length/max": max(lengths),
        "truncation/rate": float(np.mean([row["truncated"] for row in rows])),
        "truncation/masked": float(np.mean([row["masked"] for row in rows])),
        "temperature/value": 0.8,
    }


def write_evaluations(path: Path, config: Values, steps: int, lines: list[Values]) -> None:
    """Write evaluations before the first and after the last step, and add their scores to ``lines``."""
    name = config["dataset"]["name"] or "held_out"
    for step, passed in ((0, 1), (steps, 3)) if steps else ((0, 1),):
        for temperature in (None, *config["evaluation"]["other_temperatures"]):
            folder = path / "evaluation" / ("" if temperature is None else f"T{temperature:g}")
            folder.mkdir(parents=True, exist_ok=True)
            write_answers(folder / f"step_{step:06d}.parquet", passed=passed)
        scores = {"step": step, f"evaluation/{name}/all/all/pass@1": passed / 4}
        if step < len(lines):
            lines[step] |= scores
        else:
            lines.append(scores)


def write_answers(path: Path, problems: int = 6, samples: int = 4, passed: int = 2) -> None:
    """Write a file of judged answers in which ``passed`` samples of each problem passed."""
    rows = [
        {
            **{field.name: None for field in ANSWER_SCHEMA},
            "question_id": f"starter/held_out_{problem}/0000",
            "sample_index": sample,
            "text": "```python\nprint(3)\n```",
            "tokens": 9,
            "truncated": False,
            "passed": sample < passed,
            "status": str(Status.PASSED if sample < passed else Status.WRONG_ANSWER),
            "platform": "trained",
            "family": f"held_out_{problem}",
        }
        for problem in range(problems)
        for sample in range(samples)
    ]
    pq.write_table(pa.Table.from_pylist(rows, ANSWER_SCHEMA), path)


def make_older(path: Path, seconds: float) -> None:
    """Set back the modification times of all files and folders of a run directory."""
    for file in (path, *path.rglob("*")):
        time = file.stat().st_mtime - seconds
        os.utime(file, (time, time))


def make_run_files(
    path: str = "run", *, config: Values | None = None, rows: Sequence[Mapping[str, float]] = ()
) -> RunFiles:
    """Return a finished run that has only a configuration and rows of metrics."""
    return RunFiles(
        path=Path(path),
        state="finished",
        config=RecordedSettings(config or {}),
        environment=RecordedSettings({}),
        rows=tuple(rows),
        decisions=(),
        events=(),
        rollouts=(),
        evaluations={},
        best=None,
        notes=(),
    )
