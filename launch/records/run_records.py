"""All records of a training run in one object: run directory, display, timeline, TensorBoard and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch.utils.tensorboard import SummaryWriter

from launch.records.display import Display
from launch.records.report_updates import ReportUpdates
from launch.records.run_directory import RunDirectory
from launch.records.timeline import Laps, Timeline


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecords:
    """Everything that a run writes or prints; ``tensorboard`` and ``report`` are None if there are none."""

    directory: RunDirectory
    display: Display
    timeline: Timeline
    tensorboard: SummaryWriter | None
    report: ReportUpdates | None

    def laps(self) -> Laps:
        """Start timing a step. Its laps are drawn in the timeline and shown as the display's phase."""
        return Laps(self.timeline, self.display.set_phase)

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Append a row of metrics, which has the key "step", to all records; update the report if it is due."""
        self.directory.append_metrics(row)
        if self.tensorboard is not None:
            for name, value in row.items():
                self.tensorboard.add_scalar(name, value, int(row["step"]))
        self.timeline.flush()
        if self.report is not None:
            self.report.start_if_due(int(row["step"]) + 1)
