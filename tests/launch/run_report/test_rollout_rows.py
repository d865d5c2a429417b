"""Rows of rollout files as groups: today's columns, those of older versions, and damaged files."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.records.run_directory import SCHEMA
from launch.run_report.rollout_rows import (
    TEXT_COLUMNS,
    TYPES,
    RolloutRow,
    UnreadableRollouts,
    count_rows,
    read_groups,
    split_groups,
)
from tests.launch.run_report.run_factory import OLD_COLUMNS, make_rollout_values, write_rollout_file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "step_000000.parquet"


def write_step(path, columns=None, groups=3, samples=4):
    rows = [make_rollout_values(0, group, sample, samples) for group in range(groups) for sample in range(samples)]
    write_rollout_file(path, rows, columns)
    return rows


def test_types_cover_the_columns_of_a_rollout_file():
    assert set(TYPES) == {field.name for field in SCHEMA} - {"step"}


def test_every_column_is_read(path):
    values = write_step(path)
    rows = [row for group in read_groups(path) for row in group.rows]
    assert len(rows) == len(values) == count_rows(path)
    for row, expected in zip(rows, values, strict=True):
        assert row.response_tokens == len(expected["response_token_ids"])
        for name in TYPES:
            is_float = isinstance(expected[name], float)  # written as float32
            np.testing.assert_array_equal(
                getattr(row, name), np.float32(expected[name]) if is_float else expected[name]
            )


def test_groups_and_their_figures(path):
    write_step(path)
    first, second, third = read_groups(path)
    assert [group.index for group in (first, second, third)] == [0, 1, 2]
    assert second.question_id == "starter/family_1/0000" and [row.sample_index for row in second.rows] == [0, 1, 2, 3]
    assert [group.mean_reward for group in (first, second, third)] == [1.0, 0.5, 0.0]
    assert [group.spread for group in (first, second, third)] == [0.0, 0.5, 0.0]
    assert [group.has_signal for group in (first, second, third)] == [False, True, False]
    assert first.trained and [row.passed for row in second.rows] == [True, True, False, False]
    assert third.rows[-1].at_limit and not third.rows[0].at_limit


def test_figures_only_has_lengths_but_no_texts(path):
    values = write_step(path)
    rows = [row for group in read_groups(path, texts=False) for row in group.rows]
    assert [row.response_tokens for row in rows] == [len(each["response_token_ids"]) for each in values]
    assert {getattr(row, name) for row in rows for name in (*TEXT_COLUMNS, "sampler_logprobs")} == {None}
    assert [row.reward for row in rows] == [each["reward"] for each in values]


def test_columns_that_an_older_version_lacks_are_unknown(path):
    write_step(path, OLD_COLUMNS)
    row = read_groups(path)[1].rows[3]
    assert (row.code, row.learner_logprobs, row.mask_draw, row.truncated, row.trained) == (None,) * 5
    assert row.response is not None and row.reward == 0.0
    write_step(path, ["step"])
    assert read_groups(path) == []


@pytest.mark.parametrize("texts", [True, False])
def test_columns_of_another_type_are_unknown(path, texts):
    table = pa.table(
        {
            "question_id": pa.array([7, 7]),
            "sample_index": pa.array([0, None], pa.int64()),
            "reward": pa.array(["high", "low"]),
            "advantage": pa.array([1, 2]),
            "code": pa.array([[1], [2]]),
            "response": pa.array(["a", "b"]).dictionary_encode(),
            "response_token_ids": pa.array(["x", "y"]),
            "sampler_logprobs": pa.array([[[0.5]], [[0.5]]]),
            "learner_logprobs": pa.array([[1, None], None], pa.large_list(pa.int64())),
            "masked": pa.array([{"a": 1}, None]),
        }
    )
    pq.write_table(table, path)
    first, second = (row for group in read_groups(path, texts=texts) for row in group.rows)
    assert (first.question_id, second.sample_index, second.advantage) == ("7", 0, 2.0)
    assert (first.reward, first.code, first.response_token_ids, first.masked) == (None, None, None, None)
    if texts:
        assert (second.response, first.sampler_logprobs, second.learner_logprobs) == ("b", None, None)
        assert first.learner_logprobs.tolist() == [1.0, 0.0]


def test_excluded_and_non_finite_rewards_do_not_count():
    rewards = [None, math.nan, math.inf, 1.0, 1.0]
    rows = [RolloutRow(sample_index=index, reward=value) for index, value in enumerate(rewards)]
    (group,) = split_groups(rows)
    assert group.rewards == [1.0, 1.0] and group.mean_reward == 1.0 and not group.has_signal
    (empty,) = split_groups(rows[:1])
    assert (empty.mean_reward, empty.spread, empty.has_signal) == (None, None, False)


def test_length_limit_of_a_response_with_an_unknown_end_is_unknown():
    assert [RolloutRow(finish_reason=reason).at_limit for reason in ("length", "stop", None)] == [True, False, None]


def test_group_is_dropped_if_no_row_was_trained():
    def make(*trained):
        return split_groups([RolloutRow(sample_index=index, trained=each) for index, each in enumerate(trained)])[0]

    assert [make(False, False).trained, make(False, True).trained, make(None, False).trained] == [False, True, True]


def test_group_ends_where_the_question_changes_or_the_sample_index_does_not_rise():
    keys = [("a", 0), ("a", 2), ("b", 3), ("b", 3), ("b", 0), ("a", 1)]
    rows = [RolloutRow(question_id=question, sample_index=sample) for question, sample in keys]
    assert [len(group.rows) for group in split_groups(rows)] == [2, 1, 1, 1, 1]


def test_damaged_files_are_errors(path):
    write_step(path)
    content = path.read_bytes()
    damaged = [b"", b"PAR1", content[: len(content) // 2], content[:-1], b"x" * 100, content[: len(content) - 300]]
    middle = bytearray(content)
    middle[40:400] = b"\xff" * 360  # data pages; the footer is intact
    for each in (*damaged, bytes(middle)):
        path.write_bytes(each)
        with pytest.raises(UnreadableRollouts, match=r"step_000000.parquet cannot be read"):
            read_groups(path)
    for each in damaged:
        path.write_bytes(each)
        with pytest.raises(UnreadableRollouts, match="cannot be read"):
            count_rows(path)


def test_missing_file_and_folder_are_errors(tmp_path):
    for path in (tmp_path / "none.parquet", tmp_path):
        for read in (read_groups, count_rows):
            with pytest.raises(UnreadableRollouts, match="cannot be read"):
                read(path)


def test_text_that_is_not_utf8_is_an_error(path):
    column = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], np.int32)), pa.py_buffer(b"\xff"))
    pq.write_table(pa.table({"response": column}), path)
    with pytest.raises(UnreadableRollouts, match="utf-8"):
        read_groups(path)


def draw_column(values):
    return st.lists(st.none() | values, min_size=3, max_size=3)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)  # Arrow refuses surrogates
COLUMNS = st.one_of(
    draw_column(TEXTS),
    draw_column(st.floats()),
    draw_column(st.integers(-(2**63), 2**63 - 1)),
    draw_column(st.booleans()),
    draw_column(st.lists(st.none() | st.floats(), max_size=3)),
    draw_column(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=3)),
)


@given(columns=st.dictionaries(st.sampled_from([*TYPES, "unknown"]), COLUMNS, max_size=8), texts=st.booleans())
def test_any_columns_are_read(tmp_path_factory, columns, texts):
    path = tmp_path_factory.mktemp("run") / "step_000001.parquet"
    pq.write_table(pa.table({"step": [1, 1, 1], **columns}), path)
    groups = read_groups(path, texts=texts)
    assert sum(len(group.rows) for group in groups) in (0, 3)
    for group in groups:
        assert isinstance(group.question_id, str) and all(map(math.isfinite, group.rewards))
