"""Decoding of JSON texts, of which the length of integers is not limited."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

# int() raises beyond 4,300 digits unless the process has another limit, and without a limit takes quadratic time. No
# process can set a limit under 640 digits, and no float has as many digits before its point as these integers.
_LONG_INTEGER = re.compile("(?<![0-9])[0-9]{401}")
_MAX_INT_DIGITS = 400
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class LongInteger:
    """Integer of more than 400 digits. Equal only to itself."""

    text: str


def decode_json(text: str) -> Any:
    """Decode a JSON text in linear time. Integers of more than 400 digits become LongInteger.

    A byte order mark before the value is ignored.

    Raises ValueError, also for a text nested more deeply than Python can read.

    >>> decode_json("[1, 2.5]"), decode_json("9" * 5000) == LongInteger("9" * 5000)
    ([1, 2.5], True)
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    try:
        return json.loads(text, parse_int=_parse_integer if _LONG_INTEGER.search(text) else None)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _parse_integer(text: str) -> int | LongInteger:
    return int(text) if len(text) <= _MAX_INT_DIGITS else LongInteger(text)
