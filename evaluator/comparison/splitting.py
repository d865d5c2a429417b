"""Splitting of texts into lines and tokens. White space is ASCII's."""

from __future__ import annotations

import re

# ASCII white space only: str.split() also splits at characters that contest judges treat as part of a token.
BLANKS = " \t\n\r\v\f"
BLANK_LINES = re.compile(r"\n[ \t\n\r\v\f]*\n")


def encode(text: str) -> bytes:
    """Encode a text to bytes, including lone surrogates. Different texts give different bytes."""
    return text.encode("utf-8", "surrogatepass")


def split_tokens(text: str) -> list[bytes]:
    """Split a text at ASCII white space into tokens of bytes."""
    return encode(text).split()


def split_first_tokens(text: str, limit: int) -> list[bytes]:
    """Split off at most ``limit`` tokens; if there are more, the rest of the text is one last element.

    The limit bounds the memory: a flood of short tokens would take about twenty times its size.
    """
    return encode(text).split(None, limit)


def split_bare_tokens(text: str) -> list[bytes]:
    """Split a text into tokens, with brackets, commas and quotes treated as white space."""
    return encode(text).translate(bytes.maketrans(b"[](){},'\"", b" " * 9)).split()


def split_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank."""
    return BLANK_LINES.sub("\n", text.strip(BLANKS)).split("\n")


def split_token_lines(text: str) -> list[list[bytes]]:
    """Split a text into lines of tokens, without blank lines."""
    return [line for line in map(split_tokens, split_lines(text)) if line]
