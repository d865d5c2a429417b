"""Text of views: values as short text, untrusted texts, tables, sections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from launch.records.terminal_text import escape_control_characters

ABSENT = "—"
MAX_QUOTED = 100
INDENTATION = 2

Justify = Literal["left", "right"]


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` decimals; a dash if it is unknown or not finite."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:.{digits}f}"
    # A small or huge number, such as a KL divergence, would lose its digits or fill the line.
    is_lost = value != 0 and (float(text) == 0 or abs(value) >= 1e9)
    return f"{value:.2e}" if is_lost else text


def format_count(value: int | None) -> str:
    """Return a whole number; a dash if it is unknown."""
    return ABSENT if value is None else str(value)


def format_share(value: float | None) -> str:
    """Return a share as a percentage; a dash if it is unknown."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:.1%}"


def format_answer(value: bool | None) -> str:
    """Return yes or no; a dash if it is unknown."""
    return ABSENT if value is None else "yes" if value else "no"


def format_counts(counts: Mapping[str, int]) -> str:
    """Return counts by name, the highest first."""
    items = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in items) or ABSENT


def quote(text: str) -> str:
    """Return an untrusted text in quotation marks for a message: on one line, and not too long."""
    shown = text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…"
    return f"'{escape_control_characters(shown)}'"


def indent(content: RenderableType, levels: int = 1) -> Padding:
    """Return content with a margin on its left."""
    return Padding(content, (0, 0, 0, INDENTATION * levels), expand=False)


def make_line(text: str | None, style: str = "") -> Text:
    """Return an untrusted text as one line; a dash if it is unknown."""
    return Text(ABSENT if text is None else escape_control_characters(text), style, overflow="fold")


def make_block(text: str | None) -> RenderableType:
    """Return an untrusted text of several lines, indented, so that it cannot imitate other parts of the output."""
    shown = ABSENT if text is None else escape_control_characters(text.removesuffix("\n"), keep="\n\t")
    return indent(Text(shown, overflow="fold"))


def make_title(text: str) -> Text:
    """Return the title of a view."""
    return make_line(text, "bold underline")


def make_section(heading: str, *parts: RenderableType) -> Group:
    """Return a blank line, a heading, and the parts below it."""
    return Group(Text(), make_line(heading, "bold"), *parts)


def make_facts(facts: Mapping[str, str | None]) -> Padding:
    """Return labels with values beside them. Values are untrusted; None is shown as a dash."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for label, value in facts.items():
        table.add_row(Text(label, "dim"), make_line(value))
    return indent(table)


def make_table(columns: Mapping[str, Justify], rows: Sequence[Sequence[str | Text | None]]) -> RenderableType:
    """Return a table. Cells are untrusted strings, or made by ``make_line``; those on the right are never wrapped.

    Args:
        columns: justification by heading.
        rows: texts of the cells.
    """
    if not rows:
        return indent(Text("none", "dim"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading, justify in columns.items():
        table.add_column(Text(heading), justify=justify, overflow="fold", no_wrap=justify == "right")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else make_line(cell) for cell in row))
    return table


def make_notes(notes: Sequence[str]) -> list[RenderableType]:
    """Return a section that lists what could not be read; nothing if there are no notes."""
    if not notes:
        return []
    return [make_section("not readable", *(indent(make_line(note)) for note in notes))]
