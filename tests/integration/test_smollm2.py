"""Train a real pretrained model, SmolLM2, for two steps; it is loaded from the hub or from its PyPI package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(1800)]


def test_two_steps_with_smollm2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launch.driver", "+experiment=smollm2", f"run.root={tmp_path}", "run.name=smollm2"],
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "smollm2" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1]
    assert all(abs(row["mismatch/kl"]) < 1e-3 for row in rows), "engine and learner disagree on log-probs"
    assert all(row["response_length/mean"] > 1 for row in rows)
