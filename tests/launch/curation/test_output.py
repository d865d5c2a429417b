"""Files of a curated data set: they are read back as the problems that were written."""

import errno
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluator.problem import ProblemTest, load_problems
from launch.curation import blocks
from launch.curation.candidate_rows import encode_dropped
from launch.curation.candidates import Dropped
from launch.curation.curated_rows import CURATED_ROWS, CuratedProblem, ProgramCounts, encode_curated, read_curated
from launch.curation.output import (
    DROPPED_FILE,
    NEEDS_CHECKER_FILE,
    PROBLEMS_FILE,
    hash_content,
    hash_tests,
    make_problem_row,
    write_dropped,
    write_problems,
)
from tests.launch.curation.stand_ins import make_candidate

DOCUMENTED_COLUMNS = {
    *("question_id", "question_title", "question_content", "platform", "difficulty", "contest_date", "starter_code"),
    *("public_test_cases", "private_test_cases", "metadata", "source", "licence", "source_id", "content_hash"),
    *("tests_hash", "needs_checker", "weak_tests", "difficulty_measured", "reference_solutions"),
}


def curate(candidate, *, needs_checker="", weak_tests=False):
    return CuratedProblem(
        candidate=candidate,
        needs_checker=needs_checker,
        weak_tests=weak_tests,
        float_checker=False,
        is_verified=True,
        dropped_tests=("test 3: crashes",),
        programs=ProgramCounts(right=1, right_accepted=1, wrong=0, wrong_rejected=0),
    )


def test_written_problems_are_loaded_as_they_were(tmp_path):
    tests = (ProblemTest("\ud800 1\n", "é\n"),)
    candidates = [make_candidate(str(number), content=f"Task {number}", tests=tests) for number in range(600)]
    written = write_problems(tmp_path, map(curate, candidates))
    loaded = load_problems(tmp_path / PROBLEMS_FILE, strict=True)
    assert [problem.question_id for problem in loaded.problems] == [c.problem.question_id for c in candidates]
    assert all(problem.tests == tests for problem in loaded.problems)
    assert loaded.problems[7].question_content == "Task 7"
    assert written.licences == {"set": {"MIT": 600}} and not written.kept_apart


def test_stored_problem_is_read_as_it_was(tmp_path):
    problems = [
        curate(make_candidate("1", content="\ud800"), needs_checker="x"),
        curate(make_candidate("2"), weak_tests=True),
    ]
    pq.write_table(pa.Table.from_pylist([*map(encode_curated, problems)], schema=CURATED_ROWS.schema), tmp_path / "p")
    assert [*read_curated(tmp_path / "p")] == problems


def test_columns_are_the_documented_ones(tmp_path):
    write_problems(tmp_path, [curate(make_candidate(wrong_programs=("print(0)", "\ud800")), weak_tests=True)])
    (row,) = pq.read_table(tmp_path / PROBLEMS_FILE).to_pylist()
    assert set(row) >= DOCUMENTED_COLUMNS
    assert row["reference_solutions"] == ["print(sum(map(int, input().split())))"]
    assert row["wrong_solutions"] == ["print(0)"]
    assert (row["source"], row["source_id"], row["licence"]) == ("set", "1", "MIT")
    assert row["weak_tests"] is True and row["needs_checker"] is False and row["difficulty_measured"] == []


def test_problem_that_needs_a_checker_is_kept_apart(tmp_path):
    problems = [curate(make_candidate(str(number)), needs_checker="two answers" * (number == 1)) for number in range(3)]
    written = write_problems(tmp_path, problems)
    assert pq.read_table(tmp_path / PROBLEMS_FILE)["source_id"].to_pylist() == ["0", "2"]
    apart = pq.read_table(tmp_path / NEEDS_CHECKER_FILE)
    assert apart["source_id"].to_pylist() == ["1"] and apart["needs_checker"].to_pylist() == [True]
    assert [(dropped.question_id, dropped.detail) for dropped in written.kept_apart] == [("set/1", "two answers")]


def test_statement_is_unicode_and_unknown_columns_are_kept():
    candidate = make_candidate(content="a\ud800", extra={"tags": ["dp"], "metadata": {"origin": 3}})
    row = make_problem_row(curate(candidate))
    assert row["question_content"] == "a\ufffd"
    assert row["extra"] == '{"tags": ["dp"]}' and row["metadata"] == '{"origin": 3}'
    assert make_problem_row(curate(make_candidate()))["extra"] is None


def test_hashes_change_with_what_they_cover_only():
    first = make_candidate("1").problem
    renamed = make_candidate("2", source="other").problem
    reworded = make_candidate("1", content="Another task.").problem
    retested = make_candidate("1", tests=(ProblemTest("1 2\n", "4\n"),)).problem
    assert hash_content(first) == hash_content(renamed) == hash_content(retested) != hash_content(reworded)
    assert hash_tests(first) == hash_tests(renamed) == hash_tests(reworded) != hash_tests(retested)


def test_same_problems_give_the_same_bytes(tmp_path):
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_problems(tmp_path / name, map(curate, map(make_candidate, "abc")))
        files.append((tmp_path / name / PROBLEMS_FILE).read_bytes())
    assert files[0] == files[1]


def test_dropped_rows_are_written(tmp_path):
    dropped = Dropped(question_id="set/1", source="set", stage="filter", reason="duplicate", detail="of set/0")
    write_dropped(tmp_path, [encode_dropped(dropped)] * 300)
    rows = pq.read_table(tmp_path / DROPPED_FILE).to_pylist()
    assert len(rows) == 300
    assert rows[0] == {
        "question_id": "set/1",
        "source": "set",
        "stage": "filter",
        "reason": "duplicate",
        "detail": "of set/0",
    }


@pytest.mark.faults
def test_full_disk_keeps_the_old_files(tmp_path, monkeypatch):
    write_problems(tmp_path, [curate(make_candidate("old"))])

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(blocks.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_problems(tmp_path, [curate(make_candidate("new"))])
    assert pq.read_table(tmp_path / PROBLEMS_FILE)["source_id"].to_pylist() == ["old"]
    assert len([*tmp_path.iterdir()]) == 2
