"""The metrics of a step, by hand."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from actors.evaluators.load import EvaluatorLoad
from evaluator.verdict import Status
from launch.training.metrics import (
    dynamic_sampling_metrics,
    evaluator_metrics,
    generator_metrics,
    rollout_metrics,
    timing_metrics,
    update_metrics,
)
from launch.training.rollouts import SampledStep
from launch.training.sampling import SamplingTimes
from launch.training.work_buffer import DropReason
from learner.credit import assign_credit
from learner.rollout import Group
from tests.factories import (
    credited_group,
    crediting,
    diversity,
    group_of,
    rollout,
    step_times,
    truncated,
    update_result,
)

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR


def metrics(*groups, version=0, rho=1.0, **of_algorithm):
    settings = crediting(mask_probability=rho, repeat_window=2, **of_algorithm)
    credited = [assign_credit(Group("q", "", tuple(rollouts)), settings, 0) for rollouts in groups]
    return rollout_metrics(credited, version, diversity(credited))


def test_rewards():
    groups = [credited_group(PASSED, WRONG, WRONG, WRONG), credited_group(*[PASSED] * 4), credited_group(*[WRONG] * 4)]
    found = rollout_metrics([*groups, groups[0]], 0, diversity(groups))
    assert found["critic/rewards/mean"] == (1 + 4 + 0 + 1) / 16
    assert (found["group/all_solved"], found["group/none_solved"]) == (1 / 4, 1 / 4)


def test_excluded_completions_are_no_failures():
    found = metrics(
        [rollout(), rollout(), rollout(OURS)], [rollout(WRONG), rollout(OURS), rollout(OURS)], [rollout(OURS)]
    )
    assert found["critic/rewards/mean"] == 2 / 3
    assert (found["group/all_solved"], found["group/none_solved"]) == (1 / 2, 1 / 2)
    assert found["evaluator/status/sandbox_error"] == 4 / 7


def test_nothing_but_excluded_completions():
    found = metrics([rollout(OURS), rollout(OURS)])
    assert all(np.isfinite(value) for value in found.values())
    assert (found["critic/rewards/mean"], found["group/all_solved"], found["group/none_solved"]) == (0.0, 0.0, 0.0)


def test_lengths():
    found = metrics([rollout(tokens=(7,) * length) for length in (1, 2, 9)])
    assert (found["response_length/mean"], found["response_length/max"]) == (4.0, 9.0)


def test_diversity_is_the_mean_over_problems():
    same = (5, 6, 7, 8, 2)
    two = (9, 10, 11, 12, 2)
    found = metrics([rollout(tokens=same), rollout(tokens=same)], [rollout(tokens=same), rollout(tokens=two)])
    assert found["diversity/distinct_4"] == (1 / 2 + 1) / 2
    # A group too short for any 4-gram has no diversity, not one of zero.
    assert metrics([rollout(tokens=same)], [rollout(tokens=(5, 2))])["diversity/distinct_4"] == 1.0


def test_truncation():
    fresh = (5, 6, 7, 8)
    repeating = (5, 6, 5, 6)
    found = metrics(
        [
            truncated(WRONG, incomplete=True, tokens=fresh),
            truncated(WRONG, incomplete=True, tokens=repeating),
            truncated(WRONG, tokens=fresh),
            rollout(WRONG, tokens=repeating),
            rollout(),
        ]
    )
    assert found["truncation/rate"] == found["response_length/clip_ratio"] == 3 / 5
    assert found["truncation/repeat"] == 1 / 5  # repeating answers that end by themselves are none
    assert found["truncation/eligible"] == found["truncation/masked"] == 1 / 5
    unmasked = metrics([truncated(WRONG, incomplete=True, tokens=fresh), rollout()], rho=0.0)
    assert (unmasked["truncation/eligible"], unmasked["truncation/masked"]) == (1 / 2, 0.0)


@pytest.mark.parametrize(("mask", "rate"), [("none", 0.0), ("failing", 1 / 4), ("all", 2 / 4), ("conditional", 1 / 4)])
def test_masked_counts_by_the_mask_that_is_on(mask, rate):
    rollouts = [truncated(PASSED, tokens=(5, 6, 7, 8)), truncated(WRONG, tokens=(5, 6, 7, 8)), rollout(), rollout()]
    found = metrics(rollouts, truncation_mask=mask)
    assert found["truncation/masked"] == rate
    assert (found["truncation/rate"], found["truncation/eligible"]) == (2 / 4, 1 / 4)


def test_shaped_rewards_are_logged_beside_the_rewards():
    rollouts = [rollout(tokens=[7] * 4), rollout(tokens=[7] * 18), rollout(OURS)]
    found = metrics(rollouts, overlong_penalty=1.0, overlong_cache=0.2)
    assert (found["critic/rewards/mean"], found["critic/shaped_rewards/mean"]) == (1.0, 0.75)
    assert metrics(rollouts)["critic/shaped_rewards/mean"] == 1.0


def test_dynamic_sampling():
    groups = (group_of(PASSED, WRONG), group_of(WRONG, WRONG), group_of(PASSED, OURS))
    lost = Counter({DropReason.DEADLINE: 2, DropReason.FAILED: 1})
    sampled = SampledStep(
        groups=groups, trained=(True, False, False), rounds=2, lost=lost, times=SamplingTimes(1.0, 0.5), span=1.0
    )
    assert dynamic_sampling_metrics(sampled) == {
        "group/trained": 1,
        "group/dropped": 2,
        "group/lost": 3,
        "group/lost/deadline": 2,
        "group/lost/failed": 1,
        "group/rounds": 2,
    }


def test_staleness_is_the_oldest_tokens():
    mixed, fresh = (np.array(versions, dtype=np.int32) for versions in ((3, 3, 4, 5), (5, 5, 5, 5)))
    found = metrics([rollout(policy_versions=mixed), rollout(policy_versions=fresh)], version=5)
    assert (found["staleness/mean"], found["staleness/max"]) == (1.0, 2.0)


def test_evaluator():
    found = metrics(
        [rollout(seconds=seconds) for seconds in (1.0, 2.0, 3.0)] + [rollout(Status.TIME_LIMIT, seconds=4.0)]
    )
    assert found["evaluator/seconds_p50"] == 2.5
    assert found["evaluator/seconds_p99"] == pytest.approx(3.97)
    assert (found["evaluator/status/passed"], found["evaluator/status/time_limit"]) == (3 / 4, 1 / 4)
    assert sum(value for name, value in found.items() if name.startswith("evaluator/status/")) == 1.0
    assert {f"evaluator/status/{status.value}" for status in Status} <= found.keys()


def test_what_became_of_engines():
    assert generator_metrics(3, 2, 17) == {"generator/actors": 3, "generator/restarts": 2, "generator/retries": 17}


def test_the_pools_load():
    found = evaluator_metrics(EvaluatorLoad(queue_max=7, busy_share=0.5, actors=2, retried=3, lost=1, repeated=40))
    assert found == {
        "evaluator/queue": 7,
        "evaluator/busy": 0.5,
        "evaluator/actors": 2,
        "evaluator/retries": 3,
        "evaluator/lost": 1,
        "evaluator/repeated": 40,
    }


def test_what_the_learner_reports():
    numbers = {field.name: float(place) for place, field in enumerate(dataclasses.fields(update_result()))}
    found = update_metrics(update_result(**numbers))
    assert found["actor/pg_clipfrac_higher"] == numbers["clipfrac_higher"]
    assert found["actor/pg_clipfrac_lower"] == numbers["clipfrac_lower"]
    assert found["actor/ppo_kl"] == numbers["ppo_kl"]
    assert found["actor/lr"] == numbers["learning_rate"]
    assert found["mismatch/kl"] == numbers["mismatch_kl"]
    assert len(set(found.values())) == len(found)


def test_timings_by_hand():
    found = timing_metrics(step_times(), update_result(update_seconds=3.0), tokens=1000)
    assert found == {
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
        "perf/throughput": 50.0,
        "perf/weights_mb": 8.0,
    }


def test_timings_add_up():
    found = timing_metrics(step_times(), update_result(update_seconds=2.9), tokens=1)
    whole = found.pop("timing_s/step")
    span = found.pop("timing_s/span/gen")
    assert span > 0  # overlaps other parts
    assert sum(value for name, value in found.items() if name.startswith("timing_s/")) == pytest.approx(whole)
