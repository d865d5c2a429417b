"""Pages of a step: figures as columns, and texts of groups in files."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.run_report import step_pages
from launch.run_report.report_folder import encode_json
from launch.run_report.rollout_rows import RolloutRow, read_groups, split_groups
from launch.run_report.run_files import RecordedSettings
from launch.run_report.step_pages import (
    FLAGS,
    HEAD_CHARACTERS,
    TAIL_CHARACTERS,
    make_column,
    make_group_texts,
    make_step_figures,
    make_text_chunks,
    round_figure,
    shorten,
)
from launch.run_report.token_strip import TokenTexts, Vocabulary
from tests.launch.run_report.run_factory import HOSTILE_TEXT, make_rollout_values, write_rollout_file

CONFIG = RecordedSettings({"algorithm": {"truncation_mask": "conditional", "mask_probability": 0.5}})


def make_texts(**values):
    """Return the texts of a single completion."""
    (group,) = split_groups([RolloutRow(**values)])
    return make_group_texts(group, Vocabulary(TokenTexts(None)))["samples"][0]


def test_short_texts_are_whole_and_long_ones_keep_both_ends():
    assert shorten("a" * (HEAD_CHARACTERS + TAIL_CHARACTERS)).left_out == 0
    text = "a" * HEAD_CHARACTERS + "b" * 5 + "c" * TAIL_CHARACTERS
    short = shorten(text)
    assert (short.head, short.left_out, short.tail) == ("a" * HEAD_CHARACTERS, 5, "c" * TAIL_CHARACTERS)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (None, None),
        (math.nan, None),
        (-math.inf, None),
        (0.123456, 0.1235),
        (2.0, 2),
        (True, 1),
        (12345, 12345),
        (0.0, 0),
        (1.79769e308, 1.79769e308),
    ],
)
def test_figures_are_rounded(value, rounded):
    assert round_figure(value) == rounded and type(round_figure(value)) is type(rounded)


def test_column_of_equal_values_is_one_value():
    assert make_column([1, 1]) == {"all": 1} and make_column([1, 2]) == [1, 2] and make_column([]) == []
    assert make_column([None, None]) == {"all": None}


def test_figures_of_a_step(tmp_path):
    path = tmp_path / "step_000002.parquet"
    values = [make_rollout_values(2, group, sample) for group in range(3) for sample in range(4)]
    write_rollout_file(path, values)
    page = make_step_figures(2, read_groups(path, texts=False), CONFIG)
    assert (page["step"], page["sizes"], page["trained"]) == (2, [4, 4, 4], [1, 1, 1])
    assert page["questions"] == [f"starter/family_{group}/0000" for group in range(3)]
    columns = {
        name: column if isinstance(column, list) else [column["all"]] * 12 for name, column in page["columns"].items()
    }
    assert {len(column) for column in columns.values()} == {12}
    names = [None if number is None else page["names"][number] for number in columns["status"]]
    assert names == [row["status"] for row in values]
    assert columns["length"] == [len(row["response_token_ids"]) for row in values]
    for name, key in (("at_limit", "truncated"), ("masked", "masked"), ("repeated_tail", "repeated_tail")):
        assert columns[name] == [int(row[key]) for row in values]


def test_unknown_figures_are_null():
    rows = [RolloutRow(question_id="q"), RolloutRow(question_id="q", sample_index=1)]
    page = make_step_figures(0, split_groups(rows), RecordedSettings({}))
    assert page["columns"]["conditions"] == {"all": "????"}
    assert page["names"] == [] and page["columns"]["status"] == {"all": None}
    assert [page["columns"][name] for name, _ in FLAGS] == [{"all": None}] * 4


def test_draw_is_compared_before_it_is_rounded():
    rows = [RolloutRow(sample_index=0, mask_draw=0.499999), RolloutRow(sample_index=1, mask_draw=0.5)]
    columns = make_step_figures(0, split_groups(rows), CONFIG)["columns"]
    assert columns["draw"] == {"all": 0.5} and columns["conditions"] == ["???1", "???0"]


def test_conditions_are_those_of_the_mask_in_use():
    failed = RolloutRow(finish_reason="length", status="wrong_answer", reward=0.0)
    config = RecordedSettings({"algorithm": {"truncation_mask": "failing"}})
    assert make_step_figures(0, split_groups([failed]), config)["columns"]["conditions"] == {"all": "11"}


def test_program_is_a_place_in_the_answer():
    texts = make_texts(response="é\U0001f600 ```\nx = 1\n```", code="x = 1")
    assert texts["code"] == [8, 13]  # in UTF-16 units, as scripts count
    assert sum(texts["spans"][::2]) == 5


def test_program_that_is_not_in_the_answer_is_a_text():
    assert make_texts(response="none", code="x = 1")["code"] == {"head": "x = 1"}
    assert make_texts(response=None, code="x = 1")["answer"] is None
    assert make_texts(response="", code="")["code"] == {"head": ""}
    long = "y" * HEAD_CHARACTERS
    assert make_texts(response=f"{long}x = 1", code="x = 1")["code"] == {"head": "x = 1"}  # beyond what is shown


def test_long_program_is_shortened():
    code = "x = 1\n" * 10_000
    texts = make_texts(response=code, code=code)
    assert texts["code"]["left_out"] == texts["answer"]["left_out"] == len(code) - HEAD_CHARACTERS - TAIL_CHARACTERS
    assert sum(texts["spans"][::2]) == HEAD_CHARACTERS


def test_missing_texts_have_no_keys():
    assert make_texts() == {"answer": None}
    assert make_texts(failed_input="1", failed_actual="")["input"] == "1"
    assert "expected" not in make_texts(failed_input="1") and make_texts(failed_actual="")["actual"] == ""


def test_hostile_texts_are_strings():
    texts = make_texts(response=HOSTILE_TEXT, code=HOSTILE_TEXT, failed_input=HOSTILE_TEXT)
    assert texts["answer"] == {"head": HOSTILE_TEXT} and texts["input"] == HOSTILE_TEXT


def make_groups(sizes):
    rows = [
        RolloutRow(question_id=f"q{group}", sample_index=sample, response="x" * length)
        for group, length in enumerate(sizes)
        for sample in range(2)
    ]
    return split_groups(rows)


@given(sizes=st.lists(st.integers(0, 300), max_size=8), limit=st.integers(1, 1000))
def test_chunks_hold_every_group_once(sizes, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_pages, "MAX_CHUNK_BYTES", limit)
        groups = make_groups(sizes)
        chunks = make_text_chunks(groups, TokenTexts(None))
    assert [index for chunk in chunks for index in chunk.groups] == [group.index for group in groups]
    for chunk in chunks:
        content = json.loads(chunk.content)
        assert [each["group"] for each in content["groups"]] == list(chunk.groups)
        vocabulary = Vocabulary(TokenTexts(None))
        texts = [make_group_texts(groups[index], vocabulary) for index in chunk.groups]
        assert chunk.content == encode_json({"tokens": vocabulary.texts, "groups": texts})
        assert sum(len(encode_json(each)) for each in texts[:-1]) < limit  # the last group only may exceed it
