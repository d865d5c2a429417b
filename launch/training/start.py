"""Start a training run: check what can be checked, start its actors, train, and stop them again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from transformers import AutoTokenizer

from conf.schema import Config
from evaluator.problem import Problem
from launch.cluster.placement import Part, decide_devices, plan
from launch.cluster.ray_cluster import find_resources, ray_session, start_ray
from launch.cluster.scaling import open_to_scaling
from launch.command import tell
from launch.evaluation.scores import Scores, table
from launch.preflight import check_context_length, check_resources, model_parameters
from launch.problems.datasets import Dataset, DatasetError
from launch.problems.prompts import PromptedProblem, prompt_style, prompted
from launch.records.display import Display
from launch.records.run_directory import RunDirectory
from launch.records.summary import summary
from launch.records.timeline import Timeline
from launch.session import cancel_on_sigterm, local_model, reserve_room
from launch.training.driver_state import resumed_state
from launch.training.run import Run
from launch.training.team import make_team
from launch.training.train import train


def run_training(config: Config, dataset: Dataset, console: Console) -> None:
    """Check everything that can be checked, start the cluster and the actors, train, and stop them again."""
    with ray_session():
        resources = find_resources(config)
        config = decide_devices(config, resources)
        for remark in (*dataset.remarks, *(f"skipped: {row}" for row in dataset.rejected[:10])):
            tell(console, remark, "yellow")
        if not Path(config.model.path).is_dir():
            # Before minutes go into building or fetching a model that does not fit.
            check_resources(plan(config, model_parameters(config, Path(config.model.path))), config, resources)
        model = local_model(config, console)
        parts = plan(config, model_parameters(config, model))
        check_resources(parts, config, resources)
        check_context_length(config, model)
        directory = RunDirectory(config)
        start_ray(config)
        scores = asyncio.run(
            run_actors(config=config, parts=parts, model=model, dataset=dataset, directory=directory, console=console)
        )
    console.print(summary(directory.path, config))
    if scores is not None:
        console.print(table(scores))


async def run_actors(
    config: Config, parts: list[Part], model: Path, dataset: Dataset, directory: RunDirectory, console: Console
) -> Scores | None:
    """Start every role, train, and stop every role, whatever happens. Returns the last evaluation's scores."""
    resumed = resumed_state(directory.checkpoint)
    cancel_on_sigterm()
    with Display(console, config.run.steps, directory.first_step) as display:
        tokenizer = AutoTokenizer.from_pretrained(model)
        training = fitting(dataset.training, tokenizer, config, display)
        held_out = fitting(dataset.held_out, tokenizer, config, display)
        if not training:
            raise DatasetError("every prompt is longer than generator.max_prompt_tokens: raise it")
        display.phase("reserving room")
        reservation = await reserve_room(config, parts, model, directory.path)
        team = make_team(config, model, reservation)
        try:
            run = Run(
                config=config,
                generators=team.generators,
                evaluators=team.evaluators,
                learner=team.learner,
                weights=await team.start(config, directory, display),
                training=training,
                held_out=held_out,
                directory=directory,
                display=display,
                tokenizer=tokenizer,
                resumed=resumed,
                timeline=Timeline(directory.path),
                writer=directory.tensorboard(),
            )
            with open_to_scaling(directory.path, team.evaluators):
                return await train(run)
        finally:
            display.phase("stopping")
            await team.stop()


def fitting(problems: Sequence[Problem], tokenizer: object, config: Config, display: Display) -> list[PromptedProblem]:
    """The problems with their prompts, less those whose prompt is too long, which are counted."""
    kept = prompted(problems, tokenizer, prompt_style(config.dataset), config.generator.max_prompt_tokens)
    if len(kept) < len(problems):
        display.say(
            f"{len(problems) - len(kept)} of {len(problems)} problems left out: prompt over "
            f"generator.max_prompt_tokens={config.generator.max_prompt_tokens}"
        )
    return kept
