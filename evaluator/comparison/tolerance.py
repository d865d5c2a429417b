"""Comparison of numbers within an absolute or relative tolerance."""

from __future__ import annotations

import math
from bisect import bisect_left

from evaluator.checker import Tolerance
from evaluator.comparison.numbers import INTEGER, parse_fraction, parse_number, plain_integer

STDIN_TOLERANCE = Tolerance(1e-6, 1e-6)  # where the expected token is a fraction
FUNCTIONAL_TOLERANCE = Tolerance(1e-5, 1e-5)  # LeetCode's; its expected values are themselves rounded to five digits


def is_close(expected: float, actual: float, tolerance: Tolerance) -> bool:
    """Return True if ``actual`` is within ``tolerance`` of ``expected``, absolute or relative to ``expected``."""
    difference = abs(expected - actual)
    if difference <= tolerance.abs:
        return True
    # isclose() would be relative to the larger of the two, and so be met by an endless actual value; and an expected
    # number beyond the range of float, read as endless, would be met by every other.
    if not (math.isfinite(expected) and math.isfinite(actual)):
        return False
    allowed = max(tolerance.abs, tolerance.rel * abs(expected))
    # 0.5 and 0.500001 differ by more than 1e-6 once both are rounded to binary fractions, so that much is allowed for.
    return difference <= allowed + min(allowed, 2 * math.ulp(expected))


def nearest_close(values: list[float], target: float | None, tolerance: Tolerance) -> float | None:
    """The one of the sorted ``values`` nearest to ``target``, if that meets it."""
    if target is None or not values:
        return None
    place = bisect_left(values, target)
    above = values[min(place, len(values) - 1)]
    below = values[max(place - 1, 0)]
    nearest = above if abs(above - target) < abs(below - target) else below
    return nearest if is_close(nearest, target, tolerance) else None


def is_fraction_close(expected: bytes, actual: bytes) -> bool:
    """Return True if ``expected`` is a fraction and ``actual`` a number within ``STDIN_TOLERANCE`` of it."""
    wanted = parse_fraction(expected)
    if wanted is None:
        return False
    given = parse_number(actual)
    return given is not None and is_close(wanted, given, STDIN_TOLERANCE)


def is_number_close(expected: bytes, actual: bytes, tolerance: Tolerance) -> bool:
    """Return True if both tokens are numbers within ``tolerance`` of each other; two integers must be equal."""
    if INTEGER.fullmatch(expected) and INTEGER.fullmatch(actual):
        return plain_integer(expected) == plain_integer(actual)
    wanted = parse_number(expected)
    given = parse_number(actual)
    return wanted is not None and given is not None and is_close(wanted, given, tolerance)


def is_allclose(expected: bytes, actual: bytes) -> bool:
    """Return True if both tokens are numbers that np.allclose accepts with its default tolerances."""
    wanted = parse_number(expected)
    given = parse_number(actual)
    return (
        wanted is not None and given is not None and is_close(wanted, given, Tolerance(1e-8 + 1e-5 * abs(wanted), 0.0))
    )
