"""Minimal run of the paper's experiment on LiveCodeBench: two steps, with an evaluation before and after each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

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


@pytest.mark.parametrize("rows", ["synthetic", "real"])
def test_two_steps_train_evaluate_and_print_the_table(rows: str, tmp_path: Path) -> None:
    if rows == "real" and not REAL_PROBLEMS.exists():
        pytest.skip(f"no {REAL_PROBLEMS.name} beside this repository; the synthetic problems cover the same code")
    problems = REAL_PROBLEMS if rows == "real" else write_synthetic_problems(tmp_path / "problems.jsonl")
    overrides = [
        "model=starter",
        "cluster=laptop",
        f"dataset.path={problems}",
        f"dataset.held_out_path={problems}",
        f"run.root={tmp_path}",
        "run.steps=2",
        "algorithm.group_size=4",
        "algorithm.train_batch_size=4",
        "algorithm.mini_batch_size=2",
        "algorithm.repeat_window=16",
        "generator.max_prompt_tokens=896",
        "generator.max_response_tokens=96",
        "evaluation.max_response_tokens=48",
        f"evaluation.samples={2 if rows == 'synthetic' else 1}",  # the real set is 175 problems
        "evaluation.every=1",
        "evaluator.wall_s=2.0",
    ]
    command = [sys.executable, "-m", "launch.driver", "+experiment=lcb_v6", *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1700, check=False)
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
