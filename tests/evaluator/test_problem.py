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

from evaluator import Problem, ProblemError, ProblemTest, load_problems, parse_problem, problem, to_row
from evaluator.row_files import RowFileError

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


def test_load_problems_rejects_damaged_and_missing_files(tmp_path):
    (tmp_path / "p").write_bytes(gzip.compress(json.dumps(make_row()).encode())[:-9])
    with pytest.raises(RowFileError, match="damaged gzip data"):
        load_problems(tmp_path / "p")
    with pytest.raises(OSError):
        load_problems(tmp_path / "p.jsonl")


@pytest.mark.parametrize("strict", [False, True])
def test_packed_tests_of_unwanted_problems_are_not_unpacked(tmp_path, monkeypatch, strict):
    unpacked = []
    original = problem._unpack_private_tests
    monkeypatch.setattr(problem, "_unpack_private_tests", lambda text: unpacked.append(text) or original(text))
    packed = pack_tests(json.dumps(STDIN_TESTS))
    ids = ("damaged", "a", "b")
    rows = [make_row(question_id=name, private_test_cases="%%%" if name == "damaged" else packed) for name in ids]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_problems(path, strict, wanted={"b"})
    assert [p.question_id for p in loaded.problems] == ["b"]
    assert (loaded.rejected, loaded.unwanted) == ((), 2)
    assert unpacked == [packed]


def test_other_rows_of_unwanted_problems_are_checked(tmp_path):
    rows = [
        make_row(question_id="a"),
        make_row(question_id="b", public_test_cases="[]"),
        make_row(question_id="a"),
        make_row(question_id=""),
        {"question_id": "s", "code_list": [""]},
    ]
    path = tmp_path / "p"
    path.write_text(json.dumps(rows))
    loaded = load_problems(path, wanted=())
    assert (loaded.problems, loaded.unwanted) == ((), 1)
    assert [(row.line, row.question_id) for row in loaded.rejected] == [(2, "b"), (3, "a"), (4, None), (5, "s")]
    assert "duplicate" in loaded.rejected[1].reason
    assert loaded.rejected[3].reason.endswith("this looks like a row of solutions")


def test_functional_tests_may_hold_integers_of_many_digits():
    tests = [{"input": "7" * 5000, "output": f"[{'8' * 5000}]"}]
    parsed = parse_problem(make_row(public_test_cases=json.dumps(tests), metadata='{"func_name": "f"}'))
    assert parsed.tests == (ProblemTest("7" * 5000, f"[{'8' * 5000}]", "functional"),)


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["f", "[", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["input", "output", "testtype", "type", "checker", "code"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
METADATA = st.dictionaries(
    st.sampled_from(["func_name", "time_limit_s", "memory_limit_mb", "checker", "values"]), ANY_VALUE, max_size=3
)


@given(st.dictionaries(st.sampled_from([*make_row()]), ANY_VALUE | METADATA | METADATA.map(json.dumps)))
def test_any_row_is_a_problem_or_a_problem_error(changes):
    try:
        assert parse_problem(make_row(**changes)).tests
    except ProblemError as error:
        assert str(error)
