"""Build of a run's report: static pages that a browser opens from a disk, without a server or a network.

    run directory ─► run_files, rollout_rows, evaluations ─► health, charts, step pages ─► templates ─► report/

    report/index.html     front page, complete without scripts except for its charts
    report/assets/        scripts, styles, Plotly's bundle
    report/data/*.js      charts, groups, and the pages of steps, loaded on demand

Whatever programs or models wrote is text: the template escapes it, and the scripts insert it as text nodes only. The
pages' policy (Content-Security-Policy) forbids inline scripts and connections.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import jinja2

from launch.records.terminal_text import escape_control_characters
from launch.run_report.charts import chart_to_json
from launch.run_report.evaluations import read_evaluations
from launch.run_report.front_charts import make_front_charts
from launch.run_report.front_page import make_front_page
from launch.run_report.health import find_problems
from launch.run_report.mask_conditions import list_mask_rules
from launch.run_report.report_folder import ReportFolder, open_report_folder
from launch.run_report.run_files import RunFiles, read_run_files
from launch.run_report.step_pages import Json, round_figure
from launch.run_report.step_records import StepRecord
from launch.run_report.step_writer import write_step_pages

SCRIPTS = (
    "data.js",
    "elements.js",
    "charts.js",
    "step_views.js",
    "sample_view.js",
    "problem_views.js",
    "search_view.js",
    "router.js",
)
STYLES = ("report.css",)
STEP_FIGURES = (
    "critic/rewards/mean",
    "diversity/distinct_4",
    "temperature/value",
    "response_length/mean",
    "truncation/rate",
    "truncation/masked",
    "group/all_solved",
    "group/none_solved",
    "actor/entropy",
    "timing_s/step",
)
"""Metrics in the list of steps."""

LOST_REASONS = ("deadline", "failed")
"""Ends of the metrics ``group/lost/*``: groups without verdicts, of which the rollouts have no rows."""


def build_report(path: Path, output: Path) -> Path:
    """Write or update the report of a run; return the path of its front page.

    Args:
        path: run directory, in any state; nothing in it is changed except ``output``.
        output: folder of the report.

    Raises:
        RunDirectoryError: the report cannot be written to ``output``.
    """
    with open_report_folder(output) as folder:
        _write_pages(read_run_files(path), folder)
    return output / "index.html"


def _write_pages(run: RunFiles, folder: ReportFolder) -> None:
    folder.copy_assets((*SCRIPTS, *STYLES))
    history = read_evaluations(run)
    pages = write_step_pages(run, folder)
    charts = make_front_charts(run, history)
    front = make_front_page(
        run,
        history,
        charts=charts,
        findings=find_problems(run.rows, run.config, history.learning),
        records=pages.records,
        notes=pages.notes,
    )
    folder.write_data(
        "front",
        {
            "charts": [chart_to_json(chart) for chart in charts],
            "steps": _list_steps(run, pages.records),
            "run": run_to_json(run),
        },
    )
    written = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    html = load_templates().get_template("run.html.j2").render(page=front, title=front.name, written=written)
    folder.write("index.html", html.encode("utf-8", "backslashreplace"))
    folder.remove_data(("front", *pages.names))


def load_templates() -> jinja2.Environment:
    """Return the templates; every value in them is escaped, and its control characters are visible."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("launch.run_report"),
        autoescape=True,
        finalize=lambda value: escape_control_characters(value, keep="\n\t") if isinstance(value, str) else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def run_to_json(run: RunFiles) -> Json:
    """Return the settings that explain the decisions shown with a completion."""
    mask = run.config.get("algorithm.truncation_mask")
    return {
        "name": run.name,
        "mask": mask if isinstance(mask, str) else None,
        "conditions": [rule.text for rule in list_mask_rules(run.config)],
    }


def _list_steps(run: RunFiles, records: tuple[StepRecord, ...]) -> list[Json]:
    """Return the figures of each step for the list of steps, and which of its texts are in the report."""
    levels = {record.step: record.level for record in records}
    rows = {int(row["step"]): row for row in run.training_rows}
    return [
        {
            "step": step,
            "level": levels.get(step),
            "figures": [round_figure(rows.get(step, {}).get(metric)) for metric in STEP_FIGURES],
            "lost": {reason: round_figure(rows.get(step, {}).get(f"group/lost/{reason}")) for reason in LOST_REASONS},
        }
        for step in sorted({*levels, *rows})
    ]
