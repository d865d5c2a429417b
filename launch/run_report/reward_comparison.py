"""Comparison of training rewards, for runs without evaluations. It says less: training samples other problems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from launch.run_report.metric_bands import find_spread
from launch.run_report.run_files import RunFiles
from launch.run_report.run_settings import Setting

REWARD = "critic/rewards/mean"
PARTS_OF_STEPS = 4
"""The reward is averaged over the last of this many equal parts of the steps."""


@dataclass(frozen=True)
class Reward:
    """Mean training reward of a setting.

    Attributes:
        mean: mean over its runs.
        by_run: mean of each run.
        difference: difference from the first setting; None for the first setting, or if that has no reward.
    """

    mean: float
    by_run: tuple[float, ...]
    difference: float | None

    @property
    def spread(self) -> tuple[float, float] | None:
        """Lowest and highest mean of a run; None with one run."""
        return find_spread(self.by_run)


@dataclass(frozen=True)
class RewardComparison:
    """Training rewards in the last quarter of the steps that all runs have.

    Settings with other temperatures, problems or reward functions have other rewards without being better or worse.

    Attributes:
        first_step: first step of the quarter.
        last_step: last step of the quarter.
        rewards: rewards by setting; None without training steps.
    """

    first_step: int
    last_step: int
    rewards: tuple[Reward | None, ...]


def compare_rewards(settings: Sequence[Setting]) -> RewardComparison | None:
    """Compare the mean training rewards of settings with that of the first.

    Runs without a training step are left out. None if there is no other.
    """
    by_setting = [[by_step for run in setting.runs if (by_step := _list_rewards(run))] for setting in settings]
    last = min((max(by_step) for runs in by_setting for by_step in runs), default=None)
    if last is None:
        return None
    first = last + 1 - math.ceil((last + 1) / PARTS_OF_STEPS)
    means = [_average(runs, first, last) for runs in by_setting]
    reference = float(np.mean(means[0])) if means[0] else None
    rewards = [
        None if not by_run else _compare(by_run, reference if index else None) for index, by_run in enumerate(means)
    ]
    return RewardComparison(first, last, tuple(rewards))


def _compare(by_run: tuple[float, ...], reference: float | None) -> Reward:
    mean = float(np.mean(by_run))
    return Reward(mean, by_run, None if reference is None else mean - reference)


def _average(runs: Sequence[Mapping[int, float]], first: int, last: int) -> tuple[float, ...]:
    """Return the mean reward of each run that has one between two steps."""
    selected = [[reward for step, reward in rewards.items() if first <= step <= last] for rewards in runs]
    return tuple(float(np.mean(rewards)) for rewards in selected if rewards)


def _list_rewards(run: RunFiles) -> dict[int, float]:
    """Return the finite mean rewards of a run's training steps, by step."""
    return {int(row["step"]): row[REWARD] for row in run.training_rows if math.isfinite(row[REWARD])}
