"""Gains on the problems of the evaluation, and the verdict made from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.pass_at_k import Estimate
from launch.records.gains import (
    ALL,
    BestUntrained,
    Gain,
    JudgedAnswer,
    compare_with_best_untrained,
    estimate_mean_over_seeds,
    judge_learning,
    list_parts,
    measure_gain,
    measure_learning,
    split_gain,
)

UP = Estimate(0.1, 0.05, 0.15)
DOWN = Estimate(-0.1, -0.15, -0.05)
SAME = Estimate(0.0, -0.05, 0.05)
LEVEL = Estimate(0.5, 0.4, 0.6)


def make_answers(question_id, *passed, platform="trained", cluster=None, terse=True):
    return [
        JudgedAnswer(
            question_id=question_id,
            platform=platform,
            cluster=cluster or question_id,
            passed=bool(each),
            terse=terse,
        )
        for each in passed
    ]


def make_gain(temperature, pass_at_1, pass_at_k=SAME):
    return Gain(
        part=ALL,
        temperature=temperature,
        problems=9,
        clusters=9,
        k=8,
        pass_at_1=(LEVEL, LEVEL, pass_at_1),
        pass_at_k=(LEVEL, LEVEL, pass_at_k),
        from_style=0.0,
        from_accuracy=0.0,
    )


def judge(*gains, best=UP):
    return judge_learning(gains, BestUntrained(temperature=0.6, difference=best))


def test_a_gain_at_all_temperatures_without_a_loss_is_learning():
    assert judge(make_gain(1.0, UP), make_gain(0.3, UP)).startswith("learned: pass@1 rose at T 1 and 0.3, pass@8 did")
    assert judge(make_gain(1.0, UP), make_gain(0.3, UP, UP)).startswith("learned")


@pytest.mark.parametrize(
    ("gains", "best", "reason"),
    [
        pytest.param((make_gain(1.0, UP), make_gain(0.3, SAME)), UP, "pass@1 at T 0.3 did not rise", id="only hot"),
        pytest.param((make_gain(1.0, UP), make_gain(0.3, DOWN)), UP, "pass@1 at T 0.3 did not rise", id="colder falls"),
        pytest.param((make_gain(1.0, UP), make_gain(0.3, UP, DOWN)), UP, "pass@8 at T 0.3 fell", id="pass@8 falls"),
        pytest.param((make_gain(1.0, UP, DOWN), make_gain(0.3, UP)), UP, "pass@8 at T 1 fell", id="hot pass@8 falls"),
        pytest.param((make_gain(1.0, UP), make_gain(0.3, UP)), SAME, "the untrained policy at T 0.6", id="no better"),
    ],
)
def test_a_gain_with_a_doubt_is_sharper(gains, best, reason):
    verdict = judge(*gains, best=best)
    assert verdict.startswith("sharper, not better: pass@1 at T 1 rose, but ")
    assert reason in verdict


def test_no_change_and_worse():
    assert judge(make_gain(1.0, SAME), make_gain(0.3, SAME)).startswith("no change")
    assert judge(make_gain(1.0, SAME), make_gain(0.3, UP)).startswith("no change")
    assert judge(make_gain(1.0, DOWN), make_gain(0.3, DOWN)) == "worse: pass@1 fell at T 1 and at T 0.3"
    assert judge(make_gain(1.0, SAME), make_gain(0.3, DOWN)) == "worse: pass@1 fell at T 0.3"


def test_one_temperature_does_not_decide():
    assert judge(make_gain(1.0, UP)).startswith("not decided")


def test_gain_of_a_part_is_over_its_common_problems():
    before = [
        *make_answers("a", 0, 0, cluster="f"),
        *make_answers("b", 0, 1, cluster="f"),
        *make_answers("c", 1, 1, platform="unknown"),
        *make_answers("gone", 1, 1),
    ]
    after = [
        *make_answers("a", 1, 0, cluster="f"),
        *make_answers("b", 1, 1, cluster="f"),
        *make_answers("c", 0, 0, platform="unknown"),
    ]
    gain = measure_gain(before, after, "trained", 1.0)
    assert gain is not None
    assert (gain.problems, gain.clusters, gain.k) == (2, 1, 2)
    assert [value.mean for value in gain.pass_at_1] == [0.25, 0.75, 0.5]
    assert [value.mean for value in gain.pass_at_k] == [0.5, 1.0, 0.5]
    assert measure_gain(before, after, "untrained", 1.0) is None


def test_parts_are_those_of_the_built_in_problems_or_all():
    answers = [*make_answers("a", 1, platform="unknown"), *make_answers("b", 1)]
    assert list_parts(answers) == ["trained", "unknown"]
    assert list_parts([*make_answers("a", 1, platform="atcoder"), *make_answers("b", 1, platform="leetcode")]) == [ALL]


def test_best_untrained_temperature_is_the_one_with_the_highest_score():
    before = {1.0: make_answers("a", 0, 0, 0, 1), 0.3: make_answers("a", 0, 1, 1, 1)}
    best = compare_with_best_untrained(before, make_answers("a", 1, 1, 1, 1), ALL)
    assert best is not None
    assert (best.temperature, best.difference.mean) == (0.3, 0.25)


def test_gain_splits_into_style_and_accuracy():
    terse = make_answers("a", 0, 0, 0, 1)
    worked = make_answers("a", 1, 1, 1, 0, terse=False)
    assert split_gain([*terse, *worked], worked) == (0.25, 0.0)  # only the style changed
    assert split_gain(terse, make_answers("a", 1, 1, 0, 0)) == (0.0, 0.25)  # only the accuracy did


style = st.lists(st.booleans(), min_size=1, max_size=9)


@given(terse=style, worked=style, terse_after=style, worked_after=style)
def test_parts_of_the_gain_add_up(terse, worked, terse_after, worked_after):
    before = [*make_answers("a", *terse), *make_answers("a", *worked, terse=False)]
    after = [*make_answers("a", *terse_after), *make_answers("a", *worked_after, terse=False)]
    gain = sum(x.passed for x in after) / len(after) - sum(x.passed for x in before) / len(before)
    assert sum(split_gain(before, after)) == pytest.approx(gain)


def test_the_interval_over_seeds_contains_other_seeds_and_other_clusters():
    clusters = ["a", "a", "b", "b"]
    same = np.full((3, 4), 0.25)
    assert estimate_mean_over_seeds(same, clusters) == Estimate(0.25, 0.25, 0.25)
    seeds_differ = np.array([[0.0] * 4, [0.5] * 4])
    assert estimate_mean_over_seeds(seeds_differ, clusters) == Estimate(0.25, 0.0, 0.5)
    clusters_differ = np.array([[0.0, 0.0, 1.0, 1.0]] * 2)
    assert estimate_mean_over_seeds(clusters_differ, clusters) == Estimate(0.5, 0.0, 1.0)


def test_learning_is_measured_at_the_temperature_of_the_evaluation():
    before = {1.0: make_answers("a", 0, 0), 0.3: make_answers("a", 0, 1)}
    after = {1.0: make_answers("a", 1, 1), 0.3: make_answers("a", 1, 1)}
    learning = measure_learning(before, after)
    assert [(gain.part, gain.temperature) for gain in learning.gains] == [("trained", 1.0), ("trained", 0.3)]
    assert learning.best.temperature == 0.3 and learning.verdict == judge_learning(learning.gains, learning.best)
    assert measure_learning(before, {0.3: after[0.3]}) is None
    assert measure_learning({}, after) is None
    assert measure_learning(before, {**after, 1.0: make_answers("b", 1, 1)}) is None  # no common problem at 1.0
