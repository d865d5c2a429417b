"""Find the places of outputs that hold integers beside fractions, such as the count before a list of real numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

T = TypeVar("T")
MIN_LIST_LINES = 3  # lines with one number each from which they are taken as a list of the same kind of number


class Kind(Enum):
    """Kind of an expected item: an integer, a decimal number with a point or signed exponent, or anything else."""

    INTEGER = 1
    FRACTION = 2
    OTHER = 3


@dataclass(frozen=True)
class IntegerPlaces:
    """Places at which every test expects an integer, while tests expect fractions at other places.

    Attributes:
        places: columns or positions, from 0.
        width: number of columns if the outputs are tables, so that ``places`` are columns; 0 if they are positions in
            the whole output.
    """

    places: frozenset[int] = frozenset()
    width: int = 0

    def select(self, items: Sequence[T]) -> Iterator[T]:
        """Yield the items of an output that are at one of the places."""
        for place in self.places:
            yield from items[place :: self.width] if self.width else items[place : place + 1]


def find_integer_places(outputs: Sequence[Sequence[Sequence[Kind]]]) -> IntegerPlaces:
    """Return the integer places of a problem.

    Outputs are tables if all rows of all outputs are equally long, and some output has several rows. Single numbers in
    rows are a table only if there are at least ``MIN_LIST_LINES``. In all other outputs, a place is a position, and
    only positions that all outputs have are considered.

    Args:
        outputs: for each test, the rows of the expected output, each with the kinds of its items.

    >>> count, real = Kind.INTEGER, Kind.FRACTION
    >>> find_integer_places([[[count], [real, real]], [[count], [count, real, real]]])
    IntegerPlaces(places=frozenset({0}), width=0)
    >>> find_integer_places([[[count, real], [count, count]]])
    IntegerPlaces(places=frozenset({0}), width=2)
    """
    rows = [row for output in outputs for row in output]
    if not any(Kind.FRACTION in row for row in rows):
        return IntegerPlaces()
    widths = {len(row) for row in rows}
    width = max(widths)
    longest = max(map(len, outputs))
    if len(widths) == 1 and longest >= (2 if width > 1 else MIN_LIST_LINES):
        columns = frozenset(range(width)) - {
            place for row in rows for place, kind in enumerate(row) if kind is not Kind.INTEGER
        }
        return IntegerPlaces(columns, width)
    return IntegerPlaces(_find_integer_positions(outputs))


def _find_integer_positions(outputs: Sequence[Sequence[Sequence[Kind]]]) -> frozenset[int]:
    positions: set[int] | None = None
    shortest = math.inf
    for output in outputs:
        kinds = [kind for row in output for kind in row]
        found = {place for place, kind in enumerate(kinds) if kind is Kind.INTEGER}
        positions = found if positions is None else positions & found
        shortest = min(shortest, len(kinds))
    return frozenset(place for place in positions or () if place < shortest)
