"""The training loop of MicroCoder-GRPO, and the run it belongs to.

    problems ─► rollouts: generators ─► evaluators ─► groups ─► advantages, mask ─► learner ─► weights, version + 1
                    ▲                                                                               │
                    └───────────────────────────────────────────────────────────────────────────────┘

One loop for both kinds of run. With ``algorithm.max_staleness`` 0 a step samples with the weights that the step before
published, so version = step; with s > 0 the groups of the next s steps are sampled meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from actors.evaluator_pool import EvaluatorPool
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.weight_transfer import Publication, SharedMemoryTransfer
from conf.schema import Config
from launch.answers import AnswerLog
from launch.batch import CreditedGroup, Crediting, credit_step, train_batch
from launch.datasets import ProblemOrder
from launch.display import Display, evaluation_line
from launch.driver_state import DriverState
from launch.evaluation import EngineSource, Evaluation, answer_tokens, in_flight, in_judgement, sampling_settings
from launch.metrics import StepTimes, dynamic_sampling_metrics, rollout_metrics, timing_metrics, update_metrics
from launch.rollouts import RolloutPlan, Rollouts, SampledStep
from launch.run_directory import RunDirectory
from launch.sampling import PromptedProblem, Sampler
from launch.scores import Scores, metrics, score
from launch.temperature import Temperature, first_temperature
from launch.timeline import Laps, Timeline


@dataclass(frozen=True)
class Run:
    """The parts of a run that has started: its actors, its data, its directory."""

    config: Config
    generators: GeneratorPool
    evaluators: EvaluatorPool
    learner: LearnerGroup
    transfer: SharedMemoryTransfer
    training: Sequence[PromptedProblem]
    held_out: Sequence[PromptedProblem]
    directory: RunDirectory
    display: Display
    tokenizer: Any
    resumed: DriverState | None
    """Of the checkpoint that the run goes on from."""
    timeline: Timeline
    writer: SummaryWriter | None
    """TensorBoard's, where it is wanted."""

    @property
    def sampler(self) -> Sampler:
        generator = self.config.generator
        seed = self.config.run.seed if self.config.run.deterministic else None
        return Sampler(self.generators, self.evaluators, generator.max_response_tokens, generator.deadline_s, seed)

    @property
    def ends(self) -> set[int]:
        """The end-of-sequence tokens, which diversity leaves out."""
        return {self.tokenizer.eos_token_id}

    async def temperature(self) -> Temperature:
        """As the checkpoint says, else as configured or calibrated."""
        config, directory, display = self.config, self.directory, self.display
        if self.resumed is not None:
            state = self.resumed.temperature
        else:
            state = await first_temperature(config, self.training, self.sampler, self.ends, directory, display)
        return Temperature(config, state, directory, display)

    def rollouts(self) -> Rollouts:
        """Begun, or as the checkpoint says."""
        config, algorithm, first = self.config, self.config.algorithm, self.directory.first_step
        plan = RolloutPlan(
            config.run.steps,
            algorithm.train_batch_size,
            algorithm.group_size,
            algorithm.max_staleness,
            algorithm.dynamic_sampling_rounds,
        )
        order = ProblemOrder(len(self.training), config.run.seed)
        rollouts = Rollouts(plan, self.training, order, self.sampler, self.display, first)
        if self.resumed is not None:
            rollouts.restore(self.resumed.buffer)
        return rollouts

    def record(self, row: Mapping[str, float]) -> None:
        """A row of the metrics, and the timeline so far."""
        self.directory.append_metrics(row)
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(name, value, int(row["step"]))
        self.timeline.flush()

    def credit(self, sampled: SampledStep, step: int) -> list[CreditedGroup]:
        config = self.config
        crediting = Crediting(config.algorithm, config.generator.max_response_tokens, config.run.seed)
        return credit_step(sampled.groups, sampled.trained, crediting, step)


