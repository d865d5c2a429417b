"""Storage of candidates: an exact round trip through Parquet, lone surrogates included."""

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.problem import Problem, ProblemTest
from launch.curation.candidate_rows import (
    CANDIDATE_ROWS,
    CandidateError,
    decode_candidate,
    encode_candidate,
    encode_dropped,
    read_candidates,
)
from launch.curation.candidates import Candidate, Dropped
from tests.launch.curation.stand_ins import make_candidate

SURROGATE = "a\ud800b"
ANY_TEXT = st.text(st.characters(), max_size=20)  # with lone surrogates
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(ANY_TEXT, children, max_size=3),
    max_leaves=8,
)
TESTS = st.lists(st.builds(ProblemTest, ANY_TEXT, ANY_TEXT, st.sampled_from(["stdin", "functional"]))).map(tuple)
PROBLEMS = st.builds(
    Problem,
    question_id=NAME,
    question_title=ANY_TEXT,
    question_content=ANY_TEXT,
    platform=NAME,
    difficulty=st.none() | NAME,
    contest_date=st.none() | NAME,
    starter_code=ANY_TEXT,
    public_tests=TESTS,
    private_tests=TESTS,
    func_name=st.none() | NAME,
    time_limit_s=st.none() | st.floats(0, 100),
    memory_limit_mb=st.none() | st.integers(1, 4096),
    checker=st.none() | st.dictionaries(ANY_TEXT, JSON_VALUES, max_size=2),
    values=st.sampled_from(["json", "python"]),
    extra=st.dictionaries(ANY_TEXT, JSON_VALUES, max_size=2),
)
PROGRAMS = st.lists(ANY_TEXT, max_size=3).map(tuple)
CANDIDATES = st.builds(
    Candidate,
    problem=PROBLEMS,
    source=NAME,
    source_id=NAME,
    licence=NAME,
    right_programs=PROGRAMS,
    wrong_programs=PROGRAMS,
)


@given(CANDIDATES)
def test_row_and_candidate_are_inverse(candidate):
    row = encode_candidate(candidate)
    stored = pa.Table.from_pylist([row], schema=CANDIDATE_ROWS.schema).to_pylist()
    assert stored == [row]
    assert decode_candidate(stored[0]) == candidate


def test_file_keeps_candidates_in_order(tmp_path):
    candidates = [make_candidate(str(index), content=SURROGATE * index) for index in range(40)]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([*map(encode_candidate, candidates)], schema=CANDIDATE_ROWS.schema), path)
    assert list(read_candidates(path)) == candidates


@pytest.mark.parametrize("column", ["question_id", "source_id", "platform"])
def test_name_with_a_lone_surrogate_is_rejected(column):
    names = {"question_id": "q", "source_id": "q", "platform": "other", column: SURROGATE}
    candidate = make_candidate(names["source_id"], question_id=names["question_id"], platform=names["platform"])
    with pytest.raises(CandidateError, match=f"^{column}: not Unicode"):
        encode_candidate(candidate)


def test_extra_column_that_json_does_not_have_becomes_text():
    candidate = make_candidate("1", extra={"day": datetime.date(2025, 1, 2), "blob": b"x"})
    assert decode_candidate(encode_candidate(candidate)).problem.extra == {"day": "2025-01-02", "blob": "b'x'"}


def test_extra_column_nested_too_deeply_is_rejected():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(CandidateError, match="cannot be stored as JSON"):
        encode_candidate(make_candidate("1", extra={"nested": nested}))


def test_dropped_row_is_stored_as_unicode_and_cut():
    detail = SURROGATE + "x" * 5000
    dropped = Dropped(question_id=SURROGATE, source="set", stage="collect", reason="bad_row", detail=detail)
    row = encode_dropped(dropped)
    assert row["question_id"] == "a\ufffdb"
    assert row["detail"].startswith("a\ufffdbx") and len(row["detail"]) == 1000
