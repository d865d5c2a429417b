"""Rewards: from a judged completion to a number in [0, 1].

    passed           1 if all tests passed, else 0 (arXiv 2603.07777 section 3; the default)
    fraction         tests passed / tests of the problem; every test is run
    MODULE:FUNCTION  a function of your own, for example ``my_rewards:brevity``; every test is run

A reward is a pure function of (problem, verdict, completion). It is not called for a completion that the evaluator
could not judge (``sandbox_error``): that one has no reward and is excluded from its group. "Correct" in the truncation
mask stays "all tests passed" whatever the reward is.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping

from evaluator.errors import RunFailed, UserError
from evaluator.problem import Problem
from evaluator.verdict import Status, Verdict
from learner.rollout import Completion, Judgement, Rollout

Reward = Callable[[Problem, Verdict, Completion], float]


class UnknownReward(UserError, ValueError):
    """``algorithm.reward`` names no reward function."""


class InvalidReward(RunFailed, RuntimeError):
    """A reward function raised an exception or returned something other than a number in [0, 1]."""


def passed(problem: Problem, verdict: Verdict, completion: Completion) -> float:
    """1 if all tests passed, else 0."""
    return float(verdict.passed)


def fraction(problem: Problem, verdict: Verdict, completion: Completion) -> float:
    """Share of the problem's tests that passed.

    Biased towards programs that pass the easy tests: many tests of a problem accept a constant or a wrong algorithm.
    """
    return verdict.tests_passed / verdict.tests_total if verdict.tests_total else 0.0


REWARDS: Mapping[str, Reward] = {"passed": passed, "fraction": fraction}


def needs_all_tests(name: str) -> bool:
    """Return True if tests are also run after one has failed; only ``passed`` does not need them."""
    return name != "passed"


def load_reward(name: str) -> Reward:
    """Return the reward function that ``algorithm.reward`` names. Raises UnknownReward."""
    if name in REWARDS:
        return REWARDS[name]
    module_name, colon, function_name = name.partition(":")
    key = f"algorithm.reward={name}"
    if not (module_name and colon and function_name):
        raise UnknownReward(f"{key}: not a reward; use {', '.join(REWARDS)} or MODULE:FUNCTION")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UnknownReward(f"{key}: cannot import {module_name}: {type(error).__name__}: {error}") from error
    try:
        function: Reward = vars(module)[function_name]
    except KeyError:
        raise UnknownReward(f"{key}: {module_name} has no function {function_name}") from None
    if not callable(function):
        raise UnknownReward(f"{key}: {function_name} is a {type(function).__name__}, not a function")
    return function


def reward_rollout(problem: Problem, completion: Completion, judgement: Judgement, reward: Reward) -> Rollout:
    """Return the completion with its judgement and reward; without a reward after a sandbox error.

    Raises InvalidReward.
    """
    verdict = judgement.verdict
    if verdict.status is Status.SANDBOX_ERROR:
        return Rollout(completion, judgement, None)
    try:
        value = float(reward(problem, verdict, completion))
    except Exception as error:
        raise InvalidReward(
            f"the reward function failed on completion {completion.name}: {type(error).__name__}: {error}; "
            "mend the function that algorithm.reward names"
        ) from error
    if not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise InvalidReward(
            f"the reward function returned {value} for completion {completion.name}: a reward lies in [0, 1]; "
            "mend the function that algorithm.reward names"
        )
    return Rollout(completion, judgement, value)
