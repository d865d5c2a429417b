"""Train a model: compose the configuration, start the actors, run the training loop, print a summary.

python -m launch.driver +experiment=quickstart [key=value ...]
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import Config
from conf.validation import parse_config
from launch.command import Help, print_line, report_failures, run_command
from launch.curation.training_set import describe_training_set, provide_training_set
from launch.models.model_path import check_model_path
from launch.problems.datasets import load_dataset
from launch.records.run_path import check_run_directory_unused
from learner.reward import load_reward

HELP = Help(
    command="launch.driver",
    purpose="train a code model with MicroCoder-GRPO.",
    usage=(
        "python -m launch.driver +experiment=quickstart",
        "python -m launch.driver +experiment=lcb_v6 model.path=PATH|HUB_ID",
        "python -m launch.driver +experiment=lcb_v6 model.path=PATH|HUB_ID dataset.path=problems.jsonl",
        "python -m launch.driver +experiment=lcb_v6 run.name=NAME run.resume=true",
    ),
    schema=Config,
    config="config",
    keys=(
        "run.name",
        "run.steps",
        "run.resume",
        "model.path",
        "dataset.path",
        "dataset.train",
        "dataset.held_out_path",
        "generator.max_response_tokens",
        "learner.learning_rate",
        "dry_run",
    ),
    has_experiments=True,
)


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def main(values: DictConfig) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = Console(soft_wrap=True)
    with report_failures(console):
        config = parse_config(OmegaConf.to_container(values, resolve=True))
        load_reward(config.algorithm.reward)  # reports an unknown reward now instead of after the start of all actors
        if config.dry_run:
            from launch.cluster.placement import plan_roles
            from launch.session import print_plan

            training_set = describe_training_set(config.dataset)
            print_plan(config, plan_roles, console)
            for line in training_set:
                print_line(console, line, "yellow" if line.startswith("missing: ") else None)
            return
        check_model_path(config.model.path)
        check_run_directory_unused(Path(config.run.root, config.run.name), config.run.resume)
        curated = provide_training_set(config, console)
        dataset = load_dataset(config.dataset, curated)
        if curated is not None:  # for the records of the run
            config = replace(config, dataset=replace(config.dataset, path=str(curated)))
        # Imported only now: torch, Ray and transformers take many seconds, and a wrong path is reported before.
        from launch.training.start import run_training

        run_training(config, dataset, console)


if __name__ == "__main__":
    run_command(main, HELP)
