"""Start a training run: check model, resources and paths, start the actors, train, and stop the actors again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from transformers import AutoTokenizer

from actors.evaluators.pool import EvaluatorPool
from actors.generators.pool import GeneratorPool
from conf.schema import Config
from evaluator.problem import Problem
from launch.cluster.placement import RolePlan, get_gpu_gib, plan_roles, resolve_devices
from launch.cluster.ray_cluster import find_resources, ray_session, start_ray
from launch.cluster.scaling import accept_scaling_requests
from launch.command import print_line
from launch.evaluation.fitting_problems import select_fitting_problems
from launch.evaluation.scores import Scores, build_pass_at_1_table
from launch.preflight import check_context_length, check_resources, read_context_length, read_model_shape
from launch.problems.datasets import Dataset, DatasetError
from launch.problems.prompts import PromptedProblem, build_prompts, select_prompt_style
from launch.records.display import Display
from launch.records.report_updates import ReportUpdates
from launch.records.run_directory import RunDirectory
from launch.records.run_records import RunRecords
from launch.records.summary import summarize_run
from launch.records.timeline import Timeline
from launch.session import cancel_on_sigterm, reserve_resources, resolve_local_model
from launch.training.driver_state import resumed_state
from launch.training.run import Run
from launch.training.sampling import Sampler
from launch.training.team import make_team
from launch.training.train import train
from learner.reward import load_reward


def run_training(config: Config, dataset: Dataset, console: Console) -> None:
    """Check model, resources and paths, start the cluster and the actors, train, and stop both again."""
    with ray_session():
        resources = find_resources(config)
        config = resolve_devices(config, resources)
        for remark in (*dataset.remarks, *(f"skipped: {row}" for row in dataset.rejected[:10])):
            print_line(console, remark, "yellow")
        if not Path(config.model.path).is_dir():
            # Before minutes go into building or fetching a model that does not fit.
            shape = read_model_shape(config, Path(config.model.path))
            check_resources(plan_roles(config, shape, get_gpu_gib(config, resources)), config, resources)
        model = resolve_local_model(config, console)
        parts = plan_roles(config, read_model_shape(config, model), get_gpu_gib(config, resources))
        check_resources(parts, config, resources)
        check_context_length(config, model)
        directory = RunDirectory(config)
        with ReportUpdates(directory.path, config.logging.report_every, console) as report:
            start_ray(config)
            scores = asyncio.run(
                run_training_actors(
                    config=config,
                    parts=parts,
                    model=model,
                    dataset=dataset,
                    directory=directory,
                    report=report,
                    console=console,
                )
            )
    console.print(summarize_run(directory.path, config))
    if scores is not None:
        console.print(build_pass_at_1_table(scores))


async def run_training_actors(
    *,
    config: Config,
    parts: list[RolePlan],
    model: Path,
    dataset: Dataset,
    directory: RunDirectory,
    report: ReportUpdates,
    console: Console,
) -> Scores | None:
    """Start all actors, train, and stop all actors, whatever happens; return the scores of the last evaluation."""
    resumed = resumed_state(directory.checkpoint)
    cancel_on_sigterm()
    with Display(console, config.run.steps, directory.first_step) as display:
        tokenizer = AutoTokenizer.from_pretrained(model)
        training = fitting_problems(dataset.training, tokenizer, config, display)
        held_out, remark = select_fitting_problems(dataset.held_out, tokenizer, read_context_length(model), config)
        if remark:
            display.warn(remark)
        if not training:
            raise DatasetError("every prompt is longer than generator.max_prompt_tokens: raise it")
        display.set_phase("reserving room")
        reservation = await reserve_resources(config, parts, model, directory.path)
        team = make_team(config, model, reservation, held_out)
        display.watch_pools(team.generators.count_members, team.evaluators.count_members)
        try:
            run = Run(
                config=config,
                sampler=make_sampler(config, team.generators, team.evaluators),
                learner=await team.start(config, directory, display),
                training=training,
                held_out=held_out,
                end_token_ids=frozenset({tokenizer.eos_token_id}),
                records=RunRecords(
                    directory=directory,
                    display=display,
                    timeline=Timeline(directory.path),
                    tensorboard=directory.open_tensorboard(),
                    report=report,
                ),
                resumed=resumed,
            )
            with accept_scaling_requests(directory.path, team.evaluators):
                return await train(run)
        finally:
            display.set_phase("stopping")
            display.forget_pools()
            await team.stop()


def make_sampler(config: Config, generators: GeneratorPool, evaluators: EvaluatorPool) -> Sampler:
    """Sampler of training problems, with the configured reward. Raises UnknownReward."""
    return Sampler(
        generators=generators,
        evaluators=evaluators,
        max_tokens=config.generator.max_response_tokens,
        deadline_s=config.generator.deadline_s,
        seed=config.run.seed if config.run.deterministic else None,
        reward=load_reward(config.algorithm.reward),
    )


def fitting_problems(
    problems: Sequence[Problem], tokenizer: object, config: Config, display: Display
) -> list[PromptedProblem]:
    """Return the problems with their prompts, without those whose prompt is too long; print how many are dropped."""
    style = select_prompt_style(config.dataset)
    kept = build_prompts(problems, tokenizer, style, config.generator.max_prompt_tokens, config.model.thinking)
    if len(kept) < len(problems):
        display.warn(
            f"{len(problems) - len(kept)} of {len(problems)} problems dropped: their prompt is longer than "
            f"generator.max_prompt_tokens={config.generator.max_prompt_tokens}"
        )
    return kept
