"""View ``summary``: state, verdict, gains, last figures, what looks wrong, best checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from evaluator.pass_at_k import Estimate
from launch.records.gains import Gain, format_change, format_score
from launch.run_report.evaluations import EvaluationPoint, read_evaluations
from launch.run_report.health import Finding, find_problems
from launch.run_report.run_files import RunFiles, RunState, convert_to_number, read_run_files
from launch.run_report.text_views.formatting import (
    Justify,
    format_number,
    indent,
    make_facts,
    make_line,
    make_notes,
    make_section,
    make_table,
    make_title,
)
from launch.run_report.text_views.health import make_finding_lines

SETTINGS = (
    "model.path",
    "dataset.name",
    "dataset.path",
    "run.seed",
    "algorithm.train_batch_size",
    "algorithm.group_size",
    "algorithm.truncation_mask",
    "temperature.kind",
)
"""Keys of the configuration that are shown."""
FIGURES: dict[str, tuple[str, int]] = {
    "critic/rewards/mean": ("mean reward", 3),
    "group/all_solved": ("groups all solved", 3),
    "group/none_solved": ("groups none solved", 3),
    "diversity/distinct_4": ("diversity D", 3),
    "temperature/value": ("temperature", 2),
    "response_length/mean": ("mean length", 1),
    "truncation/rate": ("truncated", 3),
    "truncation/masked": ("masked", 3),
    "actor/entropy": ("entropy", 3),
    "actor/grad_norm": ("gradient norm", 3),
    "mismatch/kl": ("mismatch KL", 5),
    "perf/throughput": ("tokens/s", 0),
    "timing_s/step": ("seconds", 1),
}
"""Metrics of the last step, each with its label and decimals."""

NO_VERDICT = "none: it takes two evaluations at the evaluation's own temperature"


@dataclass(frozen=True)
class Change:
    """A score before and after training, and the paired difference, each with its interval."""

    before: Estimate
    after: Estimate
    difference: Estimate

    def format(self) -> Text:
        """Return the means on one line and the difference on the next."""
        means = f"{self.before.mean:.3f} → {self.after.mean:.3f}"
        return Text(f"{means}\n{format_change(self.difference)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GainRow:
    """A ``Gain`` with named scores."""

    part: str
    temperature: float
    problems: int
    clusters: int
    k: int
    pass_at_1: Change
    pass_at_k: Change
    from_style: float
    from_accuracy: float

    def format_cells(self) -> list[Text]:
        """Return the cells of the table of gains."""
        families = f" of {self.clusters} families" if self.clusters < self.problems else ""
        return [
            Text.assemble(make_line(self.part), f"\n{self.problems}{families}"),
            Text(f"{self.temperature:g}"),
            self.pass_at_1.format(),
            self.pass_at_k.format(),
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryView:
    """Summary of a run; None is unknown.

    Attributes:
        steps_done: training steps in metrics.jsonl.
        steps_planned: ``run.steps``.
        settings: values of some keys of the configuration.
        verdict: verdict with its reasons; None before there are two evaluations.
        first_evaluation: steps before the evaluation that the verdict compares with.
        last_evaluation: steps before the evaluation that is compared with it.
        untrained_temperature: temperature at which the untrained policy is best.
        trained_minus_best_untrained: difference in pass@1.
        gains: changes of each part of the problems at each temperature.
        evaluations: scores of all evaluations.
        last_step: step of ``figures``.
        figures: metrics of the last training step.
        findings: what looks wrong.
        best_checkpoint: step, metric and value; None if there is none.
        notes: what could not be read.
    """

    name: str
    path: str
    state: RunState
    steps_done: int
    steps_planned: int | None
    settings: dict[str, Any]
    verdict: str | None
    first_evaluation: int | None
    last_evaluation: int | None
    untrained_temperature: float | None
    trained_minus_best_untrained: Estimate | None
    gains: tuple[GainRow, ...]
    evaluations: tuple[EvaluationPoint, ...]
    last_step: int | None
    figures: dict[str, float | None]
    findings: tuple[Finding, ...]
    best_checkpoint: dict[str, Any] | None
    notes: tuple[str, ...]

    def render(self) -> RenderableType:
        """Return the view for a terminal."""
        planned = "" if self.steps_planned is None else f" of {self.steps_planned}"
        parts: list[RenderableType] = [
            make_title(f"run {self.name}: {self.state}, {self.steps_done}{planned} steps"),
            make_line(self.path, "dim"),
            make_section("verdict", indent(make_line(self.verdict or NO_VERDICT)), *self._render_comparison()),
            self._render_scores(),
            self._render_figures(),
            make_section("what looks wrong", *make_finding_lines(self.findings)),
            make_section("best checkpoint", indent(make_line(self._describe_best()))),
            make_section("settings", make_facts({key: _to_text(value) for key, value in self.settings.items()})),
            *make_notes(self.notes),
        ]
        return Group(*parts)

    def _render_comparison(self) -> list[RenderableType]:
        if self.trained_minus_best_untrained is None:
            return []
        difference = format_change(self.trained_minus_best_untrained)
        facts = {
            "evaluations compared": f"after {self.first_evaluation} and after {self.last_evaluation} steps",
            f"trained - untrained at its best, T {self.untrained_temperature:g}": difference,
        }
        return [make_facts(facts)]

    def _describe_best(self) -> str | None:
        if self.best_checkpoint is None:
            return None
        value = self.best_checkpoint["value"]
        number = convert_to_number(value)  # None also for a whole number that is too large for a float
        shown = _to_text(value) if number is None else format_number(number)
        return f"step {self.best_checkpoint['step']}: {self.best_checkpoint['metric']} {shown}"

    def _render_figures(self) -> RenderableType:
        heading = "last step" if self.last_step is None else f"last step: {self.last_step}"
        facts = {label: format_number(self.figures[name], digits) for name, (label, digits) in FIGURES.items()}
        return make_section(heading, make_facts(dict(facts)))

    def _render_scores(self) -> RenderableType:
        if self.gains:
            k = min(gain.k for gain in self.gains)
            headings = ("problems", "T", "pass@1", *([f"pass@{k}"] if k > 1 else []))
            columns: dict[str, Justify] = dict.fromkeys(headings, "left")
            rows = [gain.format_cells()[: len(headings)] for gain in self.gains]
            return make_section("held-out problems, before → after training [95 % interval]", make_table(columns, rows))
        last = max((point.step for point in self.evaluations), default=None)
        points = [
            (make_line(point.part), f"{point.temperature:g}", str(point.problems), format_score(point.pass_at_1))
            for point in self.evaluations
            if point.step == last
        ]
        heading = "evaluation" if last is None else f"evaluation after {last} steps [95 % interval]"
        return make_section(heading, make_table(dict.fromkeys(("problems", "T", "number", "pass@1"), "left"), points))


def read_verdict(run: Path) -> str:
    """Return the verdict on a run directory, or why there is none."""
    learning = read_evaluations(read_run_files(run)).learning
    return NO_VERDICT if learning is None else learning.verdict


def make_summary(run: RunFiles) -> SummaryView:
    """Make the summary of a run."""
    history = read_evaluations(run)
    learning = history.learning
    rows = run.training_rows
    planned = run.config.get_number("run.steps")
    return SummaryView(
        name=run.name,
        path=str(run.path),
        state=run.state,
        steps_done=len(rows),
        steps_planned=None if planned is None else int(planned),
        settings={key: run.config.get(key) for key in SETTINGS},
        verdict=None if learning is None else learning.verdict,
        first_evaluation=None if learning is None else learning.first_step,
        last_evaluation=None if learning is None else learning.last_step,
        untrained_temperature=None if learning is None else learning.best.temperature,
        trained_minus_best_untrained=None if learning is None else learning.best.difference,
        gains=() if learning is None else tuple(_make_gain_row(gain) for gain in learning.gains),
        evaluations=history.points,
        last_step=int(rows[-1]["step"]) if rows else None,
        figures={name: rows[-1].get(name) if rows else None for name in FIGURES},
        findings=tuple(find_problems(run.rows, run.config, learning)),
        best_checkpoint=None if run.best is None else asdict(run.best),
        notes=(*run.notes, *history.notes),
    )


def _make_gain_row(gain: Gain) -> GainRow:
    return GainRow(
        part=gain.part,
        temperature=gain.temperature,
        problems=gain.problems,
        clusters=gain.clusters,
        k=gain.k,
        pass_at_1=Change(*gain.pass_at_1),
        pass_at_k=Change(*gain.pass_at_k),
        from_style=gain.from_style,
        from_accuracy=gain.from_accuracy,
    )


def _to_text(value: object) -> str | None:
    return None if value is None else str(value)
