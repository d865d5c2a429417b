"""The driver: one command that composes the configuration, starts the actors and trains.

python -m launch.driver +experiment=quickstart [key=value ...]
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import ray
import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from transformers import AutoTokenizer

from actors.shutdown import stop_all
from actors.weight_transfer import TransferSettings, open_transfer
from conf.schema import Config, parse_config
from evaluator.problem import Problem
from launch.command import failures_told, tell
from launch.datasets import Dataset, DatasetError, load_dataset
from launch.display import Display, placement_table
from launch.evaluation import answer_tokens, in_flight, in_judgement
from launch.placement import Part, lacking, local_resources, pick_device, plan
from launch.prompts import prompt_style, prompted
from launch.roles import (
    evaluator_pool,
    generator_pool,
    learner_group,
    local_model,
    parameters_of,
    refuse_what_is_lacking_here,
    refuse_what_no_context_holds,
    start_ray,
)
from launch.run import Run
from launch.run_directory import RunDirectory
from launch.sampling import PromptedProblem
from launch.scale import open_to_scaling
from launch.scores import Scores, table
from launch.summary import summary
from launch.timeline import Timeline
from launch.train import train
from launch.weights import Weights


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def main(values: DictConfig) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = Console(soft_wrap=True)
    with failures_told(console):
        config = parse_config(OmegaConf.to_container(values, resolve=True))
        if config.dry_run:
            show_plan(config, plan(config, parameters_of(config, Path(config.model.path))), console)
        else:
            launch(config, console)


def show_plan(config: Config, parts: list[Part], console: Console) -> None:
    """``dry_run=true``: the resolved configuration, the placement plan, and what is lacking here."""
    tell(console, yaml.safe_dump(asdict(config), sort_keys=False))
    console.print(placement_table(parts))
    parameters = parameters_of(config, Path(config.model.path))
    tell(console, f"model: {config.model.path}, {parameters / 1e6:.1f}M parameters")
    missing = lacking(parts, config, local_resources(config)) if config.cluster.address is None else []
    for sentence in missing:
        tell(console, f"lacking here: {sentence}", "yellow")


def launch(config: Config, console: Console) -> None:
    """Check everything that can be checked, start the cluster and the actors, train, and stop them again."""
    dataset = load_dataset(config.dataset)
    for remark in (*dataset.remarks, *(f"skipped: {row}" for row in dataset.rejected[:10])):
        tell(console, remark, "yellow")
    if not Path(config.model.path).is_dir():
        # Before minutes go into building or fetching a model that does not fit.
        refuse_what_is_lacking_here(plan(config, parameters_of(config, Path(config.model.path))), config)
    model = local_model(config, console)
    parts = plan(config, parameters_of(config, model))
    refuse_what_is_lacking_here(parts, config)
    refuse_what_no_context_holds(config, model)
    directory = RunDirectory(config)
    try:
        start_ray(config, parts)
        scores = asyncio.run(run_actors(config, model, dataset, directory, console))
    finally:
        ray.shutdown()
    console.print(summary(directory.path, config))
    if scores is not None:
        console.print(table(scores))


async def run_actors(
    config: Config, model: Path, dataset: Dataset, directory: RunDirectory, console: Console
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
        calls = concurrency(config)
        longest = max(config.generator.max_response_tokens, answer_tokens(config))
        generators = generator_pool(config, model, calls, config.generator.max_prompt_tokens + longest)
        evaluators = evaluator_pool(config)
        learner = learner_group(config, model)
        weights: asyncio.Future[Weights] = asyncio.get_running_loop().create_future()

        async def admit(name: str, generator: Any) -> None:
            await (await weights).admit(name, generator)

        try:
            checkpoint = str(directory.checkpoint.absolute()) if directory.checkpoint else None
            display.phase("starting learner and engines")
            missing, *_ = await asyncio.gather(
                evaluators.start(config.generator.start_deadline_s),
                generators.start(config.generator.start_deadline_s, admit),
                learner.start(config.learner.start_deadline_s, checkpoint),
            )
            if missing:
                display.say(f"programs are fenced less than they could be: their host refuses {', '.join(missing)}")
            wanted = config.weight_transfer
            transfer = await open_transfer(
                learner.actors,
                generators.live,
                wanted.backend,
                (learner.settings.device, pick_device(config.generator.device)),
                TransferSettings(config.model.dtype, wanted.bucket_mb, wanted.checksum, wanted.deadline_s),
            )
            weights.set_result(Weights(learner, transfer, generators, display, directory.first_step))
            run = Run(
                config,
                generators,
                evaluators,
                learner,
                weights.result(),
                training,
                held_out,
                directory,
                display,
                tokenizer,
                resumed,
                Timeline(directory.path),
                directory.tensorboard(),
            )
            with open_to_scaling(directory.path, evaluators):
                return await train(run)
        finally:
            display.phase("stopping")
            generators.close()
            await evaluators.stop()
            stop_all([*generators.actors, *evaluators.actors, *learner.actors])


def fitting(problems: Sequence[Problem], tokenizer: object, config: Config, display: Display) -> list[PromptedProblem]:
    """The problems with their prompts, less those whose prompt is too long, which are counted."""
    kept = prompted(problems, tokenizer, prompt_style(config.dataset), config.generator.max_prompt_tokens)
    if len(kept) < len(problems):
        display.say(
            f"{len(problems) - len(kept)} of {len(problems)} problems left out: prompt over "
            f"generator.max_prompt_tokens={config.generator.max_prompt_tokens}"
        )
    return kept


def concurrency(config: Config) -> int:
    """Calls in flight per actor at most: a whole step, or what an evaluation has under way."""
    step = config.algorithm.train_batch_size * config.algorithm.group_size
    return max(step, in_flight(config), in_judgement(config)) + 8


if __name__ == "__main__":
    main()
