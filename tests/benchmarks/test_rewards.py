"""Benchmark ``rewards``: the script of docs/rewards.md, and TRL's log."""

import math

import pytest

from benchmarks.rewards import (
    COLUMNS,
    PAGE,
    RewardBenchmarkError,
    compute_summary,
    console,
    extract_script,
    print_steps,
    select_steps,
)

ROW = {
    "rewards/passed/mean": 0.25,
    "rewards/passed/std": 0.5,
    "frac_reward_zero_std": 0.5,
    "completions/mean_length": 40.0,
    "loss": 0.01,
    "grad_norm": 0.2,
}
TOTALS = {"train_runtime": 9.0, "train_loss": 0.01}


def test_extract_script_returns_the_file_of_the_page():
    script = extract_script(PAGE.read_text(), "train.py")
    assert script.startswith("# train.py\n")
    assert script.endswith("trainer.train()\n")
    assert "max_steps=2" in script


@pytest.mark.parametrize("page", ["", "```python\nx = 1\n```\n", 2 * "```python\n# train.py\n```\n"])
def test_page_without_one_script_is_an_error(page):
    with pytest.raises(RewardBenchmarkError, match=r"files train\.py"):
        extract_script(page, "train.py")


def test_summary_has_the_mean_reward_of_each_step():
    steps = select_steps([ROW, ROW | {"rewards/passed/mean": 0.5}, TOTALS])
    assert compute_summary(steps, 12.34) == {"steps": 2, "reward_step_1": 0.25, "reward_step_2": 0.5, "seconds": 12.3}


def test_table_shows_every_column():
    with console.capture() as capture:
        print_steps([ROW, ROW])
    assert {*COLUMNS.values()} == {*ROW}
    assert "0.25" in capture.get()


@pytest.mark.parametrize("log", [[], [ROW], [ROW, ROW, ROW], [ROW, ROW | {"rewards/passed/mean": math.nan}]])
def test_log_without_two_rewarded_steps_is_an_error(log):
    with pytest.raises(RewardBenchmarkError, match="expected 2 steps"):
        select_steps(log)
