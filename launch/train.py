"""The training loop of MicroCoder-GRPO, and the run it belongs to.

    problems -> generators -> evaluators -> groups -> advantages, mask -> learner -> weights, version + 1 -> generators

On-policy: a step samples with the weights the step before published, so version = step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from actors.pool import EvaluatorPool, GeneratorPool, LearnerGroup
from actors.weight_transfer import Publication, SharedMemoryTransfer
from conf.schema import Config
from launch.batch import CreditedGroup, assign_credit, train_batch
from launch.datasets import ProblemOrder
from launch.display import Display
from launch.metrics import StepTimes, rollout_metrics, timing_metrics, update_metrics
from launch.run_directory import RunDirectory
from launch.sampling import PromptedProblem, Sampler


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

    def sampler(self, deadline_s: float) -> Sampler:
        return Sampler(self.generators, self.evaluators, self.config.generator.max_response_tokens, deadline_s)

    def credit(self, group: Any, step: int) -> CreditedGroup:
        return assign_credit(group, self.config.algorithm, self.config.run.seed, step)


async def train(run: Run) -> None:
    """Train from the directory's first step to ``run.steps``, evaluating before and after."""
    config, directory = run.config, run.directory
    order = ProblemOrder(len(run.training), config.run.seed)
    writer = (
        SummaryWriter(str(directory.path / "tensorboard"), purge_step=directory.first_step)
        if config.run.tensorboard
        else None
    )
    published = await run.transfer.publish(directory.first_step)
    await evaluate_held_out(run, directory.first_step)
    for step in range(directory.first_step, config.run.steps):
        row = await train_step(run, step, order, published)
        published = row.publication
        directory.append_metrics(row.metrics)
        run.display.step(row.metrics)
        if writer is not None:
            for name, value in row.metrics.items():
                writer.add_scalar(name, value, step)
        if (step + 1) % config.run.checkpoint_every == 0 or step + 1 == config.run.steps:
            run.display.phase("checkpoint")
            await run.learner.save(str(directory.checkpoint_path(step + 1).absolute()), config.learner.deadline_s)
            directory.drop_old_checkpoints()
    await evaluate_held_out(run, config.run.steps)


@dataclass(frozen=True)
class StepResult:
    """One step's metrics and the publication that ended it."""

    metrics: dict[str, float]
    publication: Publication


async def train_step(run: Run, step: int, order: ProblemOrder, before: Publication) -> StepResult:
    """Sample and judge groups, update the policy on them, give the new weights to the generators."""
    config, display = run.config, run.display
    started = time.monotonic()
    problems = [run.training[index] for index in order.batch(step, config.algorithm.train_batch_size)]
    groups, sampling = await run.sampler(config.generator.deadline_s).sample(
        problems, config.algorithm.group_size, config.temperature.value, display.sampling
    )
    credited = [run.credit(group, step) for group in groups]
    display.phase("update")
    update_started = time.monotonic()
    update = await run.learner.update(
        train_batch(credited, config.algorithm.mini_batch_size), config.learner.deadline_s
    )
    update_seconds = time.monotonic() - update_started
    display.phase("weights")
    published = await run.transfer.publish(step + 1)
    bookkeeping_started = time.monotonic()
    run.directory.write_rollouts(step, credited)
    metrics = rollout_metrics(credited, before.version, {run.tokenizer.eos_token_id})
    now = time.monotonic()
    times = StepTimes(sampling, update_seconds, published, now - bookkeeping_started, now - started)
    tokens = sum(
        len(item.rollout.completion.response_token_ids) + len(item.rollout.completion.prompt_token_ids)
        for group in credited
        for item in group.credited
    )
    return StepResult(
        {
            "step": step,
            **metrics,
            "temperature/value": config.temperature.value,
            **update_metrics(update),
            **timing_metrics(times, update, tokens),
        },
        published,
    )


async def evaluate_held_out(run: Run, step: int) -> None:
    """Sample and judge the held-out problems under the weights after ``step`` steps, unless that was done before."""
    evaluation = run.config.evaluation
    if not run.held_out or evaluation.samples == 0 or run.directory.evaluation_path(step).exists():
        return
    if step not in (0, run.config.run.steps):
        return
    run.display.phase("held-out problems")
    groups, _ = await run.sampler(evaluation.deadline_s).sample(
        run.held_out, evaluation.samples, evaluation.temperature
    )
    run.directory.write_evaluation(step, [run.credit(group, step) for group in groups])
