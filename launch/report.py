"""Report on a training run: HTML pages, a comparison of runs, or views of a run as text or JSON.

python -m launch.report run=runs/NAME [output=DIR] [show=[summary,step:70]] [format=json]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from conf.schema import ReportConfig
from conf.validation import parse_report
from launch.command import Help, print_line, report_failures, run_command
from launch.records.run_path import RECORDS, find_run, find_runs
from launch.records.terminal_text import escape_control_characters
from launch.run_report.text_views.items import parse_items
from launch.run_report.text_views.output import show_items
from launch.run_report.text_views.summary import read_verdict

HELP = Help(
    command="launch.report",
    purpose="write the report of a run as HTML pages, compare runs, or print views of a run.",
    usage=(
        "python -m launch.report run=runs/NAME",
        "python -m launch.report 'runs=[NAME1,NAME2]' output=DIR",
        "python -m launch.report run=NAME 'show=[summary,health,slow,step:70]' [format=json]",
        "python -m launch.report run=NAME 'show=[problem:starter/x/0000,sample:70/starter/x/0000/3]'",
        """python -m launch.report run=NAME 'show=["sample:70/an id with spaces, or commas/3"]'""",
    ),
    schema=ReportConfig,
    config="command/report",
    keys=("run", "output", "runs", "show", "format"),
)


@hydra.main(config_path="../conf/command", config_name="report", version_base="1.3")
def main(values: DictConfig) -> None:
    # Not resolved: a question id may contain what looks like an interpolation.
    given: Any = OmegaConf.to_container(values)
    console = Console(soft_wrap=True, stderr=given["format"] == "json")  # stdout has nothing but the JSON object
    with report_failures(console, "start the command again"):
        settings = parse_report(given)
        items = parse_items(settings.show)
        if settings.run is None:
            write_comparison(settings, console)
        elif items:
            show_items(find_run(settings.run, RECORDS), items, settings.format)
        else:
            write_report(find_run(settings.run, RECORDS), settings, console)


def write_report(run: Path, settings: ReportConfig, console: Console) -> None:
    """Write the pages of a run; print the path of the front page, and the verdict."""
    from launch.run_report.build import build_report  # only now: libraries for charts take long to import

    index = build_report(run, run / "report" if settings.output is None else Path(settings.output))
    print_line(console, escape_control_characters(str(index)))
    print_line(console, f"verdict: {read_verdict(run)}")


def write_comparison(settings: ReportConfig, console: Console) -> None:
    """Write the pages that compare runs, and print the path of the front page."""
    runs = find_runs(settings.runs, RECORDS)
    from launch.run_report.comparison_page import build_comparison  # only now: as in ``write_report``

    assert settings.output is not None  # parse_report requires it
    print_line(console, escape_control_characters(str(build_comparison(runs, Path(settings.output)))))


if __name__ == "__main__":
    run_command(main, HELP)
