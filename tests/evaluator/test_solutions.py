"""Files of solutions: both layouts, compressed or not, whole or damaged, row by row."""

import gzip
import io
import json
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator import Problem, ProblemTest, solutions
from evaluator.problem import RejectedRow
from evaluator.solutions import SolutionRow, SolutionsError, read_solutions

ROWS = [
    {"question_id": "a", "code_list": ["print(1)", ""]},
    {"question_id": 7, "output_list": ["é\n```python\nprint(2)\n```\n"], "note": [1.5, None]},
]
READ = [
    SolutionRow(row=1, question_id="a", texts=("print(1)", ""), raw=False),
    SolutionRow(row=2, question_id="7", texts=("é\n```python\nprint(2)\n```\n",), raw=True),
]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(path: Path, data: str | bytes):
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_solutions(path))


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["bare", "byte order mark"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "text",
    [lines(ROWS), json.dumps(ROWS), json.dumps(ROWS, indent=2, ensure_ascii=False), "\n [" + lines(ROWS[:1]) + " , "],
    ids=["JSONL", "list", "indented list", "list in pieces"],
)
def test_layouts_are_told_by_content(tmp_path, text, pack, mark):
    if text.endswith(", "):
        text += lines(ROWS[1:]) + "]\n\n"
    assert read(tmp_path / "any.name", pack((mark + text).encode())) == READ


def test_row_numbers_are_lines(tmp_path):
    path = tmp_path / "s.jsonl"
    assert [row.row for row in read(path, "\r\n" + json.dumps(ROWS[0]) + "\r\n\r\n" + json.dumps(ROWS[1]))] == [2, 4]


@pytest.mark.parametrize("text", ["", "\n \n", "[]", " [ ] "])
def test_nothing(tmp_path, text):
    assert read(tmp_path / "s.json", text) == []


BAD_VALUES = {
    "3": "expected an object, got int",
    "{}": "question_id",
    '{"question_id": true, "code_list": ["x"]}': "question_id: .* true",
    '{"question_id": "", "code_list": ["x"]}': "question_id",
    '{"question_id": "q"}': "neither code_list nor output_list",
    '{"question_id": "q", "code": "x"}': 'neither code_list nor output_list, only .*"code"',
    '{"question_id": "q", "code_list": "x"}': 'code_list: expected a list .* got "x"',
    '{"question_id": "q", "code_list": []}': "code_list: expected a list with at least one text",
    '{"question_id": "q", "code_list": ["x", null]}': r"code_list\[1\]: expected text, got null",
    '{"question_id": "q", "output_list": [["x"]]}': r"output_list\[0\]: expected text",
    '{{"question_id": "q", "output_list": [{}]}}'.format(json.dumps(["y" * 999])): r"output_list\[0\].{,120}$",
}


@pytest.mark.parametrize("bad", BAD_VALUES)
@pytest.mark.parametrize("layout", ["[{}, {}, {}]", "{}\n{}\n{}\n"], ids=["list", "JSONL"])
def test_bad_rows_keep_their_place(tmp_path, bad, layout):
    good = json.dumps(ROWS[0])
    first, second, third = read(tmp_path / "s", layout.format(good, bad, good))
    assert isinstance(second, RejectedRow)
    assert second.line == 2
    assert re.search(BAD_VALUES[bad], second.reason)
    assert (first.row, third.row) == (1, 3)


