"""Train: compose the configuration, start the actors, run the training loop, print what came out.

python -m launch.driver +experiment=quickstart [key=value ...]
"""

from __future__ import annotations

import logging
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import Config
from conf.validation import parse_config
from launch.command import Help, failures_reported, run_command
from launch.models.model_path import check_model_path
from launch.problems.datasets import load_dataset
from launch.records.run_path import check_unused

HELP = Help(
    command="launch.driver",
    purpose="train a code model with MicroCoder-GRPO.",
    usage=(
        "python -m launch.driver +experiment=quickstart",
        "python -m launch.driver +experiment=lcb_v6 model.path=PATH|HUB_ID dataset.path=problems.jsonl",
        "python -m launch.driver +experiment=lcb_v6 run.name=NAME run.resume=true",
    ),
    settings=Config,
    config="config",
    keys=(
        "run.name",
        "run.steps",
        "run.resume",
        "model.path",
        "dataset.path",
        "dataset.held_out_path",
        "generator.max_response_tokens",
        "algorithm.train_batch_size",
        "learner.learning_rate",
        "dry_run",
    ),
    experiments=True,
)


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def main(values: DictConfig) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = Console(soft_wrap=True)
    with failures_reported(console):
        config = parse_config(OmegaConf.to_container(values, resolve=True))
        if config.dry_run:
            from launch.cluster.placement import plan
            from launch.session import show_plan

            show_plan(config, plan, console)
            return
        check_model_path(config.model.path)
        check_unused(Path(config.run.root, config.run.name), config.run.resume)
        dataset = load_dataset(config.dataset)
        # Imported here: torch, Ray and transformers take many seconds, in which a wrong path is not reported.
        from launch.training.start import run_training

        run_training(config, dataset, console)


if __name__ == "__main__":
    run_command(main, HELP)
