"""Builders of rollouts, metrics, problems and configurations: every argument has a harmless default."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from actors.weights.transfer import Publication
from conf.schema import Config
from conf.validation import parse_config
from evaluator.problem import Problem, ProblemTest
from evaluator.verdict import Status, Verdict
from launch.composition import compose_config, compose_values
from launch.training.metrics import StepTimes, rollout_metrics, timing_metrics, update_metrics
from launch.training.run import credit_settings
from learner.credit import CreditedGroup, CreditSettings, assign_credit
from learner.diversity import distinct_ngrams, mean_distinct_ngrams
from learner.learner import UpdateMetrics
from learner.rollout import Completion, FinishReason, Group, Judgement, Rollout

CONF = Path(__file__).parent.parent / "conf"


def verdict(status: Status = Status.PASSED, tests: int = 3) -> Verdict:
    """Of a program that passed every test, or failed at the second."""
    if status is Status.PASSED:
        return Verdict(
            status=status,
            tests_passed=tests,
            tests_run=tests,
            tests_total=tests,
            first_failed=None,
            accepted_by="exact",
            seconds=0.25,
            detail="",
        )
    return Verdict(
        status=status,
        tests_passed=1,
        tests_run=2,
        tests_total=tests,
        first_failed=1,
        accepted_by=None,
        seconds=0.25,
        detail="detail",
    )


def completion(tokens: Sequence[int] = (11, 12, 13, 2), **changes: Any) -> Completion:
    """Answers prompt (5, 6) with ``tokens``."""
    values: dict[str, Any] = {
        "question_id": "q",
        "sample_index": 0,
        "prompt_token_ids": np.array([5, 6], dtype=np.int32),
        "response_token_ids": np.array(tokens, dtype=np.int32),
        "sampler_logprobs": np.full(len(tokens), -0.5, dtype=np.float32),
        "finish_reason": "stop",
        "temperature": 1.0,
        "policy_versions": np.zeros(len(tokens), dtype=np.int32),
        "text": "an answer",
        "generation_seconds": 1.5,
    }
    return Completion(**(values | changes))


def rollout(
    status: Status = Status.PASSED,
    *,
    incomplete: bool = False,
    code: str | None = "print(1)",
    seconds: float = 0.5,
    **of_completion: Any,
) -> Rollout:
    """A judged completion; ``of_completion`` as for ``completion``."""
    return Rollout(
        completion(**of_completion),
        Judgement(verdict=verdict(status), code=code, incomplete=incomplete, seconds=seconds),
    )


def truncated(status: Status = Status.WRONG_ANSWER, **changes: Any) -> Rollout:
    """A rollout cut off by the length limit."""
    finish: FinishReason = "length"
    return rollout(status, finish_reason=finish, **changes)


def group_of(*statuses: Status, question_id: str = "q") -> Group:
    """One rollout per status, in sample order."""
    rollouts = (
        rollout(status, question_id=question_id, sample_index=index, tokens=(11 + index, 12, 13, 2))
        for index, status in enumerate(statuses)
    )
    return Group(question_id, f"prompt of {question_id}", tuple(rollouts))


def update_result(**changes: Any) -> UpdateMetrics:
    """What a learner may report of one step."""
    values: dict[str, Any] = {
        "pg_loss": -0.125,
        "kl_loss": 0.0,
        "clipfrac_higher": 0.0625,
        "clipfrac_lower": 0.03125,
        "clipfrac_dual": 0.0,
        "ppo_kl": 0.001,
        "entropy": 0.75,
        "grad_norm": 1.25,
        "skipped_updates": 0,
        "learning_rate": 1e-6,
        "mismatch_kl": 0.002,
        "mismatch_ratio_max": 1.1,
        "mismatch_non_finite": 0,
        "updates": 2,
        "old_logprob_seconds": 2.0,
        "update_seconds": 3.0,
    }
    return UpdateMetrics(**(values | changes))


def crediting(seed: int = 0, max_response_tokens: int = 20, **of_algorithm: Any) -> CreditSettings:
    """How credit is given: the quickstart's algorithm, with m = 4 and changes."""
    algorithm = replace(config().algorithm, **({"repeat_window": 4} | of_algorithm))
    return credit_settings(algorithm, max_response_tokens, seed)


def credited_group(*statuses: Status, question_id: str = "q", step: int = 0, rho: float = 0.2) -> CreditedGroup:
    """``group_of`` with its credit."""
    return assign_credit(group_of(*statuses, question_id=question_id), crediting(mask_probability=rho), step)


def step_times() -> StepTimes:
    """20 s: 10 + 1 of sampling, 5.5 of update, 0.25 of draining, 0.75 of publication, 0.5 of bookkeeping, 2 unnamed."""
    publication = Publication(version=1, bytes=8_000_000, write_seconds=0.5, load_seconds=0.25, dropped={})
    return StepTimes(
        generation=10.0,
        reward=1.0,
        span=12.0,
        learner=5.5,
        old_logprobs=2.0,
        drain=0.25,
        publication=publication,
        bookkeeping=0.5,
        step=20.0,
    )


def diversity(groups: Sequence[CreditedGroup]) -> float | None:
    """D of ``groups`` whose answers end with token 2."""
    return mean_distinct_ngrams(distinct_ngrams(group.group.responses, {2}) for group in groups)


def metrics_row(step: int, groups: Sequence[CreditedGroup]) -> dict[str, float]:
    """A row of metrics.jsonl made of the functions that make the real one."""
    update = update_result()
    return {
        "step": step,
        **rollout_metrics(groups, step, diversity(groups)),
        **update_metrics(update),
        **timing_metrics(step_times(), update, tokens=1000),
    }


def problem(question_id: str = "q", **changes: Any) -> Problem:
    """A standard-input problem with one public test."""
    values: dict[str, Any] = {
        "question_id": question_id,
        "question_title": "Sum",
        "question_content": "Add two numbers.\n",
        "platform": "other",
        "difficulty": None,
        "contest_date": None,
        "starter_code": "",
        "public_tests": (ProblemTest("1 2\n", "3\n"),),
        "private_tests": (),
    }
    return Problem(**(values | changes))


@functools.cache
def composed(*overrides: str) -> Any:
    """The values that ``launch.driver`` composes with ``overrides``. Shared: do not change them."""
    return compose_values("config", *overrides)


def config(*overrides: str, experiment: str = "quickstart") -> Config:
    """A validated configuration."""
    return parse_config(composed(f"+experiment={experiment}", *overrides))


def evaluation_config(*overrides: str) -> Config:
    """The configuration of ``launch.evaluate`` with ``overrides``."""
    return compose_config(*overrides, command="evaluate", training=False)