@pytest.mark.parametrize("broken", ['{"question_id": "q"', "\xff", "[" * 200_000, "1" * 5000, '{"a": 1} {"b": 2}'])
def test_a_broken_line_costs_itself(tmp_path, broken):
    good = json.dumps(ROWS[0]).encode()
    first, second, third = read(tmp_path / "s", b"\n".join([good, broken.encode("latin-1"), good]))
    assert isinstance(second, RejectedRow)
    assert second.reason.startswith("not JSON")
    assert (first.row, second.line, third.row) == (1, 2, 3)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("", "without a closing bracket"),
        (",", "after row 1"),
        (", {", "after row 1"),
        (' {"question_id"', "after a row comes '{'"),
        (",]", "after row 1"),
        ("] x", "after its closing bracket comes 'x'"),
        (", 1x]", "after a row comes 'x'"),
        ("]]", "after its closing bracket"),
        (", " + "[" * 200_000, "after row 1"),
        (", \udcff]", "after row"),
    ],
)
def test_a_broken_list_is_given_up(tmp_path, end, message):
    path = tmp_path / "s.json"
    path.write_bytes(("[" + json.dumps(ROWS[0]) + end).encode(errors="surrogateescape"))
    with pytest.raises(SolutionsError, match=message) as raised:
        list(read_solutions(path))
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:30] + b"\xff\0" * 9])
@pytest.mark.parametrize("text", [lines(ROWS * 9), json.dumps(ROWS * 9)], ids=["JSONL", "list"])
def test_damaged_gzip(tmp_path, damage, text):
    path = tmp_path / "s.gz"
    path.write_bytes(damage(gzip.compress(text.encode())))
    with pytest.raises(SolutionsError, match="damaged gzip"):
        list(read_solutions(path))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(read_solutions(tmp_path / "s.json"))


def test_programs_win_over_the_answers_they_came_from(tmp_path):
    row = {"question_id": "q", "output_list": ["an answer"], "code_list": ["print(1)"], "graded_list": [True]}
    assert read(tmp_path / "s", lines([row])) == [SolutionRow(row=1, question_id="q", texts=("print(1)",), raw=False)]


def test_codes():
    stdin = Problem(
        question_id="q",
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=(ProblemTest("", "1"),),
        private_tests=(),
    )
    answers = ("```python\nprint(1)\n```", "no idea", "```python\ndef f(): return 1\n```")
    assert list(SolutionRow(row=1, question_id="q", texts=answers, raw=False).codes(stdin)) == list(answers)
    assert list(SolutionRow(row=1, question_id="q", texts=answers, raw=True).codes(stdin)) == [
        "print(1)\n",
        None,
        "def f(): return 1\n",
    ]
    functional = Problem(
        question_id="q",
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=(ProblemTest("", "1", "functional"),),
        private_tests=(),
        func_name="f",
    )
    assert list(SolutionRow(row=1, question_id="q", texts=answers, raw=True).codes(functional)) == [
        None,
        None,
        "def f(): return 1\n",
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def in_pieces(text, size):
    """The values of a list that is read ``size`` characters at a time, wherever that cuts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solutions, "_PIECE", size)
        return [value for _, value in solutions._list_rows(io.BytesIO(text.encode()))]


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 9))
def test_a_list_in_pieces_is_what_json_reads(values, indent, ascii_only, piece):
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    assert in_pieces(text, piece) == values


@settings(max_examples=3 * settings.default.max_examples)
@given(
    st.lists(st.sampled_from(["1", "1.5", '"a"', "{}", "[]", "null", ",", ",", "]", " ", "e", "."])), st.integers(1, 9)
)
def test_a_list_is_refused_exactly_when_json_refuses_it(parts, piece):
    text = "".join(parts)
    try:
        values = json.loads("[" + text)
    except ValueError:
        with pytest.raises(ValueError):
            in_pieces("[" + text, piece)
    else:
        assert in_pieces("[" + text, piece) == values


def test_reading_needs_little_memory_and_time(tmp_path):
    """40 MB in one line, with a row of 10 MB: what is held at a time is a piece, or the largest row."""
    path = tmp_path / "s.json"
    small, large = ({"question_id": "q", "code_list": ["x" * size]} for size in (3000, 10_000_000))
    path.write_text(json.dumps([small] * 5000 + [large] + [small] * 5000))
    tracemalloc.start()
    count = sum(1 for _ in read_solutions(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_001
    assert peak < 80e6
