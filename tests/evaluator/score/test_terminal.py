"""Text for a terminal: escapes, excerpts around a difference, and printing whatever the encoding."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.errors import RunFailed
from evaluator.score.terminal import (
    MAX_LINE_LENGTH,
    MAX_LINES,
    escape,
    find_difference,
    format_excerpt,
    print_note,
    print_result,
)

ANY_TEXT = st.text(st.characters(categories=None) | st.characters(categories=["Cs", "Cc"]), max_size=20)


@given(ANY_TEXT.filter(lambda text: "\\" not in text))
def test_escaped_text_is_printable_and_keeps_its_meaning(text):
    escaped = escape(text)
    assert escaped.isprintable()
    assert escaped.encode("ascii", "backslashreplace").decode("unicode_escape") == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("é 1", "é 1"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\ud800", "\\ud800"),
        ("a\tb\r\0", "a\\tb\\r\\x00"),
        ("\u202e", "\\u202e"),
    ],
)
def test_control_characters_and_surrogates_are_escaped(text, escaped):
    assert escape(text) == escaped


def test_short_text_is_shown_completely():
    assert format_excerpt("1 2\n3\n", 1, 5) == ["1 2", "3"]
    assert format_excerpt("") == [""]


def test_long_text_is_shown_around_the_position():
    lines = format_excerpt("\n".join(map(str, range(100))), 50)
    assert lines == ["... 46 lines before", *map(str, range(46, 54)), "... 46 lines after"]
    [line] = format_excerpt("".join(map(str, range(1000))), 0, 2000)
    assert line.startswith("(1920 characters before) ... ")
    assert line.endswith(" ... (810 characters after)")


@given(st.text("ab \n", max_size=600), st.integers(0, 700), st.integers(0, 700))
def test_excerpt_is_short(text, line, column):
    lines = format_excerpt(text, line, column)
    assert 1 <= len(lines) <= MAX_LINES + 2
    assert all(len(shown) <= MAX_LINE_LENGTH + 80 for shown in lines)


@given(st.text("ab\n", max_size=9), st.text("ab\n", max_size=9))
def test_difference_is_the_first_one(expected, actual):
    line, column = find_difference(expected, actual)
    expected_lines = expected.split("\n")
    actual_lines = actual.split("\n")
    assert expected_lines[:line] == actual_lines[:line]
    if line < min(len(expected_lines), len(actual_lines)):
        assert expected_lines[line][:column] == actual_lines[line][:column]
        same_char = expected_lines[line][column : column + 1] == actual_lines[line][column : column + 1]
        assert same_char == (expected == actual)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_result_is_printed_in_any_encoding(monkeypatch, encoding):
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding))
    print_result("é \u4e00", "it")
    assert data.getvalue().decode(encoding) == "é \u4e00\n".encode(encoding, "backslashreplace").decode(encoding)


def test_note_is_one_line(capsys):
    print_note("a\nb\x1b[2J\ud800")
    assert capsys.readouterr().err == "score: a\\nb\\x1b[2J\\ud800\n"


class FailingStream(io.StringIO):
    """Stream whose writes fail, with the descriptor of /dev/null."""

    def __init__(self, error, descriptor):
        super().__init__()
        self.error = error
        self.descriptor = descriptor

    def write(self, text):
        raise self.error

    def fileno(self):
        return self.descriptor


def test_only_a_closed_pipe_is_no_failure(monkeypatch):
    with open("/dev/null", "w") as null:
        monkeypatch.setattr(sys, "stdout", FailingStream(BrokenPipeError(), null.fileno()))
        print_result("text", "the table")
        monkeypatch.setattr(sys, "stdout", FailingStream(OSError("disk full"), null.fileno()))
        with pytest.raises(RunFailed, match="the table cannot be printed to standard output: disk full"):
            print_result("text", "the table")
