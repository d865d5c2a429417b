"""Lone surrogates: texts that have them can be recognised, written to files and given to a tokenizer."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from evaluator import surrogates
from evaluator.surrogates import escape_surrogates, is_unicode, replace_surrogates

ANY_TEXT = st.text(st.characters() | st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"]))


def test_examples_in_docstrings():
    result = doctest.testmod(surrogates)
    assert result.attempted >= 3
    assert result.failed == 0


@given(ANY_TEXT)
def test_results_are_unicode_and_other_characters_stay(text):
    assert is_unicode(text) is not any("\ud800" <= char <= "\udfff" for char in text)
    assert is_unicode(escape_surrogates(text))
    assert is_unicode(replace_surrogates(text))
    if is_unicode(text):
        assert escape_surrogates(text) == replace_surrogates(text) == text


def test_a_pair_of_lone_surrogates_becomes_its_character_for_a_model_only():
    assert replace_surrogates("\ud83d" + "\ude00") == "\U0001f600"
    assert escape_surrogates("\ud83d" + "\ude00") == "\\ud83d\\ude00"
