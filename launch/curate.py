"""Curate a data set of training problems: collect, process, filter and verify, then write it with its manifest.

python -m launch.curate 'sources=[NAME|NAME:PATH|FILE|MAPPING.yaml, ...]' 'exclude=[BENCHMARK|FILE, ...]' output=DIR
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import CurateConfig
from conf.validation import parse_curate
from launch.command import Help, print_line, report_failures, run_command
from launch.curation.output_path import HOW_TO_RESUME, check_output
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import resolve_sources

HELP = Help(
    command="launch.curate",
    purpose="curate a data set of verified training problems from published sets and files.",
    usage=(
        "python -m launch.curate 'sources=[deepcoder,taco:FOLDER,my.jsonl]' 'exclude=[lcb_v6,humaneval]' output=DIR",
    ),
    schema=CurateConfig,
    config="command/curate",
    keys=(
        "sources",
        "exclude",
        "output",
        "strict",
        "max_tests",
        "keep_unverified",
        "cluster.address",
        "cluster.num_cpus",
    ),
)


@hydra.main(config_path="../conf/command", config_name="curate", version_base="1.3")
def main(values: DictConfig) -> None:
    console = Console(soft_wrap=True)
    with report_failures(console, HOW_TO_RESUME):
        config = parse_curate(OmegaConf.to_container(values, resolve=True))
        check_output(Path(config.output))
        sources = resolve_sources(config.sources, READERS)
        # Imported only now: Ray takes seconds, and a wrong path is reported before.
        from launch.curation.run import run_curation

        manifest = run_curation(config, sources, console)
        problems = manifest.stages["verify"].rows_out
        color = "green" if problems else "yellow"
        print_line(console, f"{config.output}: {problems:,} problems; README.md there has the numbers", color)


if __name__ == "__main__":
    run_command(main, HELP)
