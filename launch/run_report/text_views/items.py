"""Items of ``show=[...]``: the views that a command line asks for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import RenderableType

from evaluator.errors import UserError
from launch.run_report.run_files import RunFiles
from launch.run_report.text_views.formatting import quote
from launch.run_report.text_views.health import make_health
from launch.run_report.text_views.problem import make_problem
from launch.run_report.text_views.sample import make_sample
from launch.run_report.text_views.slow import make_slow
from launch.run_report.text_views.step import make_step
from launch.run_report.text_views.summary import make_summary

FORMS = ("summary", "health", "slow", "step:STEP", "problem:ID", "sample:STEP/ID/INDEX")
MAX_DIGITS = 9
"""Digits of a number in an item; no step has more."""


class View(Protocol):
    """View of a run: a frozen dataclass of data that can be rendered."""

    def render(self) -> RenderableType:
        """Return the view for a terminal."""


@dataclass(frozen=True)
class Item:
    """Item as it was written, and the function that makes its view."""

    text: str
    make: Callable[[RunFiles], View]


class ItemError(UserError, ValueError):
    """An item of ``show`` that has none of the forms ``FORMS``."""


def parse_items(texts: Sequence[str]) -> tuple[Item, ...]:
    """Parse all items of ``show``; equal ones once. Raises ItemError."""
    return tuple(Item(text, _parse(text)) for text in dict.fromkeys(texts))


def _parse(text: str) -> Callable[[RunFiles], View]:
    kind, colon, argument = text.partition(":")
    simple: dict[str, Callable[[RunFiles], View]] = {"summary": make_summary, "health": make_health, "slow": make_slow}
    if kind in simple and not colon:
        return simple[kind]
    if kind == "step":
        step = _parse_number(text, argument)
        return lambda run: make_step(run, step)
    if kind == "problem" and colon:  # the id is empty in rows without one
        return lambda run: make_problem(run, argument)
    if kind == "sample":
        return _parse_sample(text, argument)
    raise ItemError(_describe_wrong_form(text))


def _parse_sample(text: str, argument: str) -> Callable[[RunFiles], View]:
    """Parse STEP/ID/INDEX. It is split at the first and the last slash, since question ids contain slashes."""
    first, _, rest = argument.partition("/")
    question_id, slash, last = rest.rpartition("/")
    if not slash:
        raise ItemError(_describe_wrong_form(text))
    step = _parse_number(text, first)
    sample_index = _parse_number(text, last)
    return lambda run: make_sample(run, step, question_id, sample_index)


def _parse_number(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= MAX_DIGITS):
        raise ItemError(_describe_wrong_form(text))
    return int(digits)


def _describe_wrong_form(text: str) -> str:
    kind = text.partition(":")[0]
    by_kind = {form.partition(":")[0]: form for form in FORMS}
    nearest = difflib.get_close_matches(kind, by_kind, 1)
    hint = f"write {by_kind[nearest[0]]}" if nearest else f"choose {', '.join(FORMS)}"
    return f"show: {quote(text)} is not an item: {hint}"
