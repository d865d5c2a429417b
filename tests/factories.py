"""Factories of rollouts, metrics, problems and configurations for tests. Every argument has a default."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from omegaconf import OmegaConf

from actors.weights.transfer import Publication
from conf.schema import Config
from conf.validation import parse_config
from evaluator.problem import Problem, ProblemTest
from evaluator.verdict import FailedTest, Status, Verdict
from launch.composition import compose_config, compose_tree
from launch.records.timeline import Lap, Laps
from launch.training.metrics import rollout_metrics, timing_metrics, update_metrics
from launch.training.old_logprobs import PreparedStep
from launch.training.rollouts import SampledStep
from launch.training.run import credit_settings
from launch.training.step_outcome import StepCredit, StepOutcome
from learner.credit import CreditedGroup, CreditSettings, assign_group_credit
from learner.diversity import distinct_ngram_ratio, mean_distinct_ngram_ratio
from learner.learner import UpdateMetrics, UpdateResult
from learner.reward import passed, reward_rollout
from learner.rollout import FinishReason, Group, Judgement, Rollout, TrainBatch
from learner.temperature_rules import TemperatureState
from tests.completions import make_completion

CONF_FOLDER = Path(__file__).parent.parent / "conf"
CHECKPOINT_VOCABULARY = 1280
"""Tokens that the untrained checkpoints of the integration tests have. Prompts of random tokens stay below it."""


def make_verdict(status: Status = Status.PASSED, tests: int = 3) -> Verdict:
    """Return the verdict on a program with ``tests`` tests.

    The program passed all of them or, for any status but PASSED, failed at the second one.
    """
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
        failed_test=FailedTest(input="1 2\n", expected="3\n", actual="4\n"),
    )


def make_rollout(
    status: Status = Status.PASSED,
    *,
    incomplete: bool = False,
    code: str | None = "print(1)",
    seconds: float = 0.5,
    **completion_fields: Any,
) -> Rollout:
    """Return a completion with its judgement.

    Args:
        status: status of the verdict.
        incomplete: ``Judgement.incomplete``.
        code: program extracted from the answer; None if there is none.
        seconds: evaluation time.
        completion_fields: arguments of ``make_completion``.
    """
    judgement = Judgement(verdict=make_verdict(status), code=code, incomplete=incomplete, seconds=seconds)
    return reward_rollout(make_problem(), make_completion(**completion_fields), judgement, passed)


def make_truncated_rollout(status: Status = Status.WRONG_ANSWER, **changes: Any) -> Rollout:
    """Return a rollout whose response was cut off by the length limit."""
    finish: FinishReason = "length"
    return make_rollout(status, finish_reason=finish, **changes)


def make_group(*statuses: Status, question_id: str = "q") -> Group:
    """Return a group with one rollout per status, in sample order."""
    rollouts = (
        make_rollout(status, question_id=question_id, sample_index=index, tokens=(11 + index, 12, 13, 2))
        for index, status in enumerate(statuses)
    )
    return Group(question_id, f"prompt of {question_id}", tuple(rollouts))


def make_update_metrics(**changes: Any) -> UpdateMetrics:
    """Return the metrics of one update, with plausible values; ``changes`` are fields to replace."""
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
        "updates_without_advantage": 0,
        "old_logprob_seconds": 2.0,
        "update_seconds": 3.0,
    }
    return UpdateMetrics(**(values | changes))


def make_update_result(batch: TrainBatch, **changes: Any) -> UpdateResult:
    """Return the result of an update on ``batch``: the learner's log-probs equal the sampler's.

    Args:
        batch: sequences of the update.
        changes: fields of ``UpdateMetrics`` to replace.
    """
    sequences = [sequence for mini_batch in batch.mini_batches for sequence in mini_batch]
    old_logprobs = {sequence.id: sequence.sampler_logprobs for sequence in sequences if sequence.id is not None}
    return UpdateResult(make_update_metrics(**changes), old_logprobs)


def make_credit_settings(seed: int = 0, max_response_tokens: int = 20, **algorithm_changes: Any) -> CreditSettings:
    """Return the credit settings of the quickstart, with a repeat window of 4 tokens (the paper's m).

    Args:
        seed: seed of the random truncation mask.
        max_response_tokens: response length limit.
        algorithm_changes: fields of the configuration's ``algorithm`` section to replace.
    """
    algorithm = replace(make_config().algorithm, **({"repeat_window": 4} | algorithm_changes))
    return credit_settings(algorithm, max_response_tokens, seed)


def make_credited_group(
    *statuses: Status, question_id: str = "q", step: int = 0, mask_probability: float = 0.2
) -> CreditedGroup:
    """Return ``make_group(*statuses)`` with its credit at ``step``; ``mask_probability`` is the paper's rho."""
    group = make_group(*statuses, question_id=question_id)
    return assign_group_credit(group, make_credit_settings(mask_probability=mask_probability), step)


def make_step_outcome(groups: Sequence[CreditedGroup] = (), **update_changes: Any) -> StepOutcome:
    """Return the outcome of a step of 20 s.

    Generation takes 10 s, reward 1 s, the learner 5.5 s (2 s of them for old log-probs), draining 0.25 s, publication
    0.75 s and bookkeeping 0.5 s; 2 s are unaccounted for.

    Args:
        groups: credited groups of the step.
        update_changes: fields of ``UpdateMetrics`` to replace.
    """
    timeline: Any = None
    laps = Laps(timeline, lambda name: None)
    laps.started = 0.0
    laps.ended = 20.0
    seconds = {
        "generate": 9.0,
        "old_log_prob": 1.5,
        "reward": 2.0,
        "credit": 0.25,
        "update": 4.0,
        "drain": 0.25,
        "publish": 1.0,
        "record": 0.25,
    }
    laps.by_name = {name: Lap(0.0, duration) for name, duration in seconds.items()}
    trained = tuple(group.trained for group in groups)
    diversity = [distinct_ngram_ratio(group.group.responses, {2}) for group in groups]
    return StepOutcome(
        sampled=SampledStep(
            groups=tuple(group.group for group in groups),
            trained=trained,
            temperature=1.0,
            rounds=0,
            dropped=Counter(),
            generation_seconds=1.0,
            reward_seconds=1.0,
            generation_span=12.0,
        ),
        credit=StepCredit(list(groups), diversity, TrainBatch(())),
        temperature=TemperatureState(value=1.0),
        prepared=PreparedStep(sequences={}, early_seconds=2.5, seconds=0.5),
        update=make_update_metrics(**({"old_logprob_seconds": 1.5} | update_changes)),
        learner_logprobs={},
        publication=Publication(version=1, bytes=8_000_000, write_seconds=0.5, load_seconds=0.25, dropped={}),
        laps=laps,
    )


def mean_diversity(groups: Sequence[CreditedGroup]) -> float | None:
    """Return the mean diversity D of ``groups``, whose responses end with end-of-sequence token 2."""
    return mean_distinct_ngram_ratio(distinct_ngram_ratio(group.group.responses, {2}) for group in groups)


def make_metrics_row(step: int, groups: Sequence[CreditedGroup]) -> dict[str, float]:
    """Return a row of metrics.jsonl, computed by the functions that the training loop uses."""
    outcome = make_step_outcome(groups)
    return {
        "step": step,
        **rollout_metrics(groups, step, mean_diversity(groups)),
        **update_metrics(outcome.update),
        **timing_metrics(outcome),
    }


def make_problem(question_id: str = "q", **changes: Any) -> Problem:
    """Return a standard-input problem with one public test; ``changes`` are fields of ``Problem`` to replace."""
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
def compose_cached_values(*overrides: str) -> Any:
    """Return the values that ``launch.driver`` composes with ``overrides``. They are cached: do not modify them.

    Overrides of keys in sections are applied, as Hydra does, to a cached composition of the others: composing takes
    0.2 s.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    settings = [each for each in parsed if "." in each.key_or_group and each.type is OverrideType.CHANGE]
    config = copy.deepcopy(
        _compose_cached("config", *(str(each.input_line) for each in parsed if each not in settings))
    )
    for setting in settings:
        OmegaConf.update(config, setting.key_or_group, setting.value(), merge=True)
    return OmegaConf.to_container(config, resolve=True)


_compose_cached = functools.cache(compose_tree)


def make_config(*overrides: str, experiment: str | None = None) -> Config:
    """Return the validated configuration of ``launch.driver``; by default the quickstart at a fixed temperature."""
    if experiment is not None:
        return parse_config(compose_cached_values(f"+experiment={experiment}", *overrides))
    simple = (
        "+experiment=quickstart",
        "temperature.kind=fixed",
        "temperature.grid=[0.6,0.8,1.0,1.2,1.4,1.6]",
        "evaluation.other_temperatures=[]",
    )
    return parse_config(compose_cached_values(*simple, *overrides))


def make_evaluation_config(*overrides: str) -> Config:
    """Return the validated configuration of ``launch.evaluate``."""
    return compose_config(*overrides, command="evaluate", training=False)
