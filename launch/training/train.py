"""The training loop of MicroCoder-GRPO.

    problems ─► rollouts: generators ─► evaluators ─► groups ─► advantages, mask ─► learner ─► weights, version + 1
                    ▲                                                                               │
                    └───────────────────────────────────────────────────────────────────────────────┘

The parts of a step. Every wait also ends at a deadline:

    part          waits for                                      meanwhile
    generate      the step's last completion                     finished completions are judged, and the learner
                                                                 computes the old log-probs of complete groups
    old_log_prob  those of the last groups, without verdicts     the last completions are judged
    reward        the step's last verdict                        with dynamic sampling, further groups are sampled
    credit        a thread of the driver                         completions of later steps are judged
    update        the learner's optimizer updates                completions of later steps are sampled and judged
    drain         completions of later steps in flight           (skipped with generator.partial_rollouts)
    publish       the new version's echo from every engine       nothing is sampled; then the step's slots are free
    record        a thread that writes the rollouts              the next step is sampled

With ``algorithm.max_staleness`` 0 a step samples with the weights that the step before published, so version = step;
with s > 0 the next s steps are sampled while the learner works on this one. It is one loop for both.
"""

from __future__ import annotations

from actors.waiting import run_in_thread
from launch.evaluation.scores import Scores
from launch.training.driver_state import DriverState
from launch.training.gc_settings import gc_frozen
from launch.training.metrics import actor_metrics, step_metrics, timing_metrics
from launch.training.old_logprobs import prepare_step
from launch.training.policy_evaluation import evaluate_policy, is_evaluation_due
from launch.training.rollouts import Rollouts
from launch.training.run import Run
from launch.training.step_outcome import StepOutcome, credit_step
from launch.training.temperature_stages import TemperatureStages


async def train(run: Run) -> Scores | None:
    """Train from the directory's first step to ``run.steps``; return the scores of the last evaluation.

    Row s of the metrics describes version s of the policy: its evaluation, if one is due, and the training step that
    starts from it. No step starts from the last version, so its row is an evaluation only.
    """
    config = run.config
    records = run.records
    await run.learner.publish()
    stages = await run.temperature_stages()
    rollouts = run.rollouts()
    try:
        with gc_frozen():
            for step in range(records.directory.first_step, config.run.steps):
                evaluation = await evaluate_policy(run, step)
                await fill_rollouts(rollouts, stages, step)
                outcome = await train_step(run, step, rollouts, stages)
                if config.algorithm.max_staleness:  # the engines go on at once, also while a checkpoint is written
                    await fill_rollouts(rollouts, stages, step + 1)
                metrics = await record_step(run, step, outcome)
                records.append_metrics(metrics | evaluation.metrics)
                records.display.show_step(metrics)
                if is_checkpoint_due(run, step + 1):
                    with records.timeline.record_span("driver", "checkpoint", step=step + 1):
                        state = DriverState(stages.state, rollouts.state(), tuple(stages.decisions))
                        await save_checkpoint(run, step + 1, state)
            last = await evaluate_policy(run, config.run.steps)
            if last.metrics:
                records.append_metrics({"step": config.run.steps, **last.metrics})
                records.directory.delete_old_checkpoints()
            return last.scores
    finally:
        await rollouts.close()
        records.timeline.flush()


async def train_step(run: Run, step: int, rollouts: Rollouts, stages: TemperatureStages) -> StepOutcome:
    """Train on the groups of ``step`` and publish the new weights to the engines."""
    laps = run.records.laps()
    prepared = await prepare_step(run, step, rollouts, laps)
    with laps("reward"):
        sampled = await rollouts.verdicts(step, run.learner.version)
    with laps("credit"):
        credit = await credit_step(run, step, sampled, prepared.sequences)
        temperature = stages.after_step(sampled.groups, credit.diversity)
    with laps("update"):
        update = await run.learner.update(credit.batch)
    with laps("drain"):
        if not run.config.generator.partial_rollouts:
            await rollouts.drain()
    with laps("publish"):
        publication = await run.learner.publish()
    rollouts.release(step)
    return StepOutcome(
        sampled=sampled,
        credit=credit,
        temperature=temperature,
        prepared=prepared,
        update=update.metrics,
        learner_logprobs=update.old_logprobs,
        publication=publication,
        laps=laps,
    )


async def fill_rollouts(rollouts: Rollouts, stages: TemperatureStages, version: int) -> None:
    """Claim and request the groups that policy ``version`` may sample, at the temperature decided for each step."""
    if rollouts.can_claim(version):
        await stages.measure_if_needed(rollouts.next_step)
    rollouts.fill(version, stages.before_step)


async def record_step(run: Run, step: int, outcome: StepOutcome) -> dict[str, float]:
    """Write the step's rollouts, draw its actors in the timeline, and return its metrics."""

    def write() -> dict[str, float]:
        run.records.directory.write_rollouts(step, outcome.credit.groups, outcome.learner_logprobs)
        return step_metrics(outcome)

    with outcome.laps("record"):
        metrics = await run_in_thread(write, f"the rollouts of step {step}", run.config.learner.deadline_s)
        metrics |= actor_metrics(run.sampler.generators, run.sampler.evaluators)
        draw_actors(run, step, outcome)
    return {"step": step, **metrics, **timing_metrics(outcome)}


def draw_actors(run: Run, step: int, outcome: StepOutcome) -> None:
    """Draw the actors' tracks in the timeline; the learner's update is drawn to end with the driver's lap."""
    timeline = run.records.timeline
    update = outcome.laps.by_name["update"]
    publish = outcome.laps.by_name["publish"]
    for rank in run.learner.ranks:
        timeline.add_span(rank, "update", update.ended - outcome.update.update_seconds, update.ended, step=step)
        timeline.add_span(rank, "publish", publish.started, publish.ended, step=step)
    for generator in run.sampler.generators.live:
        timeline.add_span(f"{generator} weights", "load", publish.started, publish.ended, step=step)
    timeline.add_actor_spans(run.sampler.generators.activity.take(), "generate", step)
    timeline.add_actor_spans(run.sampler.evaluators.activity.take(), "evaluate", step)


def is_checkpoint_due(run: Run, step: int) -> bool:
    """Return True if a checkpoint is due after ``step`` steps: also for each evaluation, so that the best has one."""
    settings = run.config.run
    return step % settings.checkpoint_every == 0 or step == settings.steps or is_evaluation_due(run, step)


async def save_checkpoint(run: Run, step: int, state: DriverState) -> None:
    """Write the checkpoint of ``step`` and remove older ones."""
    directory = run.records.directory
    run.records.display.set_phase("checkpoint")
    await run.learner.save(directory.checkpoint_path(step).absolute(), state.to_files())
    directory.delete_old_checkpoints()
