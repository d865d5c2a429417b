"""Highlighting of programs as lengths and classes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.run_report.highlighting import count_utf16, highlight_python
from tests.launch.run_report.run_factory import HOSTILE_TEXT


def split(code):
    """Return the parts of an ASCII program with their classes."""
    parts = highlight_python(code)
    ends = [sum(parts[: index + 1 : 2]) for index in range(0, len(parts), 2)]
    return [
        (code[end - length : end].strip(), kind)
        for end, length, kind in zip(ends, parts[::2], parts[1::2], strict=True)
    ]


def test_classes_of_a_program():
    code = "def f(x):  # add\n    return x in 'ab' or len(x) + 1\n"
    kinds = {text: kind for text, kind in split(code) if text}
    assert kinds["def"] == 2 and kinds["f"] == 5 and kinds["# add"] == 1
    assert kinds["return"] == 2 and kinds["in"] == 2 and kinds["'ab'"] == 3 and kinds["len"] == 6 and kinds["1"] == 4


@pytest.mark.parametrize(
    "code",
    [
        "x = 1\r\ny = 2\r",
        "\ufeffx = 1",
        "\ud800 = '\U0001f600'",
        HOSTILE_TEXT,
        "",
        "\n \t\n",
        "'''\nopen",
        "\\\n",
        "f'{x!r:{y",
    ],
)
def test_lengths_add_up_to_the_text(code):
    assert sum(highlight_python(code)[::2]) == count_utf16(code)


@given(st.text(st.sampled_from("ab'\"\\\r\n\t#{}(): 0.é\U0001f600\ud800\u2028\x00if"), max_size=60))
def test_lengths_of_any_text_add_up(code):
    assert sum(highlight_python(code)[::2]) == count_utf16(code)


@given(st.text(st.characters(exclude_categories=[]), max_size=20))
def test_length_in_utf16(text):
    assert count_utf16(text) == sum(2 if ord(character) > 0xFFFF else 1 for character in text)