async def train(run: Run) -> Scores | None:
    """Train from the directory's first step to ``run.steps``, evaluating on the way. Returns the last one's scores.

    Row s of the metrics is about version s of the policy: its evaluation, if one is due, and the step that it trained.
    The last version trains no step, so its row is an evaluation only.
    """
    config, directory = run.config, run.directory
    published = await run.transfer.publish(directory.first_step)
    temperature = await run.temperature()
    rollouts = run.rollouts()
    try:
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


async def train_step(run: Run, step: int, rollouts: Rollouts, version: int, temperature: Temperature) -> StepResult:
    """Take the step's judged groups, update the policy of ``version`` on them, give the new weights to the engines."""
    config, display, laps = run.config, run.display, Laps(run.timeline)
    sampled = await rollouts.step(step, version)
    laps.done("wait for rollouts")
    of_temperature = temperature.after_step(sampled.groups, run.ends)
    credited = run.credit(sampled, step)
    batch = train_batch(credited, config.algorithm.mini_batch_size)
    credit_seconds = laps.done("credit")
    display.phase("update")
    update = await run.learner.update(batch, config.learner.deadline_s)
    update_seconds = laps.done("wait for the update")
    display.phase("weights")
    if not config.generator.partial_rollouts:
        await rollouts.drain()
    drain_seconds = laps.done("drain")
    published = await run.transfer.publish(step + 1)
    laps.done("publish")
    rollouts.served(step)
    run.directory.write_rollouts(step, credited)
    metrics = rollout_metrics(credited, version, run.ends) | dynamic_sampling_metrics(sampled) | of_temperature
    bookkeeping = credit_seconds + laps.done("bookkeeping")
    times = StepTimes(sampled, update_seconds, drain_seconds, published, bookkeeping, laps.total)
    timing = timing_metrics(
        times, update, sum(item.rollout.completion.tokens for group in credited for item in group.credited)
    )
    return StepResult({"step": step, **metrics, **update_metrics(update), **timing}, published)


def evaluation_due(run: Run, step: int) -> bool:
    """Is the policy after ``step`` steps evaluated?"""
    evaluation = run.config.evaluation
    due = step in (0, run.config.run.steps) or (evaluation.every > 0 and step % evaluation.every == 0)
    return due and bool(run.held_out) and evaluation.samples > 0


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


@dataclass(frozen=True)
class PolicyEvaluation:
    """What an evaluation between two steps found; nothing where none was due."""

    scores: Scores | None
    metrics: dict[str, float]


async def evaluate_policy(run: Run, step: int) -> PolicyEvaluation:
    """Evaluate the weights after ``step`` steps on the training's own actors, if that is due.

    What a killed run had of this evaluation, whose weights are those of its last checkpoint, is not sampled again.
    """
    config, evaluation, started = run.config, run.config.evaluation, time.monotonic()
    if not evaluation_due(run, step):
        return PolicyEvaluation(None, {})
    source = EngineSource(run.generators, answer_tokens(config), evaluation.temperature, evaluation.top_p)
    asked = Evaluation(
        run.held_out,
        evaluation.samples,
        source,
        run.evaluators,
        in_flight(config),
        in_judgement(config),
        evaluation.deadline_s,
    )
    path = run.directory.evaluation_path(step)
    log = AnswerLog(path.with_suffix(".jsonl"), {"step": step, **sampling_settings(config)})
    try:
        await asked.run(log, lambda done, total: run.display.phase(f"evaluate {done}/{total}"))
        log.write_parquet(path)
        problems = [prompted.problem for prompted in run.held_out]
        scores = score(problems, evaluation.samples, log.answers, log.judgements)
    finally:
        log.close()
    figures = metrics(scores, config.dataset.name or "held_out")
    run.display.say(evaluation_line(step, scores))
    return PolicyEvaluation(scores, {**figures, "timing_s/testing": time.monotonic() - started})
