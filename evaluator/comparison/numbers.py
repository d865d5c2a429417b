"""Parsing of decimal numbers as programs print them, given as single tokens."""

from __future__ import annotations

import re

_NUMERALS = b"0123456789+-.eE"
# Only [+-]digits, unlike float() and int(), which also accept underscores, nan, inf and digits of other scripts.
INTEGER = re.compile(rb"[+-]?[0-9]+")
# The exponent is limited: int() takes quadratic time, and no program prints a number of that size.
_DECIMAL = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,18}))?")


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
    if b"." in token or has_signed_exponent(token):
        return parse_number(token)
    return None


def has_signed_exponent(token: bytes) -> bool:
    """Return True if a number is written as programs write very large and small ones: 1e+20, 1e-07, but not 1e5."""
    return b"e-" in token or b"e+" in token or b"E-" in token or b"E+" in token


def normalize_integer(token: bytes) -> tuple[bool, bytes]:
    """Return the sign and the digits without leading zeros of an integer; equal for equal integers."""
    # Not int(), which rejects more than 4,300 digits and takes quadratic time.
    digits = token.lstrip(b"+-").lstrip(b"0")
    return bool(digits) and token.startswith(b"-"), digits


def normalize_decimal(token: bytes) -> tuple[bool, bytes, int] | None:
    """Return the sign, the digits and the exponent of a decimal number; equal for equal numbers, of any length.

    None if the token is not a decimal number.

    >>> normalize_decimal(b"-0.0120") == normalize_decimal(b"-1.2e-02"), normalize_decimal(b"-0.0")
    (True, (False, b'', 0))
    """
    match = _DECIMAL.fullmatch(token)
    if match is None:
        return None
    sign, whole, fraction, exponent = match.groups(default=b"")
    digits = whole + fraction
    if not digits:
        return None
    significant = digits.rstrip(b"0")
    if not significant:
        return False, b"", 0
    power = int(exponent or b"0") - len(fraction) + len(digits) - len(significant)
    return sign == b"-", significant.lstrip(b"0"), power


def round_token(token: bytes) -> bytes | float:
    """Return the value of a token rounded to three decimals, or the token itself if it is not a number."""
    number = parse_number(token)
    return token if number is None else round(number, 3) + 0.0
