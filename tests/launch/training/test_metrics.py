"""Metrics of a training step, compared with values computed by hand."""

import dataclasses
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from actors.evaluators.load import EvaluatorLoad
from evaluator.verdict import Status
from launch.training.metrics import (
    actor_metrics,
    dynamic_sampling_metrics,
    rollout_metrics,
    timing_metrics,
    update_metrics,
)
from launch.training.rollouts import SampledStep
from launch.training.work_buffer import DropReason
from learner.credit import assign_group_credit
from learner.rollout import Group
from tests.factories import (
    make_credit_settings,
    make_credited_group,
    make_group,
    make_rollout,
    make_step_outcome,
    make_truncated_rollout,
    make_update_metrics,
    mean_diversity,
)

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR


def compute_metrics(*groups, version=0, rho=1.0, **algorithm_changes):
    """Return the rollout metrics of groups of rollouts, with a repeat window of 2."""
    settings = make_credit_settings(mask_probability=rho, repeat_window=2, **algorithm_changes)
    credited = [assign_group_credit(Group("q", "", tuple(rollouts)), settings, 0) for rollouts in groups]
    return rollout_metrics(credited, version, mean_diversity(credited))


def test_rewards_are_means_over_completions_and_groups():
    groups = [
        make_credited_group(PASSED, WRONG, WRONG, WRONG),
        make_credited_group(*[PASSED] * 4),
        make_credited_group(*[WRONG] * 4),
    ]
    metrics = rollout_metrics([*groups, groups[0]], 0, mean_diversity(groups))
    assert metrics["critic/rewards/mean"] == (1 + 4 + 0 + 1) / 16
    assert (metrics["group/all_solved"], metrics["group/none_solved"]) == (1 / 4, 1 / 4)


def test_excluded_completions_do_not_count_as_failures():
    metrics = compute_metrics(
        [make_rollout(), make_rollout(), make_rollout(OURS)],
        [make_rollout(WRONG), make_rollout(OURS), make_rollout(OURS)],
        [make_rollout(OURS)],
    )
    assert metrics["critic/rewards/mean"] == 2 / 3
    assert (metrics["group/all_solved"], metrics["group/none_solved"]) == (1 / 2, 1 / 2)
    assert metrics["evaluator/status/sandbox_error"] == 4 / 7


def test_metrics_are_finite_if_all_completions_are_excluded():
    metrics = compute_metrics([make_rollout(OURS), make_rollout(OURS)])
    assert all(np.isfinite(value) for value in metrics.values())
    assert (metrics["critic/rewards/mean"], metrics["group/all_solved"], metrics["group/none_solved"]) == (
        0.0,
        0.0,
        0.0,
    )


def test_response_lengths():
    metrics = compute_metrics([make_rollout(tokens=(7,) * length) for length in (1, 2, 9)])
    assert (metrics["response_length/mean"], metrics["response_length/max"]) == (4.0, 9.0)


def test_diversity_is_the_mean_over_problems():
    same = (5, 6, 7, 8, 2)
    two = (9, 10, 11, 12, 2)
    metrics = compute_metrics(
        [make_rollout(tokens=same), make_rollout(tokens=same)], [make_rollout(tokens=same), make_rollout(tokens=two)]
    )
    assert metrics["diversity/distinct_4"] == (1 / 2 + 1) / 2
    # A group too short for any 4-gram has no diversity, not one of zero.
    assert compute_metrics([make_rollout(tokens=same)], [make_rollout(tokens=(5, 2))])["diversity/distinct_4"] == 1.0


def test_truncation_rates():
    fresh = (5, 6, 7, 8)
    repeating = (5, 6, 5, 6)
    metrics = compute_metrics(
        [
            make_truncated_rollout(WRONG, incomplete=True, tokens=fresh),
            make_truncated_rollout(WRONG, incomplete=True, tokens=repeating),
            make_truncated_rollout(WRONG, tokens=fresh),
            make_rollout(WRONG, tokens=repeating),
            make_rollout(),
        ]
    )
    assert metrics["truncation/rate"] == metrics["response_length/clip_ratio"] == 3 / 5
    assert metrics["truncation/repeat"] == 1 / 5  # a repeating answer that ended by itself is not truncated
    assert metrics["truncation/eligible"] == metrics["truncation/masked"] == 1 / 5
    unmasked = compute_metrics([make_truncated_rollout(WRONG, incomplete=True, tokens=fresh), make_rollout()], rho=0.0)
    assert (unmasked["truncation/eligible"], unmasked["truncation/masked"]) == (1 / 2, 0.0)


@pytest.mark.parametrize(("mask", "rate"), [("none", 0.0), ("failing", 1 / 4), ("all", 2 / 4), ("conditional", 1 / 4)])
def test_masked_rate_follows_the_configured_mask(mask, rate):
    rollouts = [
        make_truncated_rollout(PASSED, tokens=(5, 6, 7, 8)),
        make_truncated_rollout(WRONG, tokens=(5, 6, 7, 8)),
        make_rollout(),
        make_rollout(),
    ]
    metrics = compute_metrics(rollouts, truncation_mask=mask)
    assert metrics["truncation/masked"] == rate
    assert (metrics["truncation/rate"], metrics["truncation/eligible"]) == (2 / 4, 1 / 4)


def test_partial_rewards_count_in_the_mean_but_not_as_solved():
    half = [dataclasses.replace(make_rollout(WRONG), reward=reward) for reward in (0.5, 0.25)]
    metrics = compute_metrics([*half, make_rollout()])
    assert metrics["critic/rewards/mean"] == pytest.approx(1.75 / 3)
    assert (metrics["group/all_solved"], metrics["group/none_solved"]) == (0.0, 0.0)


