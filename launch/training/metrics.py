"""Metrics of a training step, under verl's names where it has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import psutil

from actors.evaluators.pool import EvaluatorPool
from actors.generators.pool import GeneratorPool
from evaluator.verdict import Status
from launch.training.rollouts import SampledStep
from launch.training.step_outcome import StepOutcome
from launch.training.temperature_stages import temperature_metrics
from launch.training.work_buffer import DropReason
from learner.credit import CreditedGroup
from learner.diversity import mean_distinct_ngram_ratio
from learner.learner import UpdateMetrics


def step_metrics(outcome: StepOutcome) -> dict[str, float]:
    """Metrics of a step's rollouts, temperature and update."""
    return {
        **rollout_metrics(outcome.credit.groups, outcome.version, mean_distinct_ngram_ratio(outcome.credit.diversity)),
        **dynamic_sampling_metrics(outcome.sampled),
        **temperature_metrics(outcome.sampled.temperature, outcome.temperature),
        **update_metrics(outcome.update),
    }


def rollout_metrics(groups: Sequence[CreditedGroup], version: int, diversity: float | None) -> dict[str, float]:
    """Metrics of all sampled completions, including those of groups that dynamic sampling dropped.

    Without the dropped groups they would not describe the policy.

    Args:
        groups: credited groups of the step.
        version: policy version that is trained on them.
        diversity: D of ``groups``; None if no response has four tokens.
    """
    rollouts = [item for group in groups for item in group.rollouts]
    completions = [item.rollout.completion for item in rollouts]
    rewards = [item.rollout.reward for item in rollouts if item.rollout.reward is not None]
    shaped = [item.shaped_reward for item in rollouts if item.shaped_reward is not None]
    lengths = np.array([len(completion.response_token_ids) for completion in completions])
    seconds = np.array([item.rollout.judgement.seconds for item in rollouts])
    staleness = np.array([version - completion.policy_version_min for completion in completions])
    statuses = Counter(item.rollout.judgement.verdict.status for item in rollouts)
    solved = [share for share in map(_share_solved, groups) if share is not None]
    return {
        "critic/rewards/mean": float(np.mean(rewards)) if rewards else 0.0,
        "critic/shaped_rewards/mean": float(np.mean(shaped)) if shaped else 0.0,
        "group/all_solved": float(np.mean([share == 1 for share in solved])) if solved else 0.0,
        "group/none_solved": float(np.mean([share == 0 for share in solved])) if solved else 0.0,
        "response_length/mean": float(lengths.mean()),
        "response_length/max": float(lengths.max()),
        "response_length/clip_ratio": float(np.mean([item.mask.truncated for item in rollouts])),
        **({} if diversity is None else {"diversity/distinct_4": diversity}),
        "truncation/rate": float(np.mean([item.mask.truncated for item in rollouts])),
        "truncation/repeat": float(np.mean([item.mask.truncated and item.mask.repeats for item in rollouts])),
        "truncation/repeat_any_period": float(
            np.mean([item.mask.truncated and item.mask.repeats_any_period for item in rollouts])
        ),
        "truncation/eligible": float(np.mean([item.mask.eligible for item in rollouts])),
        "truncation/masked": float(np.mean([item.mask.masked for item in rollouts])),
        "truncation/changed_advantages": float(
            np.mean([item.advantage != item.unmasked_advantage for item in rollouts])
        ),
        "staleness/mean": float(staleness.mean()),
        "staleness/max": float(staleness.max()),
        "evaluator/seconds_p50": float(np.percentile(seconds, 50)),
        "evaluator/seconds_p99": float(np.percentile(seconds, 99)),
        **{f"evaluator/status/{status}": statuses[status] / len(rollouts) for status in Status},
    }


def _share_solved(group: CreditedGroup) -> float | None:
    """Share of a group's completions that passed all tests, without excluded ones. None when all are excluded."""
    passed = [item.rollout.passed for item in group.rollouts if item.rollout.reward is not None]
    return float(np.mean(passed)) if passed else None


def dynamic_sampling_metrics(sampled: SampledStep) -> dict[str, float]:
    """Number of groups trained on, of groups dropped by dynamic sampling or by reason, and of sampling rounds."""
    return {
        "group/trained": sum(sampled.trained),
        "group/dropped": sampled.untrained,
        "group/lost": sampled.dropped.total(),
        **{f"group/lost/{reason}": sampled.dropped[reason] for reason in (DropReason.DEADLINE, DropReason.FAILED)},
        "group/rounds": sampled.rounds,
    }


