"""Finding of a health rule, and the text of configuration keys in its advice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from launch.run_report.run_files import MetricsRow, RecordedSettings

Severity = Literal["problem", "warning"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A condition of a run that needs attention.

    Attributes:
        rule: name of the rule.
        severity: ``problem``: the run wastes its time or its result is wrong; ``warning``: look at it.
        step: step at which the condition began.
        text: the condition, with its figures.
        advice: what to do, with the keys to change.
        metric: the metric to look at.
    """

    rule: str
    severity: Severity
    step: int
    text: str
    advice: str
    metric: str


Rule = Callable[[Sequence[MetricsRow], RecordedSettings], list[Finding]]
"""Pure function from the rows of metrics.jsonl and the content of config.yaml to findings."""


def format_key(settings: RecordedSettings, key: str) -> str:
    """Return the key with its present value, for example "generator.actors (now 2)"; without it if it is unknown."""
    value = settings.get(key)
    return f"{key} (now {value})" if isinstance(value, bool | int | float | str) else key
