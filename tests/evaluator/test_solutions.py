"""Solution files: both layouts, compressed or plain, complete or damaged."""

import gzip
import io
import json
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator import ProblemTest, SandboxError, row_files
from evaluator.row_files import RejectedRow, RowFileError
from evaluator.solutions import SolutionRow, read_solutions
from tests.evaluator.problems import make_problem_with_tests

ROWS = [
    {"question_id": "a", "code_list": ["print(1)", ""]},
    {"question_id": 7, "output_list": ["é\n```python\nprint(2)\n```\n"], "note": [1.5, None]},
]
PARSED_ROWS = [
    SolutionRow(row=1, question_id="a", texts=("print(1)", ""), raw=False),
    SolutionRow(row=2, question_id="7", texts=("é\n```python\nprint(2)\n```\n",), raw=True),
]


def dump_json_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_and_read(path: Path, data: str | bytes):
    """Write ``data`` to ``path`` and return the rows that are read from it."""
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_solutions(path))


@pytest.mark.parametrize("byte_order_mark", ["", "\ufeff"], ids=["no byte order mark", "byte order mark"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "text",
    [
        dump_json_lines(ROWS),
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2, ensure_ascii=False),
        "\n [" + dump_json_lines(ROWS[:1]) + " , ",
    ],
    ids=["JSONL", "list", "indented list", "list over several lines"],
)
def test_layout_is_detected_from_the_content(tmp_path, text, compress, byte_order_mark):
    if text.endswith(", "):
        text += dump_json_lines(ROWS[1:]) + "]\n\n"
    assert write_and_read(tmp_path / "any.name", compress((byte_order_mark + text).encode())) == PARSED_ROWS


def test_row_numbers_are_line_numbers(tmp_path):
    path = tmp_path / "s.jsonl"
    assert [
        row.row for row in write_and_read(path, "\r\n" + json.dumps(ROWS[0]) + "\r\n\r\n" + json.dumps(ROWS[1]))
    ] == [2, 4]


@pytest.mark.parametrize("text", ["", "\n \n", "[]", " [ ] "])
def test_file_without_rows_is_valid(tmp_path, text):
    assert write_and_read(tmp_path / "s.json", text) == []


INVALID_ROWS = {
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


@pytest.mark.parametrize("row", INVALID_ROWS)
@pytest.mark.parametrize("layout", ["[{}, {}, {}]", "{}\n{}\n{}\n"], ids=["list", "JSONL"])
def test_invalid_row_is_rejected_with_its_number(tmp_path, row, layout):
    good = json.dumps(ROWS[0])
    first, second, third = write_and_read(tmp_path / "s", layout.format(good, row, good))
    assert isinstance(second, RejectedRow)
    assert second.line == 2
    assert re.search(INVALID_ROWS[row], second.reason)
    assert (first.row, third.row) == (1, 3)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"question_id": "q"', "not JSON"),
        ("\xff", "not UTF-8"),
        ("[" * 200_000, "not JSON: nested too deeply"),
        ("1" * 5000, "expected an object"),
        ('{"a": 1} {"b": 2}', "not JSON"),
    ],
)
def test_broken_line_does_not_affect_other_lines(tmp_path, broken, reason):
    good = json.dumps(ROWS[0]).encode()
    first, second, third = write_and_read(tmp_path / "s", b"\n".join([good, broken.encode("latin-1"), good]))
    assert isinstance(second, RejectedRow)
    assert second.reason.startswith(reason)
    assert (first.row, second.line, third.row) == (1, 2, 3)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("", "without a closing bracket"),
        (",", "after row 1"),
        (", {", "after row 1"),
        (' {"question_id"', "unexpected '{' after a row"),
        (",]", "after row 1"),
        ("] x", "unexpected 'x' after the closing bracket"),
        (", 1x]", "unexpected 'x' after a row"),
        ("]]", "after the closing bracket"),
        (", " + "[" * 200_000, "after row 1"),
        (", \udcff]", "after row"),
    ],
)
def test_broken_list_raises(tmp_path, end, message):
    path = tmp_path / "s.json"
    path.write_bytes(("[" + json.dumps(ROWS[0]) + end).encode(errors="surrogateescape"))
    with pytest.raises(RowFileError, match=message) as raised:
        list(read_solutions(path))
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:30] + b"\xff\0" * 9])
@pytest.mark.parametrize("text", [dump_json_lines(ROWS * 9), json.dumps(ROWS * 9)], ids=["JSONL", "list"])
def test_damaged_gzip_raises(tmp_path, damage, text):
    path = tmp_path / "s.gz"
    path.write_bytes(damage(gzip.compress(text.encode())))
    with pytest.raises(RowFileError, match="damaged gzip"):
        list(read_solutions(path))


