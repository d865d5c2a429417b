"""Change the number of evaluators of a running training run.

    python -m launch.scale run=NAME evaluators=N [deadline_s=120]

The run then has exactly N evaluator actors until it ends; ``evaluator.min_actors`` and ``max_actors`` no longer apply.
Run the command on a node of the run's Ray cluster. It finds the run by ``cluster.json`` in the run directory, which
contains the address of the cluster and the name of the driver's ``ScalingMailbox``; the driver deletes the file when
the run ends.
"""

from __future__ import annotations

import logging

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import ScaleConfig
from conf.validation import parse_scale
from launch.command import Help, print_line, report_failures, run_command
from launch.records.run_path import find_run

HELP = Help(
    command="launch.scale",
    purpose="change the number of evaluators of a running training run.",
    usage=("python -m launch.scale run=NAME evaluators=N",),
    schema=ScaleConfig,
    config="command/scale",
    keys=("run", "evaluators", "deadline_s"),
)


@hydra.main(config_path="../conf/command", config_name="scale", version_base="1.3")
def main(values: DictConfig) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = Console(soft_wrap=True)
    with report_failures(console):
        settings = parse_scale(OmegaConf.to_container(values, resolve=True))
        path = find_run(settings.run)
        # Imported only now: Ray takes seconds, and a wrong name is reported before.
        from launch.cluster.scaling import scale_evaluators

        previous = scale_evaluators(path, settings)
        print_line(console, f"run {settings.run}: evaluators {previous} -> {settings.evaluators}")


if __name__ == "__main__":
    run_command(main, HELP)
