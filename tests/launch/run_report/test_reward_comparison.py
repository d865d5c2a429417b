"""Comparison of the training rewards in the last quarter of the steps."""

import math

import pytest

from launch.run_report.reward_comparison import compare_rewards
from launch.run_report.run_settings import Setting
from tests.launch.run_report.run_factory import make_run_files


def make_setting(*runs):
    """Make a setting of runs with these rewards by step; None is a row without a reward."""
    return Setting(label="", runs=tuple(make_run(rewards) for rewards in runs))


def make_run(rewards):
    rows = [
        {"step": float(step), **({} if reward is None else {"critic/rewards/mean": reward})}
        for step, reward in enumerate(rewards)
    ]
    return make_run_files("run", rows=rows)


def test_the_last_quarter_of_the_steps_is_averaged():
    comparison = compare_rewards(
        [
            make_setting([9.0] * 6 + [0.25, 0.75], [9.0] * 6 + [0.0, 0.5]),
            make_setting([9.0] * 6 + [1.0, 1.0]),
        ]
    )
    assert (comparison.first_step, comparison.last_step) == (6, 7)
    first, second = comparison.rewards
    assert first.by_run == (0.5, 0.25)
    assert first.mean == 0.375
    assert first.spread == (0.25, 0.5)
    assert first.difference is None
    assert second.difference == 0.625
    assert second.spread is None


def test_the_quarter_is_that_of_the_shortest_run():
    comparison = compare_rewards([make_setting([0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]), make_setting([0.0] * 4)])
    assert (comparison.first_step, comparison.last_step) == (3, 3)
    assert [reward.mean for reward in comparison.rewards] == [0.75, 0.0]


@pytest.mark.parametrize(("steps", "first"), [(1, 0), (3, 2), (4, 3), (5, 3), (100, 75)])
def test_the_quarter_has_a_step_at_least(steps, first):
    comparison = compare_rewards([make_setting([1.0] * steps)])
    assert (comparison.first_step, comparison.last_step) == (first, steps - 1)


def test_runs_without_rewards_are_left_out():
    comparison = compare_rewards([make_setting([], [None, None]), make_setting([0.5, 0.5], [])])
    assert comparison.rewards[0] is None
    assert comparison.rewards[1].by_run == (0.5,)
    assert comparison.rewards[1].difference is None
    assert compare_rewards([make_setting([])]) is None
    assert compare_rewards([]) is None


def test_rewards_that_are_not_finite_are_left_out():
    comparison = compare_rewards([make_setting([0.0] * 6 + [0.5, math.nan]), make_setting([0.0] * 6 + [1.0, 1.0])])
    assert (comparison.first_step, comparison.last_step) == (5, 6)
    assert [reward.mean for reward in comparison.rewards] == [0.25, 0.5]
