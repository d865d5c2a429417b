"""HumanEval loader: conversion of rows into problems, which accept right programs and reject wrong ones."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from evaluator import Evaluator, Limits
from evaluator.extraction import extract_code
from evaluator.problem import ProblemError
from evaluator.verdict import Status
from launch.problems import published_files
from launch.problems.evaluation_set import BadRow, BenchmarkError
from launch.problems.humaneval import load_humaneval
from launch.problems.prompts import build_messages

DATA = Path(__file__).parents[4] / "shared" / "data" / "raw" / "HumanEval.jsonl.gz"


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30.0, cpu_s=30.0)) as evaluator:
        yield evaluator


PROMPT = """from typing import List, Tuple


def double(x: int) -> int:
    return 2 * x


def ends(values: List[int]) -> Tuple[int, int]:
    \"\"\" The double of the first and of the last value.
    >>> ends([1, 2, 3])
    (2, 6)
    \"\"\"
"""
TEST = (
    "def check(candidate):\n    assert candidate([1, 2, 3]) == (2, 6)\n    assert candidate([5]) == (10, 10), 'one'\n"
)


def row(number, **changes):
    """Make an invented row with the published columns."""
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": PROMPT,
        "entry_point": "ends",
        "canonical_solution": "    return double(values[0]), double(values[-1])\n",
        "test": TEST,
        **changes,
    }


def root_row(number):
    """Make a row whose tests accept any square root."""
    return row(
        number,
        prompt="def root(x: float):\n    ''' A root of x. '''\n",
        entry_point="root",
        canonical_solution="    return x ** 0.5\n",
        test="def check(candidate):\n    for x in (4, 9):\n        assert abs(candidate(x) ** 2 - x) < 1e-4\n",
    )


def write(path, *rows):
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in rows]
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def test_row_becomes_a_problem(tmp_path):
    loaded = load_humaneval(write(tmp_path / "h.jsonl.gz", row(0)), strict=True)
    (problem,) = loaded.problems
    assert (problem.question_id, problem.func_name, problem.values) == ("HumanEval/0", "ends", "python")
    assert [(test.input, test.output) for test in problem.private_tests] == [
        ("[1, 2, 3]", '{"tuple": [2, 6]}'),
        ("[5]", '{"tuple": [10, 10]}'),
    ]
    assert (problem.platform, problem.difficulty, problem.contest_date, problem.checker) == ("other", None, None, None)
    assert (loaded.summary.selected, loaded.window, loaded.remarks) == (1, None, ())


def test_prompt_contains_the_function_stub(tmp_path):
    (problem,) = load_humaneval(write(tmp_path / "h.jsonl", row(0)), strict=True).problems
    for style in ("training", "livecodebench"):
        assert PROMPT.strip() in build_messages(problem, style)[-1][1]


ANSWERS = {
    "complete program": (PROMPT + row(0)["canonical_solution"], True),
    "without imports and helpers": ("def ends(values: List[int]):\n    return double(values[0]), 2 * values[-1]", True),
    "list instead of tuple": ("def ends(values):\n    return [2 * values[0], 2 * values[-1]]", False),
    "unchanged stub": (PROMPT, False),
    "disabled AssertionError": ("import builtins\nbuiltins.AssertionError = None\n" + PROMPT, False),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", ANSWERS)
def test_only_right_answers_pass(evaluator, tmp_path, name):
    code, is_right = ANSWERS[name]
    (problem,) = load_humaneval(write(tmp_path / "h.jsonl", row(0)), strict=True).problems
    extracted = extract_code(f"Here:\n```python\n{code}\n```", problem.func_name).code
    assert evaluator.evaluate(problem, extracted).passed is is_right


@pytest.mark.heavy
def test_tests_weaker_than_equality_become_a_custom_checker(evaluator, tmp_path):
    (problem,) = load_humaneval(write(tmp_path / "h.jsonl", root_row(0)), strict=True).problems
    assert evaluator.evaluate(problem, "def root(x): return -(x ** 0.5)").accepted_by == "custom"
    assert evaluator.evaluate(problem, "def root(x): return x / 2").status is Status.WRONG_ANSWER
    assert evaluator.evaluate(problem, "def root(x): return None").status is Status.WRONG_ANSWER
    assert evaluator.evaluate(problem, "def root(x): return object()").status is Status.WRONG_ANSWER


BAD_ROWS = {
    "not JSON": (b"{", "not JSON"),
    "not UTF-8": (b'{"task_id": "\xff"}', "not UTF-8"),
    "list": ([1], "expected an object"),
    "other columns": ({"task_id": "x"}, "missing columns prompt, entry_point"),
    "number as prompt": (row(9, prompt=3), "prompt: expected text, got int"),
    "not Python": (row(9, prompt="def ends("), "prompt: not Python"),
    "undefined function": (row(9, entry_point="start"), "entry_point: the prompt defines double, ends, not 'start'"),
    "duplicate id": (row(0), "duplicate of an earlier 'HumanEval/0'"),
    "wrong reference": (row(9, canonical_solution="    return ()\n"), "does not pass its own tests"),
    "no calls": (
        row(9, test="def check(candidate):\n    pass\n"),
        "no call in the published tests could be turned into a test",
    ),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_reported_with_file_and_row(tmp_path, name):
    bad, message = BAD_ROWS[name]
    path = write(tmp_path / "h.jsonl", row(0), bad, root_row(1))
    loaded = load_humaneval(path, strict=False)
    assert [problem.question_id for problem in loaded.problems] == ["HumanEval/0", "HumanEval/1"]
    (rejected,) = loaded.summary.rejected
    assert (rejected.file, rejected.line) == ("h.jsonl", 2)
    assert message in rejected.reason
    with pytest.raises(ProblemError, match=r"h\.jsonl, line 2"):
        load_humaneval(path, strict=True)


def test_problem_with_a_dropped_call_is_kept_with_a_remark(tmp_path):
    test = f"{TEST}    candidate([object()] * 2)\n"
    solution = "    return (double(values[0]), double(values[-1])) if type(values[0]) is int else None\n"
    loaded = load_humaneval(write(tmp_path / "h.jsonl", row(0, test=test, canonical_solution=solution)), strict=True)
    assert len(loaded.problems[0].tests) == 2
    (remark,) = loaded.remarks
    reason = "arguments: object is not a JSON value"
    assert remark == f"HumanEval/0: 1 of 3 calls dropped (cannot be tests), first: {reason}"


def test_damaged_file_is_read_up_to_the_damage(tmp_path):
    path = tmp_path / "h.jsonl.gz"
    write(path, row(0), root_row(1))
    path.write_bytes(path.read_bytes()[:-8])
    loaded = load_humaneval(str(path), strict=False)
    assert len(loaded.problems) == 2
    assert loaded.summary.rejected[0].line is None
    assert isinstance(loaded.summary.rejected[0], BadRow)


@pytest.mark.heavy
def test_file_is_recognised_by_its_content(tmp_path):
    """The names say nothing, or something else than the content."""
    rows = [row(0), root_row(1)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "h.jsonl")
    (tmp_path / "h.txt").write_text(json.dumps(rows))
    (tmp_path / "h.parquet").write_bytes(gzip.compress(json.dumps(rows).encode()))
    from_lines = load_humaneval(write(tmp_path / "h", *rows), strict=True)
    assert len(from_lines.problems) == 2
    for name in ("h.jsonl", "h.txt", "h.parquet"):
        assert load_humaneval(str(tmp_path / name), strict=True) == from_lines


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "no such file"),
        ("h.txt", b"prompt,test\n", "first bad row: h.txt, line 1: not JSON"),
        ("h.jsonl", b"", "no usable problem of HumanEval"),
        ("h.parquet", b"PAR1", "no usable problem.*damaged Parquet data"),
        ("h.json", b"{}", "missing columns"),
    ],
)
def test_unusable_file_is_an_error(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchmarkError, match=message):
        load_humaneval(str(tmp_path / name), strict=False)


def test_published_file_is_downloaded_from_hub(tmp_path, monkeypatch):
    pq.write_table(pa.Table.from_pylist([row(0)]), tmp_path / "h.parquet")
    downloads = []

    def download(repository, name, repo_type):
        downloads.append((repository, name, repo_type))
        return str(tmp_path / "h.parquet")

    monkeypatch.setattr(published_files, "hf_hub_download", download)
    assert load_humaneval(None, strict=False).summary.published == 164
    assert downloads == [("openai/openai_humaneval", "openai_humaneval/test-00000-of-00001.parquet", "dataset")]


def test_download_error_says_how_to_use_a_local_copy(monkeypatch):
    def download(*_, **__):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(published_files, "hf_hub_download", download)
    with pytest.raises(BenchmarkError, match=r"set dataset\.held_out_path to the file"):
        load_humaneval(None, strict=False)


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="missing HumanEval.jsonl.gz (../shared/data/raw)")
def test_published_file(evaluator):
    loaded = load_humaneval(str(DATA), strict=True)
    assert (len(loaded.problems), loaded.remarks) == (164, ())
    assert sum(len(problem.tests) for problem in loaded.problems) == 1528
    assert loaded == load_humaneval(str(DATA), strict=True)
    with gzip.open(DATA, "rt") as handle:
        published_rows = {row["task_id"]: row for row in map(json.loads, handle)}
    for problem in loaded.problems:
        published = published_rows[problem.question_id]
        right = evaluator.submit(problem, published["prompt"] + published["canonical_solution"])
        wrong = evaluator.submit(problem, f"def {problem.func_name}(*arguments):\n    return None\n")
        assert right.result().passed and not wrong.result().passed
