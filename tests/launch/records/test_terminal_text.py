"""Escaping of untrusted text for the terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.records.terminal_text import escape_control_characters

ANY_TEXT = st.text(st.characters(categories=None) | st.characters(categories=["Cs", "Cc", "Cf"]), max_size=20)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain text, é, 中文, 😀", "plain text, é, 中文, 😀"),
        ("no-break\xa0and ideographic\u3000space", "no-break\xa0and ideographic\u3000space"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\b\r\n\t\x00\x7f", r"a\x08\r\n\t\x00\x7f"),
        ("abc\u202edcba\u2066\u200f", r"abc\u202edcba\u2066\u200f"),
        ("\u2028\u200b\ufeff\U000e0041", r"\u2028\u200b\ufeff\U000e0041"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_become_visible(text, escaped):
    assert escape_control_characters(text) == escaped


def test_line_breaks_can_be_kept():
    assert escape_control_characters("a\n\tb\x1b\r", keep="\n\t") == "a\n\tb\\x1b\\r"


@given(ANY_TEXT)
def test_escaped_text_is_one_encodable_line_without_control_characters(text):
    escaped = escape_control_characters(text)
    escaped.encode()
    assert len(escaped.splitlines()) <= 1
    assert not {unicodedata.category(char) for char in escaped} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert escape_control_characters(escaped) == escaped
