"""Problems: parsing and writing rows, and loading files in JSON Lines and Parquet."""

import base64
import gzip
import json
import pickle
import zlib

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Problem, ProblemError, ProblemTest, load_problems, parse_problem, to_row

STDIN_TESTS = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
FUNCTIONAL_TESTS = [{"input": "1\n2", "output": "3", "testtype": "functional"}]


def make_row(**changes):
    """Return a valid row of a problem file with changed columns."""
    return {
        "question_id": "q1",
        "question_title": "Sum",
        "question_content": "Add.",
        "platform": "atcoder",
        "difficulty": "easy",
        "contest_date": "2025-01-04T00:00:00",
        "starter_code": "",
        "public_test_cases": json.dumps(STDIN_TESTS),
        "private_test_cases": "[]",
        "metadata": "{}",
        **changes,
    }


def pack_tests(value):
    """Return ``value`` in the format of LiveCodeBench's private tests: pickle, zlib, base64."""
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def test_row_is_parsed():
    problem = parse_problem(make_row(private_test_cases=pack_tests(json.dumps(STDIN_TESTS * 2)), contest_id="abc1"))
    assert (problem.question_id, problem.difficulty, problem.func_name) == ("q1", "easy", None)
    assert problem.tests == (ProblemTest("1 2\n", "3\n", "stdin"),) * 3
    assert len(problem.public_tests) == 1
    assert problem.extra == {"contest_id": "abc1"}


def test_metadata_is_parsed():
    metadata = {"func_name": "add", "time_limit_s": 2.5, "memory_limit_mb": 256, "checker": {"type": "float"}, "x": 1}
    problem = parse_problem(make_row(metadata=json.dumps(metadata), public_test_cases=json.dumps(FUNCTIONAL_TESTS)))
    assert (problem.func_name, problem.time_limit_s, problem.memory_limit_mb) == ("add", 2.5, 256)
    assert problem.checker == {"type": "float"}
    assert parse_problem(to_row(problem)) == problem


def test_missing_and_null_columns_have_defaults():
    problem = parse_problem({"question_id": 7, "public_test_cases": STDIN_TESTS, "difficulty": None})
    assert (problem.question_id, problem.platform, problem.contest_date) == ("7", "other", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question_id": ""}, "question_id"),
        ({"question_id": None}, "question_id"),
        ({"public_test_cases": "[]"}, "no tests"),
        ({"public_test_cases": "{"}, "public_test_cases: not JSON"),
        ({"public_test_cases": "{}"}, "public_test_cases: expected a JSON list"),
        ({"public_test_cases": '[{"input": "1"}]'}, r"public_test_cases\[0\]\.output"),
        ({"public_test_cases": "[3]"}, r"public_test_cases\[0\]"),
        ({"public_test_cases": json.dumps(FUNCTIONAL_TESTS)}, "testtype"),
        ({"metadata": "[]"}, "metadata"),
        ({"metadata": '{"func_name": "a b"}'}, "metadata.func_name"),
        ({"metadata": '{"time_limit_s": -1}'}, "metadata.time_limit_s"),
        ({"metadata": '{"time_limit_s": true}'}, "metadata.time_limit_s"),
        ({"metadata": '{"memory_limit_mb": "big"}'}, "metadata.memory_limit_mb"),
        ({"metadata": '{"checker": "float"}'}, "metadata.checker"),
        ({"question_title": 3}, "question_title"),
        ({"private_test_cases": "%%%"}, "private_test_cases: neither"),
        ({"private_test_cases": base64.b64encode(b"abc").decode()}, "private_test_cases: neither"),
        ({"private_test_cases": base64.b64encode(zlib.compress(b"abc")).decode()}, "private_test_cases: not a pickle"),
        ({"private_test_cases": pack_tests([1])}, "private_test_cases: the pickle holds list"),
    ],
)
def test_invalid_row_raises(changes, message):
    with pytest.raises(ProblemError, match=message):
        parse_problem(make_row(**changes))


@pytest.mark.parametrize("field", ["input", "output"])
def test_functional_tests_must_be_json(field):
    tests = json.dumps([FUNCTIONAL_TESTS[0] | {field: "1\n2 3"}])
    with pytest.raises(ProblemError, match=rf"public_test_cases\[0\]\.{field}.*JSON"):
        parse_problem(make_row(public_test_cases=tests, metadata='{"func_name": "add"}'))


class MaliciousPickle:
    """Object whose pickle would print when it is loaded."""

    def __reduce__(self):
        return (print, ("executed",))


def test_loading_a_pickle_executes_no_code(capsys):
    with pytest.raises(ProblemError, match="print"):
        parse_problem(make_row(private_test_cases=pack_tests(MaliciousPickle())))
    assert capsys.readouterr().out == ""


TEXT = st.text(max_size=20)
TESTS = st.lists(st.builds(ProblemTest, TEXT, TEXT, st.just("stdin")), min_size=1, max_size=3).map(tuple)


@given(TEXT.filter(bool), TEXT, TESTS, TESTS, st.none() | st.floats(0.1, 60))
def test_to_row_inverts_parse_problem(question_id, text, public, private, seconds):
    problem = Problem(
        question_id=question_id,
        question_title=text,
        question_content=text,
        platform="leetcode",
        difficulty=None,
        contest_date=None,
        starter_code=text,
        public_tests=public,
        private_tests=private,
        time_limit_s=seconds,
    )
    assert parse_problem(json.loads(json.dumps(to_row(problem)))) == problem


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz"])
def test_load_problems_reads_json_lines(tmp_path, name):
    path = tmp_path / name
    lines = [
        json.dumps(make_row()),
        "",
        "{broken",
        json.dumps(make_row()),
        json.dumps(make_row(question_id="q2")),
        "[]",
    ]
    data = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    loaded = load_problems(path)
    assert [p.question_id for p in loaded.problems] == ["q1", "q2"]
    assert [(r.line, r.reason.split(":")[0]) for r in loaded.rejected] == [
        (3, "not JSON"),
        (4, "question_id"),
        (6, "expected an object, got list"),
    ]
    with pytest.raises(ProblemError, match="line 3"):
        load_problems(path, strict=True)


def test_load_problems_reads_parquet(tmp_path):
    path = tmp_path / "p.parquet"
    rows = [make_row(), make_row(question_id="q2", public_test_cases="[]"), make_row(question_id="q3")]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    loaded = load_problems(path)
    assert [p.question_id for p in loaded.problems] == ["q1", "q3"]
    assert [r.line for r in loaded.rejected] == [2]


def test_load_problems_rejects_unknown_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match="neither"):
        load_problems(tmp_path / "p.csv")
    with pytest.raises(OSError):
        load_problems(tmp_path / "p.jsonl")
