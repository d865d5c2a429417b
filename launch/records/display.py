"""What a person sees: a live progress bar on a terminal, one readable line a step anywhere, and a summary."""

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
    """Shows the progress of a run; a context manager, because the live part must end cleanly."""

    def __init__(self, console: Console, steps: int, first_step: int) -> None:
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

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def phase(self, name: str) -> None:
        """What is going on now."""
        self.progress.update(self.task, phase=name)

    def sampling(self, done: int, total: int) -> None:
        """How many of the step's completions are judged."""
        self.phase(f"generate {done}/{total}")

    def step(self, row: Mapping[str, float]) -> None:
        """A step is done: one line, and the bar moves on."""
        figures = f"reward {row['critic/rewards/mean']:.3f}  D {row['diversity/distinct_4']:.2f}"
        self.progress.update(self.task, advance=1, figures=figures)
        self.say(step_line(row))


@contextlib.contextmanager
def answers_display(console: Console, total: int) -> Iterator[Callable[[int, int], None]]:
    """Shows how many of ``total`` answers are judged: a live bar on a terminal, elsewhere a line every tenth of them.

    Yields what to call with (done, total).
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

        def finished(done: int, total: int) -> None:
            progress.update(task, completed=done)
            if not console.is_terminal and done * 10 // total > (done - 1) * 10 // total:
                console.print(f"{done} of {total} answers judged", highlight=False)

        yield finished


def step_line(row: Mapping[str, float]) -> str:
    """One step in one line."""
    return (
        f"step {row['step']:>4.0f}  reward {row['critic/rewards/mean']:.3f}  "
        f"diversity {row['diversity/distinct_4']:.2f}  "
        f"length {row['response_length/mean']:5.1f}  truncated {row['truncation/rate']:.3f}  "
        f"masked {row['truncation/masked']:.3f}  "
        f"clip {row['actor/pg_clipfrac_higher']:.4f}/{row['actor/pg_clipfrac_lower']:.4f}  "
        f"entropy {row['actor/entropy']:.3f}  grad {row['actor/grad_norm']:.2f}  "
        f"{row['perf/throughput']:5.0f} tok/s  {row['timing_s/step']:.1f} s "
        f"(gen {row['timing_s/gen']:.1f}, reward {row['timing_s/reward']:.1f}, "
        f"update {row['timing_s/old_log_prob'] + row['timing_s/update_actor']:.1f}, "
        f"weights {row['timing_s/update_weights']:.1f})"
    )
