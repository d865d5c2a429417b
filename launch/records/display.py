"""Display of a run: a live progress bar on a terminal, and one line per step on any output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Display:
    """Progress of a training run. A context manager, because the live progress bar must be stopped at the end."""

    def __init__(self, console: Console, steps: int, first_step: int) -> None:
        """Create the display.

        Args:
            console: where to print.
            steps: steps of the whole run.
            first_step: number of steps already done, in a resumed run.
        """
        self.console = console
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[phase]}", style="bold"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("steps", total=steps, completed=first_step, phase="starting", figures="")

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def print_line(self, text: str) -> None:
        """Print a line above the progress bar."""
        self.console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def set_phase(self, name: str) -> None:
        """Show ``name`` as the current phase of the step."""
        self.progress.update(self.task, phase=name)

    def show_generation_progress(self, done: int, total: int) -> None:
        """Show how many of the step's completions are judged."""
        self.set_phase(f"generate {done}/{total}")

    def show_step(self, row: Mapping[str, float]) -> None:
        """Print the line of a completed step, given its metrics, and advance the progress bar."""
        figures = f"reward {row['critic/rewards/mean']:.3f}  D {format_diversity(row)}"
        self.progress.update(self.task, advance=1, figures=figures)
        self.print_line(format_step(row))


@contextlib.contextmanager
def show_answer_progress(console: Console, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show how many answers are judged: a live bar on a terminal, a line per tenth of ``total`` on other outputs.

    Yields:
        A function (done, total) to call after each answer.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("answers judged"),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("answers", total=total)

        def report_progress(done: int, total: int) -> None:
            progress.update(task, completed=done)
            if not console.is_terminal and done * 10 // total > (done - 1) * 10 // total:
                console.print(f"{done} of {total} answers judged", highlight=False)

        yield report_progress


def format_step(row: Mapping[str, float]) -> str:
    """Return the one-line summary of a step, given its metrics."""
    return (
        f"step {row['step']:>4.0f}  reward {row['critic/rewards/mean']:.3f}  "
        f"diversity {format_diversity(row)}  "
        f"length {row['response_length/mean']:5.1f}  truncated {row['truncation/rate']:.3f}  "
        f"masked {row['truncation/masked']:.3f}  "
        f"clip {row['actor/pg_clipfrac_higher']:.4f}/{row['actor/pg_clipfrac_lower']:.4f}  "
        f"entropy {row['actor/entropy']:.3f}  grad {row['actor/grad_norm']:.2f}  "
        f"{row['perf/throughput']:5.0f} tok/s  {row['timing_s/step']:.1f} s "
        f"(gen {row['timing_s/gen']:.1f}, reward {row['timing_s/reward']:.1f}, "
        f"update {row['timing_s/old_log_prob'] + row['timing_s/update_actor']:.1f}, "
        f"weights {row['timing_s/update_weights']:.1f})"
    )


def format_diversity(row: Mapping[str, float]) -> str:
    """Format the diversity D of a row; "none" if no response of the step has four tokens."""
    return f"{row['diversity/distinct_4']:.2f}" if "diversity/distinct_4" in row else "none"
