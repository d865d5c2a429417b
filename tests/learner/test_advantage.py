"""Group-relative advantages: values by hand, properties of the formulas, and degenerate groups."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.advantage import group_advantages


def test_standardised_advantages_match_hand_computed_values():
    # mean 1/2, unbiased std sqrt(4 * 1/4 / 3) = 0.57735
    assert group_advantages([1.0, 0.0, 0.0, 1.0]) == pytest.approx([0.866024, -0.866024, -0.866024, 0.866024], abs=1e-5)
    # mean 1/8, unbiased std sqrt((49 + 7) / 64 / 7) = 0.353553
    assert group_advantages([1.0] + [0.0] * 7) == pytest.approx([2.474867] + [-0.353552] * 7, abs=1e-5)


@pytest.mark.parametrize("rewards", [[0.0] * 8, [1.0] * 8, [0.1] * 3, [1.0, None, 1.0]])
def test_equal_rewards_give_advantage_zero(rewards):
    assert group_advantages(rewards) == [None if reward is None else 0.0 for reward in rewards]


@pytest.mark.parametrize("rewards", [[], [None, None], [1.0], [None, 1.0, None], [0.0, None]])
def test_fewer_than_two_counted_rewards_give_advantage_zero(rewards):
    assert group_advantages(rewards) == [None if reward is None else 0.0 for reward in rewards]


REWARDS = st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=16).filter(lambda rewards: len(set(rewards)) == 2)


@given(REWARDS)
def test_standardised_advantages_match_equation_2(rewards):
    mean = statistics.mean(rewards)
    std = statistics.stdev(rewards)
    assert group_advantages(rewards) == pytest.approx([(reward - mean) / (std + 1e-6) for reward in rewards])


@given(REWARDS, st.data())
def test_excluded_completions_do_not_change_mean_or_std(rewards, data):
    mixed = list(rewards)
    for _ in range(data.draw(st.integers(1, 4))):
        mixed.insert(data.draw(st.integers(0, len(mixed))), None)
    advantages = group_advantages(mixed)
    assert [advantage is None for advantage in advantages] == [reward is None for reward in mixed]
    assert [advantage for advantage in advantages if advantage is not None] == group_advantages(rewards)


@given(REWARDS)
def test_centred_advantages_subtract_the_mean(rewards):
    mean = statistics.mean(rewards)
    assert group_advantages(rewards, "centred") == pytest.approx([reward - mean for reward in rewards])


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=16))
def test_leave_one_out_advantages_subtract_the_mean_of_the_others(rewards):
    baselines = [sum(rewards[:place] + rewards[place + 1 :]) / (len(rewards) - 1) for place in range(len(rewards))]
    expected = [reward - baseline for reward, baseline in zip(rewards, baselines, strict=True)]
    assert group_advantages(rewards, "leave_one_out") == pytest.approx(expected, abs=1e-12)


def test_other_variants_match_hand_computed_values():
    assert group_advantages([1.0, 0.0, None, 0.0, 0.0], "centred") == [0.75, -0.25, None, -0.25, -0.25]
    assert group_advantages([1.0, 0.0, None, 0.0], "leave_one_out") == [1.0, -0.5, None, -0.5]


@pytest.mark.parametrize("kind", ["standardised", "centred", "leave_one_out"])
def test_degenerate_groups_give_advantage_zero_in_every_variant(kind):
    assert group_advantages([0.1] * 3, kind) == [0.0] * 3
    assert group_advantages([1.0], kind) == [0.0]
    assert group_advantages([None, 1.0], kind) == [None, 0.0]
    assert group_advantages([], kind) == []


@given(st.lists(st.one_of(st.none(), st.floats(-1.0, 1.0)), max_size=12), st.sampled_from(["standardised", "centred"]))
def test_advantages_sum_to_zero(rewards, kind):
    advantages = [advantage for advantage in group_advantages(rewards, kind) if advantage is not None]
    assert abs(sum(advantages)) < 1e-6 * max([1.0, *map(abs, advantages)])
