"""The training loop of MicroCoder-GRPO, and the run it belongs to.

    problems ─► rollouts: generators ─► evaluators ─► groups ─► advantages, mask ─► learner ─► weights, version + 1
                    ▲                                                                               │
                    └───────────────────────────────────────────────────────────────────────────────┘

One loop for both kinds of run. With ``algorithm.max_staleness`` 0 a step samples with the weights that the step before
published, so version = step; with s > 0 the groups of the next s steps are sampled meanwhile.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from actors.waiting import in_thread
from actors.weights.transfer import Publication
from launch.evaluation.scores import Scores
from launch.records.timeline import Laps
from launch.training.driver_state import DriverState
from launch.training.gc_settings import only_the_new
from launch.training.metrics import (
    StepTimes,
    dynamic_sampling_metrics,
    evaluator_metrics,
    generator_metrics,
    rollout_metrics,
    timing_metrics,
    update_metrics,
)
from launch.training.policy_evaluation import evaluate_policy, evaluation_due
from launch.training.rollouts import Rollouts, SampledStep
from launch.training.run import Run
from launch.training.temperature_stages import Temperature
from learner.credit import CreditedGroup, train_batch, unjudged_sequences
from learner.diversity import distinct_ngrams, mean_distinct_ngrams
from learner.rollout import Completion, TrainBatch


async def train(run: Run) -> Scores | None:
    """Train from the directory's first step to ``run.steps``, evaluating on the way. Returns the last one's scores.

    Row s of the metrics is about version s of the policy: its evaluation, if one is due, and the step that it trained.
    The last version trains no step, so its row is an evaluation only.
    """
    config = run.config
    directory = run.directory
    published = await run.weights.publish()
    temperature = await run.temperature()
    rollouts = run.rollouts()
    try:
        with only_the_new():
            for step in range(directory.first_step, config.run.steps):
                evaluation = await evaluate_policy(run, step)
                rollouts.fill(step, temperature.before_step)
                result = await train_step(run, step, rollouts, published.version, temperature)
                published = result.publication
                run.record(result.metrics | evaluation.metrics)
                run.display.step(result.metrics)
                if checkpoint_due(run, step + 1):
                    with run.timeline.during("driver", "checkpoint", step=step + 1):
                        await save_checkpoint(run, step + 1, DriverState(temperature.state, rollouts.state()))
            last = await evaluate_policy(run, config.run.steps)
            if last.metrics:
                run.record({"step": config.run.steps, **last.metrics})
                directory.drop_old_checkpoints()
            return last.scores
    finally:
        await rollouts.close()
        run.timeline.flush()


@dataclass(frozen=True)
class StepResult:
    """One step's metrics and the publication that ended it."""

    metrics: dict[str, float]
    publication: Publication


@dataclass(frozen=True)
class Credit:
    """Of a step's groups, in their order: their rollouts' credit, their ``distinct_ngrams``, and the batch of them."""

    groups: list[CreditedGroup]
    diversity: list[float | None]
    batch: TrainBatch


async def train_step(run: Run, step: int, rollouts: Rollouts, version: int, temperature: Temperature) -> StepResult:
    """Take the step's judged groups, update the policy of ``version`` on them, give the new weights to the engines."""
    config = run.config
    display = run.display
    laps = Laps(run.timeline)
    deadline_s = config.learner.deadline_s
    completions = await rollouts.completions(step)
    generation = laps.done("wait for completions")
    # Old log-probs need no verdict: they are computed while the last ones come.
    prepared = await run.weights.prepare(unjudged_sequences(completions), deadline_s)
    preparing = laps.done("wait for old log-probs")
    sampled = await rollouts.step(step, version)
    laps.done("wait for verdicts")
    # What costs by the token is done in threads: the loop would not hand over the next steps' completions meanwhile.
    work = functools.partial(credit_sampled, run, step, sampled, completions)
    credit = await in_thread(work, f"crediting step {step}", deadline_s)
    of_temperature = temperature.after_step(sampled.groups, credit.diversity)
    crediting = laps.done("credit")
    display.phase("update")
    update = await run.weights.update(credit.batch, deadline_s)
    of_update = laps.done("wait for the update")
    display.phase("weights")
    if not config.generator.partial_rollouts:
        await rollouts.drain()
    drain = laps.done("drain")
    published = await run.weights.publish()
    publish = laps.done("publish")
    rollouts.served(step)
    if config.algorithm.max_staleness:  # the engines go on at once, also while a checkpoint is made
        rollouts.fill(step + 1, temperature.before_step)
    written = in_thread(lambda: write_rollouts(run, step, version, credit), f"the rollouts of step {step}", deadline_s)
    metrics = await written | dynamic_sampling_metrics(sampled) | of_temperature
    engines = run.generators
    metrics |= generator_metrics(len(engines.live), engines.restarts, engines.retried)
    metrics |= evaluator_metrics(run.evaluators.load())
    run.draw_actors(step, (preparing, prepared), (of_update, update), publish)
    bookkeeping = crediting.seconds + laps.done("bookkeeping").seconds
    times = StepTimes(
        generation=generation.seconds + sampled.times.generation,
        reward=sampled.times.reward,
        span=sampled.span,
        learner=preparing.seconds + of_update.seconds,
        old_logprobs=prepared + update.old_logprob_seconds,
        drain=drain.seconds,
        publication=published,
        bookkeeping=bookkeeping,
        step=laps.total,
    )
    timing = timing_metrics(
        times, update, sum(item.rollout.completion.tokens for group in credit.groups for item in group.credited)
    )
    return StepResult({"step": step, **metrics, **update_metrics(update), **timing}, published)


def credit_sampled(run: Run, step: int, sampled: SampledStep, prepared: Sequence[Completion]) -> Credit:
    """What the learner gets of a step; ``prepared``: what it knows already. Raises EmptyBatch."""
    groups = run.credit(sampled, step)
    diversity = [distinct_ngrams(group.responses, run.ends) for group in sampled.groups]
    return Credit(groups, diversity, train_batch(groups, run.config.algorithm.mini_batch_size, prepared))


def write_rollouts(run: Run, step: int, version: int, credit: Credit) -> dict[str, float]:
    """The file of a step's rollouts, and their metrics."""
    run.directory.write_rollouts(step, credit.groups)
    return rollout_metrics(credit.groups, version, mean_distinct_ngrams(credit.diversity))


def checkpoint_due(run: Run, step: int) -> bool:
    """Is a checkpoint made after ``step`` steps? Also before every evaluation, so that the best version has one."""
    settings = run.config.run
    return step % settings.checkpoint_every == 0 or step == settings.steps or evaluation_due(run, step)


async def save_checkpoint(run: Run, step: int, state: DriverState) -> None:
    """After ``step`` steps; older checkpoints go."""
    run.display.phase("checkpoint")
    path = run.directory.checkpoint_path(step).absolute()
    await run.learner.save(str(path), state.to_files(), run.config.learner.deadline_s)
    run.directory.drop_old_checkpoints()
