"""The metrics of one training step, under verl's names where it has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.evaluators.load import EvaluatorLoad
from actors.weights.transfer import Publication
from evaluator.verdict import Status
from launch.training.rollouts import SampledStep
from launch.training.work_buffer import DropReason
from learner.credit import CreditedGroup
from learner.learner import UpdateMetrics


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """Wall seconds of one step's parts; what no part accounts for is reported as such.

    ``generation`` and ``reward``: waited for completions, and for verdicts that came after the old log-probs; ``span``:
    from the first request to the last completion, waited for or not. ``learner``: waited for it, ``old_logprobs`` of
    them. ``drain``: waited for completions of later steps before the weights changed.
    """

    generation: float
    reward: float
    span: float
    learner: float
    old_logprobs: float
    drain: float
    publication: Publication
    bookkeeping: float
    step: float


def rollout_metrics(groups: Sequence[CreditedGroup], version: int, diversity: float | None) -> dict[str, float]:
    """What the sampled completions say; ``diversity`` is D of ``groups`` (``mean_distinct_ngrams``).

    Of all that were sampled: groups that dynamic sampling left out are in here, for the others alone say nothing of
    the policy.
    """
    credited = [item for group in groups for item in group.credited]
    completions = [item.rollout.completion for item in credited]
    rewards = [item.rollout.reward for item in credited if item.rollout.reward is not None]
    shaped = [item.shaped_reward for item in credited if item.shaped_reward is not None]
    lengths = np.array([len(completion.response_token_ids) for completion in completions])
    seconds = np.array([item.rollout.judgement.seconds for item in credited])
    staleness = np.array([version - completion.policy_version_min for completion in completions])
    statuses = Counter(item.rollout.judgement.verdict.status for item in credited)
    solved = [share for share in map(_share_solved, groups) if share is not None]
    return {
        "critic/rewards/mean": float(np.mean(rewards)) if rewards else 0.0,
        "critic/shaped_rewards/mean": float(np.mean(shaped)) if shaped else 0.0,
        "group/all_solved": float(np.mean([share == 1 for share in solved])) if solved else 0.0,
        "group/none_solved": float(np.mean([share == 0 for share in solved])) if solved else 0.0,
        "response_length/mean": float(lengths.mean()),
        "response_length/max": float(lengths.max()),
        "response_length/clip_ratio": float(np.mean([item.mask.truncated for item in credited])),
        "diversity/distinct_4": diversity if diversity is not None else 0.0,
        "truncation/rate": float(np.mean([item.mask.truncated for item in credited])),
        "truncation/repeat": float(np.mean([item.mask.truncated and item.mask.repeats for item in credited])),
        "truncation/repeat_any_period": float(
            np.mean([item.mask.truncated and item.mask.repeats_any_period for item in credited])
        ),
        "truncation/eligible": float(np.mean([item.mask.eligible for item in credited])),
        "truncation/masked": float(np.mean([item.mask.masked for item in credited])),
        "staleness/mean": float(staleness.mean()),
        "staleness/max": float(staleness.max()),
        "evaluator/seconds_p50": float(np.percentile(seconds, 50)),
        "evaluator/seconds_p99": float(np.percentile(seconds, 99)),
        **{f"evaluator/status/{status}": statuses[status] / len(credited) for status in Status},
    }


def _share_solved(group: CreditedGroup) -> float | None:
    """Share of a group's completions that passed; excluded ones do not count. None when all are excluded."""
    rewards = [item.rollout.reward for item in group.credited if item.rollout.reward is not None]
    return float(np.mean(rewards)) if rewards else None


def dynamic_sampling_metrics(sampled: SampledStep) -> dict[str, float]:
    """Groups trained on, left out by dynamic sampling, lost, and rounds of further sampling."""
    return {
        "group/trained": sum(sampled.trained),
        "group/dropped": sampled.dropped,
        "group/lost": sampled.lost.total(),
        **{f"group/lost/{reason}": sampled.lost[reason] for reason in (DropReason.DEADLINE, DropReason.FAILED)},
        "group/rounds": sampled.rounds,
    }


def generator_metrics(live: int, restarts: int, retried: int) -> dict[str, float]:
    """Engines that serve, engines started in place of another, and requests asked again because their engine died.

    The last two are counted since the driver started.
    """
    return {"generator/actors": live, "generator/restarts": restarts, "generator/retries": retried}


def evaluator_metrics(load: EvaluatorLoad) -> dict[str, float]:
    """The evaluator pool's load over the step."""
    return {
        "evaluator/queue": load.queue_max,
        "evaluator/busy": load.busy_share,
        "evaluator/actors": load.actors,
        "evaluator/retries": load.retried,
        "evaluator/lost": load.lost,
        "evaluator/repeated": load.repeated,
    }


def update_metrics(update: UpdateMetrics) -> dict[str, float]:
    """What the learner reports of one step."""
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
        "actor/lr": update.learning_rate,
        "mismatch/kl": update.mismatch_kl,
        "mismatch/ratio_max": update.mismatch_ratio_max,
        "mismatch/non_finite": update.mismatch_non_finite,
    }


def timing_metrics(times: StepTimes, update: UpdateMetrics, tokens: int) -> dict[str, float]:
    """Seconds per phase, and tokens per second: ``tokens`` are all the step's prompt and response tokens."""
    publication = times.publication
    named = {
        "timing_s/gen": times.generation,
        "timing_s/reward": times.reward,
        "timing_s/old_log_prob": times.old_logprobs,
        "timing_s/update_actor": update.update_seconds,
        "timing_s/wait/drain": times.drain,
        "timing_s/wait/learner": times.learner - times.old_logprobs - update.update_seconds,
        "timing_s/update_weights": publication.write_seconds + publication.load_seconds,
        "timing_s/bookkeeping": times.bookkeeping,
    }
    return {
        **named,
        "timing_s/unaccounted": times.step - sum(named.values()),
        "timing_s/step": times.step,
        "timing_s/span/gen": times.span,
        "perf/throughput": tokens / times.step,
        "perf/weights_mb": publication.bytes / 1e6,
    }
