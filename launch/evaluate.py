"""Evaluate a model: sample n answers per problem, judge them meanwhile, print and save a table of pass@k.

    python -m launch.evaluate model.path=PATH|HUB_ID dataset.name=lcb_v6 [key=value ...]

``launch.evaluation.model_evaluation`` lists the files that it writes.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import Config, ConfigError
from conf.validation import parse_config
from launch.command import Help, report_failures, run_command
from launch.models.model_path import check_model_path
from launch.problems.datasets import DatasetError, load_evaluation_set
from launch.records.run_path import check_run_directory_unused

HELP = Help(
    command="launch.evaluate",
    purpose="sample answers to the problems of a benchmark, judge them, print and save the table of pass@k.",
    usage=(
        "python -m launch.evaluate model.path=PATH|HUB_ID dataset.name=lcb_v6",
        "python -m launch.evaluate model.path=NAME generator.endpoint=http://HOST:8000/v1 dataset.name=humaneval",
    ),
    schema=Config,
    base_configs=("config",),
    config="evaluate",
    keys=(
        "model.path",
        "dataset.name",
        "dataset.held_out_path",
        "run.name",
        "run.resume",
        "evaluation.samples",
        "evaluation.temperature",
        "evaluation.max_response_tokens",
        "generator.endpoint",
        "dry_run",
    ),
    has_experiments=True,
)


@hydra.main(config_path="../conf", config_name="evaluate", version_base="1.3")
def main(values: DictConfig) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.ERROR)
    console = Console(soft_wrap=True)
    with report_failures(console):
        config = parse_config(OmegaConf.to_container(values, resolve=True), training=False)
        if config.evaluation.samples == 0:
            raise ConfigError("evaluation.samples=0: nothing to sample; set it to 1 or more")
        if config.dry_run:
            from launch.evaluation.model_evaluation import plan_evaluation_roles
            from launch.session import print_plan

            print_plan(config, plan_evaluation_roles, console)
            return
        if config.generator.endpoint is None:
            check_model_path(config.model.path)
        check_run_directory_unused(Path(config.run.root, config.run.name), config.run.resume)
        problems = load_evaluation_set(config.dataset)
        if problems is None:
            raise DatasetError(
                "no problems to evaluate on: set dataset.name=lcb_v6, humaneval, ... or dataset.held_out_path"
            )
        # Imported only now: Ray, vLLM and transformers take many seconds, and a wrong path is reported before.
        from launch.evaluation.model_evaluation import evaluate_model

        sys.exit(evaluate_model(config, problems, console))


if __name__ == "__main__":
    run_command(main, HELP)
