"""The training loop of MicroCoder-GRPO, and the run it belongs to.

    problems -> generators -> evaluators -> groups -> advantages, mask -> learner -> weights, version + 1 -> generators

On-policy: a step samples with the weights the step before published, so version = step.
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
from actors.weight_transfer import Publication, WeightTransfer, WeightTransferError
from conf.schema import Config
from launch.answers import AnswerLog
from launch.batch import CreditedGroup, Crediting, credit_step, train_batch
from launch.datasets import ProblemOrder
from launch.display import Display, evaluation_line
from launch.driver_state import DriverState
from launch.dynamic_sampling import SampledStep, sample_step
from launch.evaluation import EngineSource, Evaluation, answer_tokens, in_flight, in_judgement, sampling_settings
from launch.metrics import StepTimes, dynamic_sampling_metrics, rollout_metrics, timing_metrics, update_metrics
from launch.run_directory import RunDirectory
from launch.sampling import PromptedProblem, Sampler
from launch.scores import Scores, metrics, score
from launch.temperature import Temperature, first_temperature


@dataclass(frozen=True)
class Run:
    """The parts of a run that has started: its actors, its data, its directory."""

    config: Config
    generators: GeneratorPool
    evaluators: EvaluatorPool
    learner: LearnerGroup
    transfer: WeightTransfer
    training: Sequence[PromptedProblem]
    held_out: Sequence[PromptedProblem]
    directory: RunDirectory
    display: Display
    tokenizer: Any
    resumed: DriverState | None
    """Of the checkpoint that the run goes on from."""

    @property
    def sampler(self) -> Sampler:
        generator = self.config.generator
        return Sampler(self.generators, self.evaluators, generator.max_response_tokens, generator.deadline_s)

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

    def credit(self, sampled: SampledStep, step: int) -> list[CreditedGroup]:
        config = self.config
        crediting = Crediting(config.algorithm, config.generator.max_response_tokens, config.run.seed)
        return credit_step(sampled.groups, sampled.trained, crediting, step)


async def train(run: Run) -> Scores | None:
    """Train from the directory's first step to ``run.steps``, evaluating on the way. Returns the last one's scores.

    Row s of the metrics is about version s of the policy: its evaluation, if one is due, and the step that it sampled.
    The last version samples no step, so its row is an evaluation only.
    """
    config, directory = run.config, run.directory
    order = ProblemOrder(len(run.training), config.run.seed)
    writer = (
        SummaryWriter(str(directory.path / "tensorboard"), purge_step=directory.first_step)
        if config.run.tensorboard
        else None
    )

    def record(row: Mapping[str, float]) -> None:
        directory.append_metrics(row)
        if writer is not None:
            for name, value in row.items():
                writer.add_scalar(name, value, int(row["step"]))

    published = await publish(run, directory.first_step)
    temperature = await run.temperature()
    for step in range(directory.first_step, config.run.steps):
        evaluation = await evaluate_policy(run, step)
        result = await train_step(run, step, order, published, temperature)
        published = result.publication
        record(result.metrics | evaluation.metrics)
        run.display.step(result.metrics)
        if checkpoint_due(run, step + 1):
            run.display.phase("checkpoint")
            path, state = directory.checkpoint_path(step + 1).absolute(), DriverState(temperature.state).to_json()
            await run.learner.save(str(path), state, config.learner.deadline_s)
            directory.drop_old_checkpoints()
    last = await evaluate_policy(run, config.run.steps)
    if last.metrics:
        record({"step": config.run.steps, **last.metrics})
        directory.drop_old_checkpoints()
    return last.scores


@dataclass(frozen=True)
class StepResult:
    """One step's metrics and the publication that ended it."""

    metrics: dict[str, float]
    publication: Publication


async def train_step(
    run: Run, step: int, order: ProblemOrder, before: Publication, temperature: Temperature
) -> StepResult:
    """Sample and judge groups, update the policy on them, give the new weights to the generators."""
    config, display = run.config, run.display
    started = time.monotonic()
    sampling_temperature = temperature.before_step(step)
    sampled = await sample_step(
        lambda indices: run.sampler.sample(
            [run.training[index] for index in indices],
            config.algorithm.group_size,
            sampling_temperature,
            display.sampling,
        ),
        order,
        step,
        config.algorithm.train_batch_size,
        config.algorithm.dynamic_sampling_rounds,
    )
    of_temperature = temperature.after_step(sampled.groups, run.ends)
    credited = run.credit(sampled, step)
    display.phase("update")
    update_started = time.monotonic()
    update = await run.learner.update(
        train_batch(credited, config.algorithm.mini_batch_size), config.learner.deadline_s
    )
    update_seconds = time.monotonic() - update_started
    display.phase("weights")
    published = await publish(run, step + 1)
    bookkeeping_started = time.monotonic()
    run.directory.write_rollouts(step, credited)
    metrics = rollout_metrics(credited, before.version, run.ends)
    now = time.monotonic()
    times = StepTimes(sampled.times, update_seconds, published, now - bookkeeping_started, now - started)
    tokens = sum(
        len(item.rollout.completion.response_token_ids) + len(item.rollout.completion.prompt_token_ids)
        for group in credited
        for item in group.credited
    )
    return StepResult(
        {
            "step": step,
            **metrics,
            **dynamic_sampling_metrics(sampled),
            **of_temperature,
            **update_metrics(update),
            **timing_metrics(times, update, tokens),
        },
        published,
    )


async def publish(run: Run, version: int) -> Publication:
    """Give every generator the learner's weights. Raises WeightTransferError when one was left out."""
    publication = await run.transfer.publish(version)
    if publication.left_out:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in publication.left_out.items())
        raise WeightTransferError(f"weights version {version} not loaded: {reasons}")
    return publication


def evaluation_due(run: Run, step: int) -> bool:
    """Is the policy after ``step`` steps evaluated?"""
    evaluation = run.config.evaluation
    due = step in (0, run.config.run.steps) or (evaluation.every > 0 and step % evaluation.every == 0)
    return due and bool(run.held_out) and evaluation.samples > 0


def checkpoint_due(run: Run, step: int) -> bool:
    """Is a checkpoint made after ``step`` steps? Also before every evaluation, so that the best version has one."""
    settings = run.config.run
    return step % settings.checkpoint_every == 0 or step == settings.steps or evaluation_due(run, step)


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
