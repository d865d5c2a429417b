"""Tokens of a response with log-probs: which are shown, and what is written for unusual values."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from launch.run_report.rollout_rows import RolloutRow
from launch.run_report.token_strip import (
    MAX_LOGPROB,
    SCALE,
    WINDOW,
    TokenTexts,
    Vocabulary,
    choose_windows,
    make_token_strip,
    summarize_difference,
)


def make_row(ids, sampler=None, learner=None):
    def convert(values):
        return None if values is None else np.array(values, np.float32)

    return RolloutRow(
        response_token_ids=None if ids is None else np.array(ids, np.int32),
        sampler_logprobs=convert(sampler),
        learner_logprobs=convert(learner),
    )


def make_strip(row):
    vocabulary = Vocabulary(TokenTexts(None))
    return make_token_strip(row, vocabulary), vocabulary.texts


@pytest.fixture
def tokenizer_file(tmp_path):
    path = tmp_path / "tokenizer.json"
    Tokenizer(WordLevel({"the": 0, "</script>": 1, "[UNK]": 2}, unk_token="[UNK]")).save(str(path))
    return path


def test_texts_of_tokens(tokenizer_file):
    texts = TokenTexts(tokenizer_file)
    assert texts.note == ""
    assert [texts.decode(token) for token in (0, 1, 0, 99, -1)] == ["the", "</script>", "the", "<99>", "<-1>"]


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"model": 1}', b"\xff\xfe"])
def test_without_a_readable_tokenizer_tokens_are_numbers(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    texts = TokenTexts(path)
    assert "tokens are shown as numbers" in texts.note and texts.decode(7) == "<7>"
    assert "no tokenizer.json" in TokenTexts(None).note and TokenTexts(Path("/none")).decode(0) == "<0>"


def test_strip_of_a_short_response():
    strip, texts = make_strip(make_row([5, 6, 5], [-0.5, -1, -2], [-0.25, -1, -2.5]))
    assert strip == {
        "windows": [(0, 3)],
        "tokens": [0, 1, 0],
        "sampler": [-500, -1000, -2000],
        "learner": [-250, -1000, -2500],
    }
    assert texts == ["<5>", "<6>"]


def test_unknown_values_have_no_keys():
    assert make_strip(make_row(None))[0] is None and make_strip(make_row([]))[0] is None
    assert set(make_strip(make_row([1, 2]))[0]) == {"windows", "tokens"}
    assert set(make_strip(make_row([1, 2], [-1, -1]))[0]) == {"windows", "tokens", "sampler"}
    assert set(make_strip(make_row([1, 2], [-1, -1], [-1]))[0]) == {"windows", "tokens", "sampler"}
    assert set(make_strip(make_row([1, 2], [-1], [-1, -1]))[0]) == {"windows", "tokens"}


def test_log_probs_that_are_not_finite_are_none():
    strip, _ = make_strip(make_row([1, 2, 3, 4], [math.nan, -math.inf, -0.5, -1], [-1, -2, -0.25, math.inf]))
    assert strip["sampler"] == [None, None, -500, -1000] and strip["learner"] == [-1000, -2000, -250, None]
    json.dumps(strip, allow_nan=False)


@pytest.mark.parametrize("sign", [1, -1])
def test_huge_log_probs_are_bounded_integers(sign):
    strip, _ = make_strip(make_row([1, 2], [sign * 1e30, -1], [-1, sign * 1e30]))
    assert strip["sampler"][0] == strip["learner"][1] == sign * int(SCALE * MAX_LOGPROB)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_windows_of_a_long_response_show_a_value_that_is_not_finite(value):
    sampler = np.full(10 * WINDOW, -1.0)
    learner = np.full(10 * WINDOW, -9.0)
    sampler[5 * WINDOW] = value
    strip, _ = make_strip(make_row(np.zeros(10 * WINDOW), sampler, learner))
    middle = strip["windows"][1]
    assert strip["sampler"].index(None) == WINDOW + 5 * WINDOW - middle[0]


def test_windows_of_a_long_response_show_its_largest_difference():
    length = 10 * WINDOW
    differences = np.zeros(length)
    differences[5 * WINDOW] = -3.0
    start, middle, end = choose_windows(differences, length)
    assert start == (0, WINDOW) and end == (length - WINDOW, length)
    assert middle == (5 * WINDOW - WINDOW // 2, 5 * WINDOW + WINDOW // 2)
    differences[10] = math.nan  # a value that is none is shown before all others
    assert choose_windows(differences, length) == [start, end]


@given(length=st.integers(1, 6 * WINDOW), largest=st.integers(0, 6 * WINDOW), known=st.booleans())
def test_windows_are_disjoint_and_within_the_response(length, largest, known):
    differences = np.zeros(length)
    differences[min(largest, length - 1)] = 1.0
    windows = choose_windows(differences if known else None, length)
    flat = [place for window in windows for place in window]
    assert flat == sorted(flat) and len(set(flat)) == len(flat)
    assert flat[0] == 0 and flat[-1] == length and sum(end - start for start, end in windows) <= 3 * WINDOW
    assert not known or any(start <= min(largest, length - 1) < end for start, end in windows)


def test_summary_of_the_difference():
    assert summarize_difference(make_row([1, 2], [-1, -2], [-1.5, -2])) == {"mean": 0.25, "largest": 0.5}
    for row in (make_row([1]), make_row([1], [-1]), make_row([], [], []), make_row([1, 2], [-1, -1], [-1])):
        assert summarize_difference(row) is None
