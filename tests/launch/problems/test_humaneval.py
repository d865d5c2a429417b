"""HumanEval's file: what becomes of its rows, and that right and wrong programs are told apart."""

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
from launch.problems import published_tasks
from launch.problems.evaluation_set import BadRow, BenchmarkError
from launch.problems.humaneval import load_humaneval
from launch.problems.prompts import messages

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
    """An invented row with the published columns."""
    return {
        "task_id": f"HumanEval/{number}",
        "prompt": PROMPT,
        "entry_point": "ends",
        "canonical_solution": "    return double(values[0]), double(values[-1])\n",
        "test": TEST,
        **changes,
    }


def root(number):
    """A row whose tests take any root, and name the function."""
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


def test_a_row_becomes_a_problem(tmp_path):
    loaded = load_humaneval(write(tmp_path / "h.jsonl.gz", row(0)), strict=True)
    (problem,) = loaded.problems
    assert (problem.question_id, problem.func_name, problem.values) == ("HumanEval/0", "ends", "python")
    assert [(test.input, test.output) for test in problem.private_tests] == [
        ("[1, 2, 3]", '{"tuple": [2, 6]}'),
        ("[5]", '{"tuple": [10, 10]}'),
    ]
    assert (problem.platform, problem.difficulty, problem.contest_date, problem.checker) == ("other", None, None, None)
    assert (loaded.summary.selected, loaded.window, loaded.remarks) == (1, None, ())


def test_the_prompt_shows_the_stub(tmp_path):
    (problem,) = load_humaneval(write(tmp_path / "h.jsonl", row(0)), strict=True).problems
    for style in ("training", "livecodebench"):
        assert PROMPT.strip() in messages(problem, style)[-1][1]


