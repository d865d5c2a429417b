"""Give a live run another number of evaluators.

    python -m launch.scale run=NAME evaluators=N [deadline_s=120]

The run then has exactly N evaluator actors, whatever ``evaluator.min_actors`` and ``max_actors`` say, until it ends.
Start it on a node of the run's Ray cluster. The driver wrote the cluster's address, and the name under which its
``ScalingMailbox`` is found there, into ``cluster.json`` of the run directory; it is removed when the run ends.
"""

from __future__ import annotations

import logging

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import ScaleConfig
from conf.validation import parse_scale
from launch.command import Help, failures_reported, run_command, tell
from launch.records.run_path import find_run

HELP = Help(
    command="launch.scale",
    purpose="give a live run another number of evaluators.",
    usage=("python -m launch.scale run=NAME evaluators=N",),
    settings=ScaleConfig,
    config="command/scale",
    keys=("run", "evaluators", "deadline_s"),
)


@hydra.main(config_path="../conf/command", config_name="scale", version_base="1.3")
def main(values: DictConfig) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = Console(soft_wrap=True)
    with failures_reported(console):
        settings = parse_scale(OmegaConf.to_container(values, resolve=True))
        path = find_run(settings.run)
        # Imported here: Ray takes seconds, in which a wrong name is not reported.
        from launch.cluster.scaling import scale

        before = scale(path, settings)
        tell(console, f"run {settings.run}: evaluators {before} -> {settings.evaluators}")


if __name__ == "__main__":
    run_command(main, HELP)
