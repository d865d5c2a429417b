"""Texts of a failed test: bounded, valid Unicode, with a marker that counts what was cut."""

import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import verdict
from evaluator.judging import cut_output, decode_output
from evaluator.surrogates import escape_surrogates
from evaluator.verdict import MAX_TEXT_BYTES, Status, build_verdict_without_tests, cut_text

ANY_TEXT = st.text(st.characters(codec=None))
MARKER = re.compile(r"… \((\d+) more bytes\)\Z")


def check_cut(cut, text):
    """Check that ``cut`` is ``text``, or the beginning of it with a marker that counts the rest."""
    assert len(cut.encode()) <= MAX_TEXT_BYTES
    whole = escape_surrogates(text).encode()
    if len(whole) <= MAX_TEXT_BYTES:
        assert cut.encode() == whole
        return
    marker = MARKER.search(cut)
    assert marker is not None
    kept = cut[: marker.start()].encode()
    assert whole.startswith(kept)
    assert len(kept) + int(marker[1]) == len(whole)
    assert len(kept) > MAX_TEXT_BYTES - 50


def test_docstring_examples_pass():
    result = doctest.testmod(verdict)
    assert result.attempted and not result.failed


@given(ANY_TEXT, st.integers(1, 3000))
def test_texts_are_cut_to_the_bound(text, repeats):
    check_cut(cut_text(text * repeats), text * repeats)


@pytest.mark.parametrize("character", ["x", "é", "\u2028", "\U0001f600", "\ud800", "\0"])
@pytest.mark.parametrize("offset", range(4))
def test_texts_are_cut_between_characters(character, offset):
    for length in (400, 2047, 2048, 2049, 5000):
        text = "a" * offset + character * length
        check_cut(cut_text(text), text)


@pytest.mark.parametrize("character", ["x", "é", "\u2028", "\U0001f600"])
@pytest.mark.parametrize("offset", range(4))
def test_outputs_are_cut_as_their_texts(character, offset):
    for length in (0, 400, 510, 2047, 2048, 2049, 5000):
        text = "a" * offset + character * length
        assert cut_output(text.encode()) == cut_text(text)


@given(st.binary(max_size=40), st.integers(1, 400))
def test_outputs_of_any_bytes_are_cut_to_the_bound(data, repeats):
    data *= repeats
    cut = cut_output(data)
    assert len(cut.encode()) <= MAX_TEXT_BYTES
    if len(data) * 6 <= MAX_TEXT_BYTES:
        assert cut == escape_surrogates(decode_output(data))
    elif len(data) > MAX_TEXT_BYTES:
        assert MARKER.search(cut)


def test_verdict_without_tests_has_no_failed_test():
    assert build_verdict_without_tests(Status.COMPILE_ERROR, "SyntaxError").failed_test is None
