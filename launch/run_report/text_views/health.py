"""View ``health``: the findings of all rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from launch.run_report.evaluations import read_evaluations
from launch.run_report.health import Finding, find_problems
from launch.run_report.run_files import RunFiles
from launch.run_report.text_views.formatting import indent, make_line, make_notes, make_title

STYLES = {"problem": "bold red", "warning": "yellow"}


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthView:
    """Findings of a run, problems first.

    Attributes:
        steps: number of training steps that were examined.
        notes: what could not be read.
    """

    name: str
    steps: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def render(self) -> RenderableType:
        """Return the view for a terminal."""
        title = make_title(f"health of run {self.name}: {self.steps} steps examined")
        return Group(title, Text(), *make_finding_lines(self.findings), *make_notes(self.notes))


def make_health(run: RunFiles) -> HealthView:
    """Make the view of a run's health."""
    history = read_evaluations(run)
    return HealthView(
        name=run.name,
        steps=len(run.training_rows),
        findings=tuple(find_problems(run.rows, run.config, history.learning)),
        notes=(*run.notes, *history.notes),
    )


def make_finding_lines(findings: Sequence[Finding]) -> list[RenderableType]:
    """Return each finding with its step, its advice and the metric to look at."""
    if not findings:
        return [indent(Text("nothing found", "dim"))]
    lines: list[RenderableType] = []
    for finding in findings:
        head = Text.assemble(
            (finding.severity, STYLES[finding.severity]),
            make_line(f", step {finding.step}, {finding.rule}: {finding.text}"),
        )
        advice = make_line(f"{finding.advice} [{finding.metric}]", "dim")
        lines += [
            indent(head),
            indent(advice, 2),
        ]
    return lines