ANSWERS = {
    "the whole program": (PROMPT + row(0)["canonical_solution"], True),
    "without imports and helpers": ("def ends(values: List[int]):\n    return double(values[0]), 2 * values[-1]", True),
    "a list": ("def ends(values):\n    return [2 * values[0], 2 * values[-1]]", False),
    "the stub": (PROMPT, False),
    "asserts that never fail": ("import builtins\nbuiltins.AssertionError = None\n" + PROMPT, False),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_told_apart(evaluator, tmp_path, name):
    code, right = ANSWERS[name]
    (problem,) = load_humaneval(write(tmp_path / "h.jsonl", row(0)), strict=True).problems
    found = extract_code(f"Here:\n```python\n{code}\n```", problem.func_name).code
    assert evaluator.evaluate(problem, found).passed is right


def test_tests_that_ask_for_less_than_equality(evaluator, tmp_path):
    (problem,) = load_humaneval(write(tmp_path / "h.jsonl", root(0)), strict=True).problems
    assert evaluator.evaluate(problem, "def root(x): return -(x ** 0.5)").accepted_by == "custom"
    assert evaluator.evaluate(problem, "def root(x): return x / 2").status is Status.WRONG_ANSWER
    assert evaluator.evaluate(problem, "def root(x): return None").status is Status.WRONG_ANSWER
    assert evaluator.evaluate(problem, "def root(x): return object()").status is Status.WRONG_ANSWER


BAD_ROWS = {
    "no JSON": (b"{", "not JSON"),
    "not UTF-8": (b'{"task_id": "\xff"}', "not UTF-8"),
    "a list": ([1], "expected an object"),
    "another schema": ({"task_id": "x"}, "no column prompt, entry_point"),
    "a number": (row(9, prompt=3), "prompt: expected text, got int"),
    "no Python": (row(9, prompt="def ends("), "prompt: not Python"),
    "another function": (row(9, entry_point="start"), "entry_point: the prompt defines double, ends, not 'start'"),
    "the same id": (row(0), "'HumanEval/0' came before"),
    "a wrong reference": (row(9, canonical_solution="    return ()\n"), "does not pass its own tests"),
    "no calls": (row(9, test="def check(candidate):\n    pass\n"), "no call of its tests can be a test"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_reported_with_their_place(tmp_path, name):
    bad, message = BAD_ROWS[name]
    path = write(tmp_path / "h.jsonl", row(0), bad, root(1))
    loaded = load_humaneval(path, strict=False)
    assert [problem.question_id for problem in loaded.problems] == ["HumanEval/0", "HumanEval/1"]
    (rejected,) = loaded.summary.rejected
    assert (rejected.file, rejected.line) == ("h.jsonl", 2)
    assert message in rejected.reason
    with pytest.raises(ProblemError, match=r"h\.jsonl, line 2"):
        load_humaneval(path, strict=True)


def test_a_problem_that_loses_a_call_is_kept_with_a_remark(tmp_path):
    test = f"{TEST}    candidate([object()] * 2)\n"
    solution = "    return (double(values[0]), double(values[-1])) if type(values[0]) is int else None\n"
    loaded = load_humaneval(write(tmp_path / "h.jsonl", row(0, test=test, canonical_solution=solution)), strict=True)
    assert len(loaded.problems[0].tests) == 2
    (remark,) = loaded.remarks
    assert remark == "HumanEval/0: 1 of 3 calls cannot be tests, such as arguments: object is not a JSON value"


def test_files_that_are_damaged_are_read_as_far_as_they_go(tmp_path):
    path = tmp_path / "h.jsonl.gz"
    write(path, row(0), root(1))
    path.write_bytes(path.read_bytes()[:-8])
    loaded = load_humaneval(str(path), strict=False)
    assert len(loaded.problems) == 2
    assert loaded.summary.rejected[0].line is None
    assert isinstance(loaded.summary.rejected[0], BadRow)


def test_parquet_and_a_list_of_rows(tmp_path):
    pq.write_table(pa.Table.from_pylist([row(0), root(1)]), tmp_path / "h.parquet")
    (tmp_path / "h.json").write_text(json.dumps([row(0), root(1)]))
    given = [load_humaneval(str(tmp_path / name), strict=True) for name in ("h.parquet", "h.json")]
    assert given[0] == given[1]
    assert len(given[0].problems) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "no such file"),
        ("h.txt", b"", "not one of .jsonl"),
        ("h.jsonl", b"", "no usable problem of HumanEval"),
        ("h.parquet", b"PAR1", "no usable problem"),
        ("h.json", b"{}", "expected a JSON list"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchmarkError, match=message):
        load_humaneval(str(tmp_path / name), strict=False)


def test_the_hub_is_asked_for_the_published_file(tmp_path, monkeypatch):
    pq.write_table(pa.Table.from_pylist([row(0)]), tmp_path / "h.parquet")
    asked = []

    def download(repository, name, repo_type):
        asked.append((repository, name, repo_type))
        return str(tmp_path / "h.parquet")

    monkeypatch.setattr(published_tasks, "hf_hub_download", download)
    assert load_humaneval(None, strict=False).summary.published == 164
    assert asked == [("openai/openai_humaneval", "openai_humaneval/test-00000-of-00001.parquet", "dataset")]


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    def download(*_, **__):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(published_tasks, "hf_hub_download", download)
    with pytest.raises(BenchmarkError, match=r"set dataset\.held_out_path to it"):
        load_humaneval(None, strict=False)


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="the published file (../shared/data/raw) is not here")
def test_the_published_file(evaluator):
    loaded = load_humaneval(str(DATA), strict=True)
    assert (len(loaded.problems), loaded.remarks) == (164, ())
    assert sum(len(problem.tests) for problem in loaded.problems) == 1528
    assert loaded == load_humaneval(str(DATA), strict=True)
    with gzip.open(DATA, "rt") as handle:
        rows = {row["task_id"]: row for row in map(json.loads, handle)}
    for problem in loaded.problems:
        published = rows[problem.question_id]
        right = evaluator.submit(problem, published["prompt"] + published["canonical_solution"])
        wrong = evaluator.submit(problem, f"def {problem.func_name}(*arguments):\n    return None\n")
        assert right.result().passed and not wrong.result().passed
