"""Minimal run of the paper's experiment on LiveCodeBench: two steps, with an evaluation before and after each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(1800)]
REAL_PROBLEMS = Path(__file__).parents[2].parent / "shared" / "data" / "lcb_problems.jsonl.gz"


def write_synthetic_problems(path: Path) -> Path:
    """Write ten problems in the format of the benchmark, five older than its v6 increment and five of the increment.

    The file is used both for training and for evaluation, so the two sets overlap before the driver separates them.
    """
    rows = []
    for number in range(10):
        day = "2024-05-04" if number < 5 else "2025-02-01"
        tests = [
            {"input": f"{number} {addend}\n", "output": f"{number + addend}\n", "testtype": "stdin"}
            for addend in (1, 7)
        ]
        rows.append(
            {
                "question_id": f"abc{number}",
                "question_title": f"Problem {number}",
                "question_content": f"Print the sum of two numbers. This is variant {number} of the problem.",
                "platform": "atcoder" if number % 2 else "leetcode",
                "difficulty": ("easy", "medium", "hard")[number % 3],
                "contest_date": f"{day}T00:00:00",
                "starter_code": "",
                "public_test_cases": json.dumps(tests[:1]),
                "private_test_cases": json.dumps(tests[1:]),
                "metadata": "{}",
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_experiment(*overrides: str) -> subprocess.CompletedProcess[str]:
    """Run two steps of the experiment with the starter policy on this machine."""
    small = [
        "model=starter",
        "cluster=laptop",
        "run.steps=2",
        "algorithm.group_size=4",
        "algorithm.train_batch_size=4",
        "algorithm.mini_batch_size=2",
        "algorithm.repeat_window=16",
        "generator.max_prompt_tokens=896",
        "generator.max_response_tokens=96",
        "evaluation.max_response_tokens=48",
        "evaluator.wall_s=2.0",
    ]
    command = [sys.executable, "-m", "launch.driver", "+experiment=lcb_v6", *small, *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=1700, check=False)


@pytest.mark.parametrize("rows", ["synthetic", "real"])
def test_two_steps_train_evaluate_and_print_the_table(rows: str, tmp_path: Path) -> None:
    if rows == "real" and not REAL_PROBLEMS.exists():
        pytest.skip(f"no {REAL_PROBLEMS.name} beside this repository; the synthetic problems cover the same code")
    problems = REAL_PROBLEMS if rows == "real" else write_synthetic_problems(tmp_path / "problems.jsonl")
    done = run_experiment(
        f"dataset.path={problems}",
        f"dataset.held_out_path={problems}",
        f"run.root={tmp_path}",
        f"evaluation.samples={2 if rows == 'synthetic' else 1}",  # the real set is 175 problems
        "evaluation.every=1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training problems overlap the evaluation set" in done.stdout
    directory = tmp_path / "lcb_v6"
    metrics = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in metrics] == [0, 1, 2]
    answers: list[dict[str, Any]] = []
    for row in metrics:
        assert 0 <= row["evaluation/lcb_v6/all/all/pass@1"] <= 1
        assert row["evaluation/lcb_v6/lacking"] == row["evaluation/lcb_v6/sandbox_errors"] == 0
        assert {f"evaluation/lcb_v6/{platform}/all/pass@1" for platform in ("atcoder", "leetcode")} <= row.keys()
        answers = pq.read_table(directory / "evaluation" / f"step_{row['step']:06d}.parquet").to_pylist()
        passed = [answer["passed"] for answer in answers]
        assert row["evaluation/lcb_v6/all/all/pass@1"] == pytest.approx(sum(passed) / len(passed))
    assert all("critic/rewards/mean" in row for row in metrics[:2])
    trained = {
        name
        for step in (0, 1)
        for name in pq.read_table(directory / "rollouts" / f"step_{step:06d}.parquet")["question_id"].to_pylist()
    }
    assert not trained & {answer["question_id"] for answer in answers}
    table = done.stdout[done.stdout.index("pass@1, %") :]
    assert all(word in table for word in ("atcoder", "leetcode", "easy", "medium", "hard", "all"))


def write_deepcoder_files(folder: Path, words: str) -> None:
    """Write invented rows in the columns of DeepCoder-Preview's files.

    Args:
        folder: folder for the files.
        words: text that makes the statements, and so the training set, new.
    """
    rows: list[dict[str, Any]] = []
    for number in range(10):
        addends = range(number, number + 3)
        tests = [{"input": f"{number} {n}\n", "output": f"{number + n}\n", "type": "stdin_stdout"} for n in addends]
        listed = " ".join(f"word{number}x{index}" for index in range(24))
        rows.append(
            {
                "problem": f"Print the sum of two numbers. {words} {listed}",
                "solutions": ["print(sum(map(int, input().split())))"],
                "tests": json.dumps(tests),
            }
        )
    copy = {**rows[0], "problem": rows[0]["problem"].upper()}
    wrong = {**rows[8], "solutions": ["print(0)"]}
    overlapping = {**rows[9], "problem": "Print the sum of two numbers. This is variant 7 of the problem."}
    parts = {"primeintellect": rows[:4], "taco": [*rows[4:8], copy, wrong, overlapping, {**rows[7], "tests": "[]"}]}
    for name, part in parts.items():
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(part), folder / name / "train-00000-of-00001.parquet")


def test_training_set_is_curated_from_local_files(tmp_path: Path) -> None:
    problems = write_synthetic_problems(tmp_path / "problems.jsonl")
    write_deepcoder_files(tmp_path / "deepcoder", words=f"{tmp_path.parent.name} {tmp_path.name}")
    overrides = [
        f"dataset.train=deepcoder:{tmp_path / 'deepcoder'}",
        f"dataset.held_out_path={problems}",
        f"dataset.exclude=[{problems}]",
        f"run.root={tmp_path}",
        "evaluation.samples=1",
        "evaluation.every=2",
    ]
    done = run_experiment(*overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    directory = tmp_path / "lcb_v6"
    file = Path(yaml.safe_load((directory / "config.yaml").read_text())["dataset"]["path"])
    try:
        manifest = json.loads((file.parent / "manifest.json").read_text())
        assert {stage: totals["dropped"] for stage, totals in manifest["stages"].items()} == {
            "collect": {"bad_row": 1},
            "process": {},
            "filter": {"duplicate": 1, "overlap_coverage": 1},
            "verify": {"no_passing_reference": 1},
        }
        curated = set(pq.read_table(file)["question_id"].to_pylist())
        assert len(curated) == 8
    finally:
        shutil.rmtree(file.parent)
        file.parent.with_name(f"{file.parent.name}.lock").unlink()
    metrics = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in metrics] == [0, 1, 2]
    assert "critic/rewards/mean" in metrics[0] and "evaluation/lcb_v6/all/all/pass@1" in metrics[2]
    rollouts = pq.read_table(directory / "rollouts" / "step_000001.parquet")
    assert set(rollouts["question_id"].to_pylist()) <= curated
