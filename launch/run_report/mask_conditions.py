"""Conditions of the truncation mask for one completion, as ``learner.truncation_mask`` applies them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from launch.run_report.rollout_rows import RolloutRow
from launch.run_report.run_files import RecordedSettings

DRAW = "{draw}"
"""Placeholder of the completion's draw in the text of a ``MaskRule``."""
UNKNOWN = "?"


@dataclass(frozen=True)
class Condition:
    """Condition under which a mask sets the advantage to 0; ``holds`` is None if that is unknown."""

    text: str
    holds: bool | None


@dataclass(frozen=True)
class MaskRule:
    """Condition of a mask for any completion; ``decide`` returns None if it is unknown for a completion."""

    text: str
    decide: Callable[[RolloutRow], bool | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskDetails:
    """Decision of the truncation mask on a completion; None is unknown.

    Attributes:
        kind: ``algorithm.truncation_mask``.
        probability: ``algorithm.mask_probability``.
        window: ``algorithm.repeat_window``.
        conditions: conditions that must all hold; empty for the mask ``none``.
    """

    kind: str | None
    probability: float | None
    window: float | None
    truncated: bool | None
    incomplete: bool | None
    repeated_tail: bool | None
    mask_draw: float | None
    masked: bool | None
    conditions: tuple[Condition, ...]


def list_mask_rules(config: RecordedSettings) -> tuple[MaskRule, ...]:
    """Return the conditions of the run's mask. An unknown kind is shown as the conditional mask."""
    reached_limit = MaskRule("the response reached the length limit", _is_truncated)
    failed = MaskRule("a test failed", _is_failed)
    rules = {"none": (), "all": (reached_limit,), "failing": (reached_limit, failed)}
    kind = str(config.get("algorithm.truncation_mask"))
    return rules[kind] if kind in rules else (reached_limit, *_list_conditional_rules(config))


def encode_conditions(row: RolloutRow, rules: tuple[MaskRule, ...]) -> str:
    """Return a character for each condition: 1 if it holds, 0 if not, ? if that is unknown.

    >>> encode_conditions(RolloutRow(), (MaskRule("yes", lambda row: True), MaskRule("unknown", lambda row: None)))
    '1?'
    """
    results = [rule.decide(row) for rule in rules]
    return "".join(UNKNOWN if result is None else str(int(result)) for result in results)


def make_mask_details(row: RolloutRow, config: RecordedSettings) -> MaskDetails:
    """Collect what the mask decided on a completion, and why."""
    kind = config.get("algorithm.truncation_mask")
    draw = "unknown" if row.mask_draw is None else f"{row.mask_draw:.4f}"
    return MaskDetails(
        kind=None if kind is None else str(kind),
        probability=config.get_number("algorithm.mask_probability"),
        window=config.get_number("algorithm.repeat_window"),
        truncated=_is_truncated(row),
        incomplete=row.incomplete,
        repeated_tail=row.repeated_tail,
        mask_draw=row.mask_draw,
        masked=row.masked,
        conditions=tuple(
            Condition(rule.text.replace(DRAW, draw), rule.decide(row)) for rule in list_mask_rules(config)
        ),
    )


def _is_truncated(row: RolloutRow) -> bool | None:
    if row.truncated is None and row.finish_reason is not None:
        return row.at_limit
    return row.truncated


def _is_failed(row: RolloutRow) -> bool | None:
    return None if row.status is None else row.reward is not None and not row.passed


def _is_not_incorrect(row: RolloutRow) -> bool | None:
    if row.incomplete or row.passed:
        return True
    return None if row.incomplete is None else False


def _list_conditional_rules(config: RecordedSettings) -> tuple[MaskRule, ...]:
    """Return the conditions of the conditional mask other than the length (arXiv 2603.07777 eq. 2)."""
    probability = config.get_number("algorithm.mask_probability")
    window = config.get_number("algorithm.repeat_window")
    tokens = "m" if window is None else f"{window:g}"
    limit = "the mask probability" if probability is None else f"the mask probability {probability:g}"

    def is_drawn(row: RolloutRow) -> bool | None:
        return None if row.mask_draw is None or probability is None else row.mask_draw < probability

    return (
        MaskRule("the response is incomplete, or the program is correct", _is_not_incorrect),
        MaskRule(
            f"the last {tokens} tokens do not repeat those before them",
            lambda row: None if row.repeated_tail is None else not row.repeated_tail,
        ),
        MaskRule(f"the draw {DRAW} is below {limit}", is_drawn),
    )
