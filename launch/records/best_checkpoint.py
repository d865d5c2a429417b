"""Which checkpoint of a run is the best: that of the version with the highest pass@1 in the run's own evaluations.

The evaluation of version s is made before step s, on the weights that the checkpoint of step s holds: the two belong
together. Version 0 is the model the run began with; it has no checkpoint and is no candidate.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from conf.schema import Config


@dataclass(frozen=True)
class Best:
    """The step that made the checkpoint, and the value of the metric that chose it."""

    step: int
    metric: str
    value: float


def choosing_metric(config: Config) -> str:
    """pass@1 of all evaluation problems."""
    return f"evaluation/{config.dataset.name or 'held_out'}/all/all/pass@1"


def best_checkpoint(
    rows: Iterable[Mapping[str, float]], metric: str, saved: Collection[int], before: Best | None
) -> Best | None:
    """The best of the checkpoints in ``saved`` (steps), the earliest of equals; None where none was evaluated.

    ``before``: the best so far. Its row is missing from ``rows`` when a resumed run will do that step again.
    """
    known = {before.step: before.value} if before is not None and before.metric == metric else {}
    known |= {int(row["step"]): row[metric] for row in rows if metric in row}
    found = [Best(step, metric, value) for step, value in sorted(known.items()) if step in saved]
    return max(found, key=lambda one: one.value, default=None)


def read_best(path: Path) -> Best | None:
    """What ``best_text`` wrote; None where there is no such file."""
    if not path.exists():
        return None
    values = json.loads(path.read_text())
    return Best(values["step"], values["metric"], values["value"])


def best_text(best: Best) -> str:
    """As JSON, one key a line."""
    return json.dumps(asdict(best) | {"checkpoint": f"step_{best.step:06d}"}, indent=2) + "\n"
