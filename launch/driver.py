"""The driver: one command that composes the configuration, starts the actors and trains.

python -m launch.driver +experiment=quickstart [key=value ...]
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import hydra
import ray
import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from transformers import AutoTokenizer

from conf.schema import Config
from conf.validation import parse_config
from evaluator.problem import Problem
from launch.cluster.placement import Part, decide_devices, lacking, plan
from launch.cluster.pools import (
    find_resources,
    local_model,
    parameters_of,
    refuse_what_is_lacking,
    refuse_what_no_context_holds,
    start_ray,
)
from launch.cluster.reservation import bundles, cluster_nodes, reserve
from launch.cluster.shared_files import refuse_what_nodes_do_not_see
from launch.command import failures_told, tell
from launch.evaluation.scores import Scores, table
from launch.problems.datasets import Dataset, DatasetError, load_dataset
from launch.problems.prompts import prompt_style, prompted
from launch.records.display import Display, nodes_table, placement_table, reservation_table
from launch.records.run_directory import RunDirectory
from launch.records.summary import summary
from launch.records.timeline import Timeline
from launch.scale import open_to_scaling
from launch.training.run import Run
from launch.training.sampling import PromptedProblem
from launch.training.team import make_team
from launch.training.train import train


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def main(values: DictConfig) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = Console(soft_wrap=True)
    with failures_told(console):
        config = parse_config(OmegaConf.to_container(values, resolve=True))
        if config.dry_run:
            show_plan(config, plan, console)
        else:
            launch(config, console)


def show_plan(config: Config, roles: Callable[[Config, int], list[Part]], console: Console) -> None:
    """``dry_run=true``: the resolved configuration, the placement plan of ``roles``, and what is lacking.

    On a running cluster the plan's room is reserved, shown and given back.
    """
    try:
        resources = find_resources(config)
        decided = decide_devices(config, resources)
        parameters = parameters_of(config, Path(config.model.path))
        parts = roles(decided, parameters)
        tell(console, yaml.safe_dump(asdict(config), sort_keys=False))
        console.print(placement_table(parts))
        tell(console, f"model: {config.model.path}, {parameters / 1e6:.1f}M parameters")
        missing = lacking(parts, decided, resources)
        for sentence in missing:
            tell(console, f"lacking: {sentence}", "yellow")
        if config.cluster.address is not None and not missing:
            asyncio.run(show_room(parts, config.cluster.placement_deadline_s, console))
    finally:
        ray.shutdown()


async def show_room(parts: list[Part], deadline_s: float, console: Console) -> None:
    """Reserve what ``parts`` take on the running cluster, say where it was, give it back. Raises PlacementError."""
    console.print(nodes_table(cluster_nodes()))
    if bundles(parts):
        reservation = await reserve(parts, deadline_s)
        try:
            console.print(reservation_table(reservation.nodes(), cluster_nodes()))
        finally:
            reservation.release()


def launch(config: Config, console: Console) -> None:
    """Check everything that can be checked, start the cluster and the actors, train, and stop them again."""
    try:
        resources = find_resources(config)
        config = decide_devices(config, resources)
        dataset = load_dataset(config.dataset)
        for remark in (*dataset.remarks, *(f"skipped: {row}" for row in dataset.rejected[:10])):
            tell(console, remark, "yellow")
        if not Path(config.model.path).is_dir():
            # Before minutes go into building or fetching a model that does not fit.
            planned = plan(config, parameters_of(config, Path(config.model.path)))
            refuse_what_is_lacking(planned, config, resources)
        model = local_model(config, console)
        parts = plan(config, parameters_of(config, model))
        refuse_what_is_lacking(parts, config, resources)
        refuse_what_no_context_holds(config, model)
        directory = RunDirectory(config)
        start_ray(config)
        scores = asyncio.run(run_actors(config, parts, model, dataset, directory, console))
    finally:
        ray.shutdown()
    console.print(summary(directory.path, config))
    if scores is not None:
        console.print(table(scores))


async def run_actors(
    config: Config, parts: list[Part], model: Path, dataset: Dataset, directory: RunDirectory, console: Console
) -> Scores | None:
    """Start every role, train, and stop every role, whatever happens. Returns the last evaluation's scores."""
    resumed = directory.driver_state()
    this = asyncio.current_task()
    assert this is not None  # a coroutine that runs has a task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    with Display(console, config.run.steps, directory.first_step) as display:
        tokenizer = AutoTokenizer.from_pretrained(model)
        training = fitting(dataset.training, tokenizer, config, display)
        held_out = fitting(dataset.held_out, tokenizer, config, display)
        if not training:
            raise DatasetError("every prompt is longer than generator.max_prompt_tokens: raise it")
        display.phase("reserving room")
        reservation = await reserve(parts, config.cluster.placement_deadline_s)
        if config.cluster.address is not None:
            await refuse_what_nodes_do_not_see(reservation, model, directory.path)
        team = make_team(config, model, reservation)
        try:
            run = Run(
                config,
                team.generators,
                team.evaluators,
                team.learner,
                await team.start(config, directory, display),
                training,
                held_out,
                directory,
                display,
                tokenizer,
                resumed,
                Timeline(directory.path),
                directory.tensorboard(),
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


if __name__ == "__main__":
    main()
