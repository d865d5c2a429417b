"""Reward functions in the form that each trainer calls.

TRL and verl were read in the versions that docs/rewards.md names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from evaluator.problem import ProblemError
from evaluator.rewards.problem_cache import REWARD_COLUMNS, ProblemSource
from evaluator.rewards.shared import get_evaluator
from evaluator.verdict import Status, Verdict

RewardName = Literal["passed", "fraction"]
Message = Mapping[str, Any]
Completion = str | Sequence[Message]
"""A completion as TRL passes it: its text, or its chat messages."""

SCORE_WITHOUT_VERDICT = 0.0
"""``score`` of an answer that could not be judged: verl has no value for "no reward"."""


def passed(prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[float | None]:
    """Reward completions for TRL: 1 if all tests passed, else 0; None (no reward) if it could not be judged.

    Args:
        prompts: not used.
        completions: texts, or lists of chat messages.
        columns: the dataset's columns, among them those of a problem row; one value per completion. Everything else
            that TRL passes is ignored.
    """
    return _reward_completions(completions, columns, "passed")


def fraction(prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[float | None]:
    """Reward completions for TRL by the share of tests that passed. Every test is run. Arguments as for ``passed``.

    Biased towards programs that pass the easy tests: many tests of a problem accept a constant or a wrong algorithm.
    """
    return _reward_completions(completions, columns, "fraction")


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: ProblemSource,
    extra_info: Mapping[str, Any] | None = None,
    *,
    reward: RewardName = "passed",
    **_: Any,
) -> dict[str, float]:
    """Score one answer for verl. May be called from several threads.

    Args:
        data_source: not used.
        solution_str: the decoded answer.
        ground_truth: JSON text of the problem row.
        extra_info: not used.
        reward: "passed" or "fraction", settable by verl's ``reward_kwargs``.

    Returns:
        ``score``: the reward; ``SCORE_WITHOUT_VERDICT`` if the answer could not be judged. ``acc``: 1 if all tests
        passed, else 0. ``sandbox_error``: 1 if the answer could not be judged, else 0.
    """
    (verdict,) = get_evaluator().judge([(ground_truth, solution_str)], all_tests=needs_all_tests(reward))
    value = compute_value(verdict, reward)
    return {
        "score": SCORE_WITHOUT_VERDICT if value is None else value,
        "acc": float(verdict.passed),
        "sandbox_error": float(value is None),
    }


async def compute_reward(problem: ProblemSource, answer: str, *, reward: RewardName = "passed") -> float | None:
    """Return the reward of one answer, None if it could not be judged. Many calls may wait at the same time.

    Args:
        problem: the problem, its row, or the JSON text of its row.
        answer: text of the model.
        reward: "passed" or "fraction".
    """
    all_tests = needs_all_tests(reward)
    # In threads: the first call starts a sandbox, and unpacking a large problem takes long.
    evaluator = await asyncio.to_thread(get_evaluator)
    pending = await asyncio.to_thread(evaluator.submit, problem, answer, all_tests=all_tests)
    return compute_value(await evaluator.wait_async(pending), reward)


def needs_all_tests(reward: RewardName) -> bool:
    """Return True if tests are also run after one has failed. Raises ValueError for an unknown reward."""
    if reward not in _VALUES:
        raise ValueError(f"reward: expected one of {', '.join(_VALUES)}, got {reward!r}")
    return reward != "passed"


def compute_value(verdict: Verdict, reward: RewardName) -> float | None:
    """Return the reward that a verdict gives: None after a ``sandbox_error``, which is no fault of the program."""
    return None if verdict.status is Status.SANDBOX_ERROR else _VALUES[reward](verdict)


def get_text(completion: Completion) -> str:
    """Return the text of a completion: of its last message by the assistant if it consists of messages.

    That message is the answer; earlier ones call tools. Content may be a list of parts, of which those of type text
    count.
    """
    if isinstance(completion, str):
        return completion
    contents = [message.get("content") for message in completion if message.get("role", "assistant") == "assistant"]
    content = contents[-1] if contents else None
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _compute_fraction(verdict: Verdict) -> float:
    return verdict.tests_passed / verdict.tests_total


_VALUES: Mapping[RewardName, Callable[[Verdict], float]] = {
    "passed": lambda verdict: float(verdict.passed),
    "fraction": _compute_fraction,
}


def _reward_completions(
    completions: Sequence[Completion], columns: Mapping[str, Any], reward: RewardName
) -> list[float | None]:
    rows = _build_rows(columns, len(completions))
    if not rows:
        return []  # without starting an evaluator
    answers = zip(rows, map(get_text, completions), strict=True)
    verdicts = get_evaluator().judge(answers, all_tests=needs_all_tests(reward))
    return [compute_value(verdict, reward) for verdict in verdicts]


def _build_rows(columns: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the problem row of each completion. Raises ProblemError if the dataset has no problem columns."""
    names = [name for name in REWARD_COLUMNS if name in columns]
    if "question_id" not in names or not {"public_test_cases", "private_test_cases"} & {*names}:
        raise ProblemError(
            "the dataset has no problem columns: it needs question_id, metadata and public_test_cases or "
            f"private_test_cases, and has {', '.join(sorted(columns)) or 'none'} (docs/rewards.md)"
        )
    for name in names:
        if len(columns[name]) != count:
            raise ProblemError(f"{name}: {len(columns[name])} values for {count} completions")
    return [{name: columns[name][index] for name in names} for index in range(count)]