def actor_metrics(generators: GeneratorPool, evaluators: EvaluatorPool) -> dict[str, float]:
    """Load of the evaluator pool over the step, state of the engines, and memory.

    ``generator/restarts`` (engines started in place of another) and ``generator/retries`` (requests sent again because
    their engine died) count since the driver started.
    """
    load = evaluators.load()
    return {
        "generator/actors": len(generators.live),
        "generator/restarts": generators.restarts,
        "generator/retries": generators.retried,
        "evaluator/queue": load.queue_max,
        "evaluator/busy": load.busy_share,
        "evaluator/actors": load.actors,
        "evaluator/retries": load.retried,
        "evaluator/lost": load.unjudged,
        "evaluator/repeated": load.repeated,
        **memory_metrics(),
    }


def memory_metrics() -> dict[str, float]:
    """Memory in GiB: resident memory of the driver's process, and memory in use on the driver's node.

    ``perf/cpu_memory_used_gb`` is verl's name and, as in verl, in GiB. It is what all processes of the node use, those
    of other jobs included, without caches that the kernel can free.
    """
    return {
        "perf/memory/driver_gib": psutil.Process().memory_info().rss / 2**30,
        "perf/cpu_memory_used_gb": psutil.virtual_memory().used / 2**30,
    }


def update_metrics(update: UpdateMetrics) -> dict[str, float]:
    """Metrics that the learner reports for a step."""
    return {
        "actor/pg_loss": update.pg_loss,
        "actor/kl_loss": update.kl_loss,
        "actor/pg_clipfrac_higher": update.clipfrac_higher,
        "actor/pg_clipfrac_lower": update.clipfrac_lower,
        "actor/pg_clipfrac_dual": update.clipfrac_dual,
        "actor/ppo_kl": update.ppo_kl,
        "actor/entropy": update.entropy,
        "actor/grad_norm": update.grad_norm,
        "actor/skipped_updates": update.skipped_updates,
        "actor/updates_without_advantage": update.updates_without_advantage,
        "actor/lr": update.learning_rate,
        "mismatch/kl": update.mismatch_kl,
        "mismatch/ratio_max": update.mismatch_ratio_max,
        "mismatch/non_finite": update.mismatch_non_finite,
    }


def timing_metrics(outcome: StepOutcome) -> dict[str, float]:
    """Wall seconds of a step's parts, what they leave unaccounted, and throughput in tokens per second.

    ``timing_s/wait/learner`` is the wait for the learner beyond its own seconds; ``timing_s/span/gen`` runs from the
    first request to the last completion, ``timing_s/span/old_log_prob`` is the learner's time for old log-probs, both
    waited for or not.
    """
    sampled = outcome.sampled
    laps = outcome.laps
    update = outcome.update
    publication = outcome.publication
    old_log_prob = outcome.prepared.seconds + update.old_logprob_seconds
    waited_for_learner = laps.seconds("old_log_prob") + laps.seconds("update")
    parts = {
        "timing_s/gen": laps.seconds("generate") + sampled.generation_seconds,
        "timing_s/reward": sampled.reward_seconds,
        "timing_s/old_log_prob": old_log_prob,
        "timing_s/update_actor": update.update_seconds,
        "timing_s/wait/drain": laps.seconds("drain"),
        "timing_s/wait/learner": waited_for_learner - old_log_prob - update.update_seconds,
        "timing_s/update_weights": publication.write_seconds + publication.load_seconds,
        "timing_s/bookkeeping": laps.seconds("credit") + laps.seconds("record"),
    }
    tokens = sum(item.rollout.completion.tokens for group in outcome.credit.groups for item in group.rollouts)
    return {
        **parts,
        "timing_s/unaccounted": laps.total - sum(parts.values()),
        "timing_s/step": laps.total,
        "timing_s/span/gen": sampled.generation_span,
        "timing_s/span/old_log_prob": outcome.prepared.early_seconds + old_log_prob,
        "perf/throughput": tokens / laps.total,
        "perf/weights_mb": publication.bytes / 1e6,
    }
