"""Comparison of numbers within an absolute or relative tolerance, or by value where no tolerance is granted."""

from __future__ import annotations

import math
from bisect import bisect_left

from evaluator.checker import Tolerance
from evaluator.comparison.numbers import (
    INTEGER,
    has_signed_exponent,
    normalize_decimal,
    normalize_integer,
    parse_number,
)

# LeetCode's, as an absolute distance. The relative one only allows for the rounding of large numbers.
FUNCTIONAL_TOLERANCE = Tolerance(1e-5, 1e-12)


def is_close(expected: float, actual: float, tolerance: Tolerance) -> bool:
    """Return True if ``actual`` is within ``tolerance`` of ``expected``, absolute or relative to ``expected``."""
    difference = abs(expected - actual)
    if difference <= tolerance.abs:
        return True
    # Not isclose(), which is relative to the larger number and would therefore accept an infinite ``actual``. An
    # expected number beyond the range of float is read as infinite, and would otherwise match every number.
    if not (math.isfinite(expected) and math.isfinite(actual)):
        return False
    allowed = max(tolerance.abs, tolerance.rel * abs(expected))
    # Allow for binary rounding: 0.5 and 0.500001 differ by slightly more than 1e-6 as binary fractions.
    return difference <= allowed + min(allowed, 2 * math.ulp(expected))


def find_nearest_close(values: list[float], target: float | None, tolerance: Tolerance) -> float | None:
    """Return the element of the sorted ``values`` nearest to ``target``, if ``target`` is within tolerance of it."""
    if target is None or not values:
        return None
    place = bisect_left(values, target)
    above = values[min(place, len(values) - 1)]
    below = values[max(place - 1, 0)]
    nearest = above if abs(above - target) < abs(below - target) else below
    return nearest if is_close(nearest, target, tolerance) else None


def is_same_number(expected: bytes, actual: bytes) -> bool:
    """Return True if ``actual`` is the same number in a form that no statement asks for or forbids.

    These are the sign of a zero with a point (-0.00 for 0.00), and any form of a number that is expected as programs
    print very large and small ones (1e+20, 1e-07). The number of digits is never ignored: 12.300 is not 12.3.
    """
    number = normalize_decimal(expected)
    if number is None:
        return False
    if has_signed_exponent(expected):
        return number == normalize_decimal(actual)
    is_zero = number == (False, b"", 0)
    return is_zero and b"." in expected and expected.removeprefix(b"-") == actual.removeprefix(b"-")


def is_number_close(expected: bytes, actual: bytes, tolerance: Tolerance) -> bool:
    """Return True if both tokens are numbers within ``tolerance`` of each other; two integers must be equal."""
    if INTEGER.fullmatch(expected) and INTEGER.fullmatch(actual):
        return normalize_integer(expected) == normalize_integer(actual)
    expected_number = parse_number(expected)
    actual_number = parse_number(actual)
    if expected_number is None or actual_number is None:
        return False
    return is_close(expected_number, actual_number, tolerance)


def is_allclose(expected: bytes, actual: bytes) -> bool:
    """Return True if both tokens are numbers that ``np.allclose`` would accept with its default tolerances."""
    expected_number = parse_number(expected)
    actual_number = parse_number(actual)
    if expected_number is None or actual_number is None:
        return False
    return is_close(expected_number, actual_number, Tolerance(1e-8 + 1e-5 * abs(expected_number), 0.0))
