"""Parsing of decimal numbers as programs print them, one token at a time."""

from __future__ import annotations

import re

_NUMERALS = b"0123456789+-.eE"
# [+-]digits only, so not what float() and int() take besides: underscores, nan, inf, digits of other scripts.
INTEGER = re.compile(rb"[+-]?[0-9]+")


def parse_number(token: bytes) -> float | None:
    """The value of a decimal number. float() also takes underscores, nan and inf, but not without other characters."""
    if token.translate(None, _NUMERALS):
        return None
    try:
        return float(token)
    except ValueError:
        return None


def parse_fraction(token: bytes) -> float | None:
    """The value of a decimal number that is written as a fraction (see ``text.numeric``)."""
    if b"." in token or b"e-" in token or b"e+" in token or b"E-" in token or b"E+" in token:
        return parse_number(token)
    return None


def plain_integer(token: bytes) -> tuple[bool, bytes]:
    """Sign and digits of an integer without leading zeros; equal for equal integers."""
    # Not int(): it refuses more than 4,300 digits, and takes quadratic time.
    digits = token.lstrip(b"+-").lstrip(b"0")
    return bool(digits) and token.startswith(b"-"), digits


def rounded(token: bytes) -> bytes | float:
    """The token's value rounded to three digits after the point, or the token itself if it is not a number."""
    number = parse_number(token)
    return token if number is None else round(number, 3) + 0.0
