"""Examine the machines that a training run would use, and print what is missing.

python -m launch.doctor +experiment=lcb_v6 [key=value ...]
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import Config
from conf.validation import parse_config
from launch.command import Help, print_line, report_failures, run_command

HELP = Help(
    command="launch.doctor",
    purpose="examine the machines that a training run would use; exit status 1 if the run cannot work.",
    usage=(
        "python -m launch.doctor +experiment=lcb_v6",
        "python -m launch.doctor +experiment=lcb_v6 cluster.address=auto",
    ),
    schema=Config,
    config="config",
    keys=("model.path", "cluster.address", "generator.actors", "generator.device", "learner.ranks", "learner.device"),
    has_experiments=True,
)


def examine(config: Config, console: Console) -> int:
    """Examine the nodes, then reduce over all processes of the run; print what is found, return the exit status."""
    # Imported only now: torch, Ray and transformers take many seconds, and a wrong key is reported before.
    from launch.cluster.doctor.checks import Check
    from launch.cluster.doctor.collective import SUBJECT as COLLECTIVE
    from launch.cluster.doctor.collective import check_collective
    from launch.cluster.doctor.examination import examine_nodes
    from launch.cluster.doctor.report import print_checks
    from launch.cluster.placement import find_missing_resources, get_gpu_gib, plan_roles, resolve_devices
    from launch.cluster.ray_cluster import find_resources, ray_session, start_ray
    from launch.preflight import read_model_shape

    with ray_session():
        resources = find_resources(config)
        config = resolve_devices(config, resources)
        shape = read_model_shape(config, Path(config.model.path))
        roles = plan_roles(config, shape, get_gpu_gib(config, resources))
        missing = find_missing_resources(roles, config, resources)
        checks = [
            *examine_nodes(config, roles, shape),
            *(Check(node="all nodes", subject="plan", state="missing", detail=message) for message in missing),
        ]
        print_checks(checks, console)
        if missing:
            detail = "not tried, because resources are missing"
            collective = Check(node="all nodes", subject=COLLECTIVE, state="note", detail=detail)
        else:
            start_ray(config)
            collective = asyncio.run(check_collective(roles, config.cluster.placement_deadline_s))
        print_checks([collective], console)
    checks.append(collective)
    failed = sum(check.state == "missing" for check in checks)
    print_line(console, f"{failed} of {len(checks)} checks failed" if failed else "nothing is missing")
    return 1 if failed else 0


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def main(values: DictConfig) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = Console(soft_wrap=True)
    with report_failures(console):
        config = parse_config(OmegaConf.to_container(values, resolve=True))
        sys.exit(examine(config, console))


if __name__ == "__main__":
    run_command(main, HELP)
