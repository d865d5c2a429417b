"""Sampler-learner mismatch: importance weights and statistics."""

import math

import pytest
import torch

from learner.mismatch import mismatch_statistics, mismatch_weights


def test_weights_match_hand_computed_values():
    old = torch.log(torch.tensor([0.3, 0.3, 0.1]))
    sampler = torch.log(torch.tensor([0.1, 0.2, 0.2]))
    assert mismatch_weights(old, sampler, 2.0).tolist() == pytest.approx([2.0, 1.5, 0.5])
    assert mismatch_weights(old, sampler, 1.0).tolist() == pytest.approx([1.0, 1.0, 0.5])
    assert mismatch_weights(old, sampler, 0.0).tolist() == [1.0, 1.0, 1.0]


def test_weights_are_capped_for_extreme_ratios():
    assert mismatch_weights(torch.tensor([0.0]), torch.tensor([-500.0]), 2.0).tolist() == [2.0]


def test_statistics_match_hand_computed_values():
    old = [torch.log(torch.tensor([0.3, 0.1])), torch.log(torch.tensor([0.4]))]
    sampler = [torch.log(torch.tensor([0.1, 0.2])), torch.log(torch.tensor([0.4]))]
    statistics = mismatch_statistics(old, sampler)
    assert statistics.kl == pytest.approx((math.log(1 / 3) + math.log(2)) / 3, rel=1e-5)
    assert statistics.ratio_max == pytest.approx(3.0, rel=1e-5)
    assert statistics.non_finite == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_sampler_log_probs_are_excluded_and_counted(bad):
    old = [torch.tensor([-1.0, -2.0]), torch.tensor([-3.0])]
    statistics = mismatch_statistics(old, [torch.tensor([-1.5, bad]), torch.tensor([-2.5])])
    finite = mismatch_statistics([torch.tensor([-1.0, -3.0])], [torch.tensor([-1.5, -2.5])])
    assert (statistics.kl, statistics.ratio_max, statistics.non_finite) == (finite.kl, finite.ratio_max, 1)
    empty = mismatch_statistics([torch.tensor([-1.0])], [torch.tensor([bad])])
    assert (empty.kl, empty.ratio_max, empty.non_finite) == (0.0, 1.0, 1)


def test_statistics_without_tokens_are_neutral():
    statistics = mismatch_statistics([], [])
    assert (statistics.kl, statistics.ratio_max, statistics.non_finite) == (0.0, 1.0, 0)
