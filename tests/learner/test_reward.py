"""Reward functions, and loading them by name."""

import sys
from dataclasses import replace

import pytest

from evaluator.verdict import Status
from learner.reward import InvalidReward, UnknownReward, fraction, load_reward, needs_all_tests, passed, reward_rollout
from learner.rollout import Judgement
from tests.factories import make_completion, make_problem, make_verdict


def judge(status=Status.WRONG_ANSWER, **verdict_changes):
    """Return a judgement whose verdict has ``status`` and the given fields."""
    verdict = replace(make_verdict(status), **verdict_changes)
    return Judgement(verdict=verdict, code="pass", incomplete=False, seconds=0.1)


def reward_of(judgement, reward):
    return reward_rollout(make_problem(), make_completion(), judgement, reward).reward


@pytest.mark.parametrize("status", list(Status))
def test_passed_is_one_if_all_tests_passed(status):
    expected = {Status.PASSED: 1.0, Status.SANDBOX_ERROR: None}.get(status, 0.0)
    assert reward_of(judge(status), passed) == expected


@pytest.mark.parametrize(
    ("judgement", "expected"),
    [
        (judge(Status.PASSED), 1.0),
        (judge(tests_passed=1, tests_total=4), 0.25),
        (judge(Status.COMPILE_ERROR, tests_passed=0), 0.0),
        (judge(Status.NO_CODE, tests_passed=0, tests_total=0), 0.0),
        (judge(Status.SANDBOX_ERROR, tests_passed=2), None),
    ],
)
def test_fraction_is_the_share_of_tests_passed(judgement, expected):
    assert reward_of(judgement, fraction) == expected


def test_only_the_reward_passed_stops_at_the_first_failed_test():
    assert [needs_all_tests(name) for name in ("passed", "fraction", "module:function")] == [False, True, True]


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), float("inf"), "high", None])
def test_a_value_outside_0_to_1_is_an_error_that_names_the_completion(value):
    with pytest.raises(InvalidReward, match=r"completion q#0"):
        reward_of(judge(), lambda problem, verdict, completion: value)


def test_an_exception_in_a_reward_is_an_error_that_names_the_completion():
    def broken(problem, verdict, completion):
        raise KeyError("length")

    with pytest.raises(InvalidReward, match=r"failed on completion q#0: KeyError: 'length'"):
        reward_of(judge(), broken)


def test_rewards_are_loaded_by_name():
    assert load_reward("passed") is passed
    assert load_reward("fraction") is fraction


def test_a_reward_is_loaded_from_a_module(tmp_path, monkeypatch):
    (tmp_path / "reward_of_a_test.py").write_text(
        "LIMIT = 3\n\ndef brevity(problem, verdict, completion):\n    return 0.5\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "reward_of_a_test", raising=False)
    assert reward_of(judge(), load_reward("reward_of_a_test:brevity")) == 0.5
    with pytest.raises(UnknownReward, match=r"algorithm.reward=reward_of_a_test:brevty: .* has no function brevty"):
        load_reward("reward_of_a_test:brevty")
    with pytest.raises(UnknownReward, match="LIMIT is a int, not a function"):
        load_reward("reward_of_a_test:LIMIT")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("accuracy", "not a reward; use passed, fraction or MODULE:FUNCTION"),
        ("no_such_module:reward", "cannot import no_such_module: ModuleNotFoundError"),
    ],
)
def test_an_unknown_reward_is_refused_by_key(name, message):
    with pytest.raises(UnknownReward, match=f"algorithm.reward={name}: {message}"):
        load_reward(name)
