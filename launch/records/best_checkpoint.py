"""Selection of a run's best checkpoint: the one with the highest pass@1 in the run's own evaluations.

The evaluation of version s takes place before step s, on the weights in the checkpoint of step s. Version 0 is the
initial model; it has no checkpoint and cannot be selected.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from conf.schema import Config


@dataclass(frozen=True)
class BestCheckpoint:
    """Best checkpoint: its step, and the metric that selected it with its value."""

    step: int
    metric: str
    value: float


def get_selection_metric(config: Config) -> str:
    """Return the name of the metric that selects the best checkpoint: pass@1 of all evaluation problems."""
    return f"evaluation/{config.dataset.name or 'held_out'}/all/all/pass@1"


def select_best_checkpoint(
    rows: Iterable[Mapping[str, float]], metric: str, saved_steps: Collection[int], previous: BestCheckpoint | None
) -> BestCheckpoint | None:
    """Return the best of the saved checkpoints, the earliest if several are equal; None if none was evaluated.

    Args:
        rows: rows of metrics.jsonl.
        metric: name of the metric.
        saved_steps: steps of the existing checkpoints.
        previous: best checkpoint so far. Its row may be missing in ``rows``: a resumed run repeats that step.
    """
    values = {previous.step: previous.value} if previous is not None and previous.metric == metric else {}
    values |= {int(row["step"]): row[metric] for row in rows if metric in row}
    candidates = [BestCheckpoint(step, metric, value) for step, value in sorted(values.items()) if step in saved_steps]
    return max(candidates, key=lambda candidate: candidate.value, default=None)


def read_best_checkpoint(path: Path) -> BestCheckpoint | None:
    """Read a file written with ``format_best_checkpoint``; return None if it does not exist."""
    if not path.exists():
        return None
    values = json.loads(path.read_text())
    return BestCheckpoint(values["step"], values["metric"], values["value"])


def format_best_checkpoint(best: BestCheckpoint) -> str:
    """Return the content of ``best.json``: JSON with one key per line."""
    return json.dumps(asdict(best) | {"checkpoint": f"step_{best.step:06d}"}, indent=2) + "\n"
