"""Conditions of the truncation mask for one completion, as ``learner.truncation_mask`` applies them."""

from __future__ import annotations

from dataclasses import dataclass

from launch.run_report.rollout_rows import RolloutRow
from launch.run_report.run_files import RecordedSettings


@dataclass(frozen=True)
class Condition:
    """Condition under which a mask sets the advantage to 0; ``holds`` is None if that is unknown."""

    text: str
    holds: bool | None


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


def make_mask_details(row: RolloutRow, config: RecordedSettings) -> MaskDetails:
    """Collect what the mask decided on a completion, and why. An unknown kind is shown as the conditional mask."""
    kind = config.get("algorithm.truncation_mask")
    probability = config.get_number("algorithm.mask_probability")
    window = config.get_number("algorithm.repeat_window")
    truncated = row.truncated
    if truncated is None and row.finish_reason is not None:
        truncated = row.at_limit
    reached_limit = Condition("the response reached the length limit", truncated)
    failed = Condition("a test failed", None if row.status is None else row.reward is not None and not row.passed)
    conditions = {
        "none": (),
        "all": (reached_limit,),
        "failing": (reached_limit, failed),
    }.get(str(kind), (reached_limit, *_make_conditions(row, probability, window)))
    return MaskDetails(
        kind=None if kind is None else str(kind),
        probability=probability,
        window=window,
        truncated=truncated,
        incomplete=row.incomplete,
        repeated_tail=row.repeated_tail,
        mask_draw=row.mask_draw,
        masked=row.masked,
        conditions=conditions,
    )


def _make_conditions(row: RolloutRow, probability: float | None, window: float | None) -> tuple[Condition, ...]:
    """Return the conditions of the conditional mask other than the length (arXiv 2603.07777 eq. 2)."""
    passed = None if row.status is None else row.passed
    is_incomplete_or_correct = True if row.incomplete or passed else None if row.incomplete is None else False
    tokens = "m" if window is None else f"{window:g}"
    draw = "unknown" if row.mask_draw is None else f"{row.mask_draw:.4f}"
    limit = "the mask probability" if probability is None else f"the mask probability {probability:g}"
    is_drawn = None if row.mask_draw is None or probability is None else row.mask_draw < probability
    return (
        Condition("the response is incomplete, or the program is correct", is_incomplete_or_correct),
        Condition(
            f"the last {tokens} tokens do not repeat those before them",
            None if row.repeated_tail is None else not row.repeated_tail,
        ),
        Condition(f"the draw {draw} is below {limit}", is_drawn),
    )