def test_shaped_rewards_are_logged_beside_the_rewards():
    rollouts = [make_rollout(tokens=[7] * 4), make_rollout(tokens=[7] * 18), make_rollout(OURS)]
    metrics = compute_metrics(rollouts, overlong_penalty=1.0, overlong_cache=0.2)
    assert (metrics["critic/rewards/mean"], metrics["critic/shaped_rewards/mean"]) == (1.0, 0.75)
    assert compute_metrics(rollouts)["critic/shaped_rewards/mean"] == 1.0


def test_dynamic_sampling_metrics():
    groups = (make_group(PASSED, WRONG), make_group(WRONG, WRONG), make_group(PASSED, OURS))
    dropped = Counter({DropReason.DEADLINE: 2, DropReason.FAILED: 1})
    sampled = SampledStep(
        groups=groups,
        trained=(True, False, False),
        temperature=1.0,
        rounds=2,
        dropped=dropped,
        generation_seconds=1.0,
        reward_seconds=0.5,
        generation_span=1.0,
    )
    assert dynamic_sampling_metrics(sampled) == {
        "group/trained": 1,
        "group/dropped": 2,
        "group/lost": 3,
        "group/lost/deadline": 2,
        "group/lost/failed": 1,
        "group/rounds": 2,
    }


def test_staleness_is_that_of_the_oldest_token():
    mixed, fresh = (np.array(versions, dtype=np.int32) for versions in ((3, 3, 4, 5), (5, 5, 5, 5)))
    metrics = compute_metrics([make_rollout(policy_versions=mixed), make_rollout(policy_versions=fresh)], version=5)
    assert (metrics["staleness/mean"], metrics["staleness/max"]) == (1.0, 2.0)


def test_evaluator_seconds_and_statuses():
    metrics = compute_metrics(
        [make_rollout(seconds=seconds) for seconds in (1.0, 2.0, 3.0)] + [make_rollout(Status.TIME_LIMIT, seconds=4.0)]
    )
    assert metrics["evaluator/seconds_p50"] == 2.5
    assert metrics["evaluator/seconds_p99"] == pytest.approx(3.97)
    assert (metrics["evaluator/status/passed"], metrics["evaluator/status/time_limit"]) == (3 / 4, 1 / 4)
    assert sum(value for name, value in metrics.items() if name.startswith("evaluator/status/")) == 1.0
    assert {f"evaluator/status/{status.value}" for status in Status} <= metrics.keys()


def test_actor_metrics(monkeypatch):
    driver = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=3 * 2**29))
    monkeypatch.setattr(psutil, "Process", lambda: driver)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(used=20 * 2**30))
    load = EvaluatorLoad(queue_max=7, busy_share=0.5, actors=2, retried=3, unjudged=1, repeated=40)
    generators: Any = SimpleNamespace(live={"a": 1, "b": 2, "c": 3}, restarts=2, retried=17)
    evaluators: Any = SimpleNamespace(load=lambda: load)
    assert actor_metrics(generators, evaluators) == {
        "generator/actors": 3,
        "generator/restarts": 2,
        "generator/retries": 17,
        "evaluator/queue": 7,
        "evaluator/busy": 0.5,
        "evaluator/actors": 2,
        "evaluator/retries": 3,
        "evaluator/lost": 1,
        "evaluator/repeated": 40,
        "perf/memory/driver_gib": 1.5,
        "perf/cpu_memory_used_gb": 20.0,
    }


def test_each_update_metric_comes_from_its_own_field():
    numbers = {field.name: float(place) for place, field in enumerate(dataclasses.fields(make_update_metrics()))}
    metrics = update_metrics(make_update_metrics(**numbers))
    assert metrics["actor/pg_clipfrac_higher"] == numbers["clipfrac_higher"]
    assert metrics["actor/pg_clipfrac_lower"] == numbers["clipfrac_lower"]
    assert metrics["actor/ppo_kl"] == numbers["ppo_kl"]
    assert metrics["actor/lr"] == numbers["learning_rate"]
    assert metrics["mismatch/kl"] == numbers["mismatch_kl"]
    assert len(set(metrics.values())) == len(metrics)


def test_timing_metrics():
    # Two groups of four completions of 6 tokens: 48 tokens in 20 s.
    groups = [make_credited_group(PASSED, WRONG, WRONG, WRONG), make_credited_group(*[PASSED] * 4)]
    assert timing_metrics(make_step_outcome(groups, update_seconds=3.0)) == {
        "timing_s/gen": 10.0,
        "timing_s/reward": 1.0,
        "timing_s/old_log_prob": 2.0,
        "timing_s/update_actor": 3.0,
        "timing_s/wait/drain": 0.25,
        "timing_s/wait/learner": 0.5,
        "timing_s/update_weights": 0.75,
        "timing_s/bookkeeping": 0.5,
        "timing_s/unaccounted": 2.0,
        "timing_s/step": 20.0,
        "timing_s/span/gen": 12.0,
        "timing_s/span/old_log_prob": 4.5,
        "perf/throughput": 2.4,
        "perf/weights_mb": 8.0,
    }


def test_timings_add_up_to_the_step():
    metrics = timing_metrics(make_step_outcome(update_seconds=2.9))
    whole = metrics.pop("timing_s/step")
    spans = [metrics.pop(name) for name in ("timing_s/span/gen", "timing_s/span/old_log_prob")]
    assert min(spans) > 0  # they overlap other parts
    assert sum(value for name, value in metrics.items() if name.startswith("timing_s/")) == pytest.approx(whole)
