"""Export a checkpoint of a run as a model directory that transformers and vLLM load.

python -m launch.export run=runs/NAME [step=N|best|last] output=DIR [dtype=bfloat16] [overwrite=true]
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import ExportConfig
from conf.validation import parse_export
from launch.command import Help, print_line, report_failures, run_command
from launch.models.export_path import check_output
from launch.records.run_path import check_training_run

HELP = Help(
    command="launch.export",
    purpose="write a checkpoint of a run as a model directory that transformers and vLLM load.",
    usage=("python -m launch.export run=runs/NAME step=best output=DIR",),
    schema=ExportConfig,
    config="command/export",
    keys=("run", "step", "output", "dtype", "overwrite"),
)


@hydra.main(config_path="../conf/command", config_name="export", version_base="1.3")
def main(values: DictConfig) -> None:
    console = Console(soft_wrap=True)
    with report_failures(console):
        settings = parse_export(OmegaConf.to_container(values, resolve=True))
        check_output(Path(settings.output), settings.overwrite)
        check_training_run(Path(settings.run))
        # Imported only now: torch and transformers take seconds, and a wrong path is reported before.
        from launch.models.export import export_checkpoint

        checkpoint = export_checkpoint(settings)
        print_line(console, f"{checkpoint} exported to {settings.output}")


if __name__ == "__main__":
    run_command(main, HELP)