def test_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(read_solutions(tmp_path / "s.json"))


def test_code_list_takes_precedence_over_output_list(tmp_path):
    row = {"question_id": "q", "output_list": ["an answer"], "code_list": ["print(1)"], "graded_list": [True]}
    assert write_and_read(tmp_path / "s", dump_json_lines([row])) == [
        SolutionRow(row=1, question_id="q", texts=("print(1)",), raw=False)
    ]


def test_programs_are_extracted_from_raw_answers():
    stdin_problem = make_problem_with_tests(ProblemTest("", "1"))
    answers = ("```python\nprint(1)\n```", "no idea", "```python\ndef f(): return 1\n```")
    assert list(SolutionRow(row=1, question_id="q", texts=answers, raw=False).iter_programs(stdin_problem)) == list(
        answers
    )
    assert list(SolutionRow(row=1, question_id="q", texts=answers, raw=True).iter_programs(stdin_problem)) == [
        "print(1)\n",
        None,
        "def f(): return 1\n",
    ]
    functional_problem = make_problem_with_tests(ProblemTest("", "1", "functional"), func_name="f")
    assert list(SolutionRow(row=1, question_id="q", texts=answers, raw=True).iter_programs(functional_problem)) == [
        None,
        None,
        "def f(): return 1\n",
    ]


@pytest.mark.usefixtures("failing_parser")
def test_failure_of_the_parser_concerns_one_answer():
    row = SolutionRow(row=1, question_id="q", texts=("```python\nprint(1)\n```", "", "print(1)"), raw=True)
    errors = list(row.iter_programs(make_problem_with_tests(ProblemTest("", "1"))))
    assert [type(error) for error in errors] == [SandboxError, type(None), SandboxError]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def read_in_chunks(text, size):
    """Return the values of a JSON list that is read in chunks of ``size`` characters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_files, "_CHUNK_SIZE", size)
        return [value for _, value in row_files._read_json_list(io.BufferedReader(io.BytesIO(text.encode())))]


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 9))
def test_list_read_in_chunks_equals_what_json_reads(values, indent, ascii_only, chunk_size):
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    assert read_in_chunks(text, chunk_size) == values


@settings(max_examples=3 * settings.default.max_examples)
@given(
    st.lists(st.sampled_from(["1", "1.5", '"a"', "{}", "[]", "null", ",", ",", "]", " ", "e", "."])), st.integers(1, 9)
)
def test_list_is_rejected_exactly_when_json_rejects_it(tokens, chunk_size):
    text = "".join(tokens)
    try:
        values = json.loads("[" + text)
    except ValueError:
        with pytest.raises(ValueError):
            read_in_chunks("[" + text, chunk_size)
    else:
        assert read_in_chunks("[" + text, chunk_size) == values


@pytest.mark.heavy
def test_reading_a_large_file_needs_little_memory(tmp_path):
    """Memory stays near the largest row (10 MB), although the whole file is one line of 40 MB."""
    path = tmp_path / "s.json"
    small, large = ({"question_id": "q", "code_list": ["x" * size]} for size in (3000, 10_000_000))
    path.write_text(json.dumps([small] * 5000 + [large] + [small] * 5000))
    tracemalloc.start()
    count = sum(1 for _ in read_solutions(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 10_001
    assert peak < 80e6
