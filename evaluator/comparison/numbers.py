"""Parsing of decimal numbers as programs print them, given as single tokens."""

from __future__ import annotations

import re

_NUMERALS = b"0123456789+-.eE"
# Only [+-]digits, unlike float() and int(), which also accept underscores, nan, inf and digits of other scripts.
INTEGER = re.compile(rb"[+-]?[0-9]+")


def parse_number(token: bytes) -> float | None:
    """Return the value of a decimal number; None if the token is not one.

    float() also accepts underscores, nan and inf, but those contain characters that are rejected first.
    """
    if token.translate(None, _NUMERALS):
        return None
    try:
        return float(token)
    except ValueError:
        return None


def parse_fraction(token: bytes) -> float | None:
    """Return the value of a decimal number with a point or a signed exponent (2.0, 1e-07); None for other tokens."""
    if b"." in token or b"e-" in token or b"e+" in token or b"E-" in token or b"E+" in token:
        return parse_number(token)
    return None


def normalize_integer(token: bytes) -> tuple[bool, bytes]:
    """Return the sign and the digits without leading zeros of an integer; equal for equal integers."""
    # Not int(), which rejects more than 4,300 digits and takes quadratic time.
    digits = token.lstrip(b"+-").lstrip(b"0")
    return bool(digits) and token.startswith(b"-"), digits


def round_token(token: bytes) -> bytes | float:
    """Return the value of a token rounded to three decimals, or the token itself if it is not a number."""
    number = parse_number(token)
    return token if number is None else round(number, 3) + 0.0
