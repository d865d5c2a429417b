"""MBPP's and MBPP+'s files: what becomes of their rows, and how MBPP+ gets its tuples back."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evaluator import Evaluator, Limits
from evaluator.verdict import Status
from launch.problems import published_tasks, recorded_calls
from launch.problems.evaluation_set import BenchmarkError
from launch.problems.mbpp import load_mbpp
from launch.problems.prompts import messages

DATA = Path(__file__).parents[4] / "shared" / "data" / "raw" / "MbppPlus-v0.1.0.jsonl.gz"


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30.0, cpu_s=30.0)) as evaluator:
        yield evaluator


def row(number, **changes):
    """An invented row with the columns of the whole MBPP."""
    return {
        "text": "Write a function that swaps the two values of a tuple.",
        "code": "def other(x):\r\n  return x\r\ndef swapped(pair):\r\n  return other(pair[::-1])",
        "task_id": number,
        "test_setup_code": "",
        "test_list": ["assert swapped((1, 2)) == (2, 1)", "assert swapped((3, 'a')) == ('a', 3) "],
        "challenge_test_list": ["assert swapped((None, 1)) == (1, None)"],
        **changes,
    }


def plus(number, **changes):
    """An invented row with the columns of MBPP+."""
    return {
        "task_id": f"Mbpp/{number}",
        "prompt": '"""\nWrite a function that swaps the two of a pair.\nassert swapped((1, 2)) == (2, 1)\n"""\n',
        "entry_point": "swapped",
        "canonical_solution": "\ndef swapped(pair):\n  return pair[::-1]\n",
        "base_input": [[[1, 2]]],
        "atol": 0,
        "plus_input": [[[5, 6]], [["x", "y"]]],
        "contract": '\n  assert isinstance(pair, tuple), "invalid inputs" # $_CONTRACT_$\n',
        "assertion": "\nassert swapped((1, 2)) == (2, 1)\n",
        **changes,
    }


def load(tmp_path, *rows):
    path = tmp_path / "mbpp.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_mbpp(str(path), strict=False)


def arguments(problem):
    return [test.input for test in problem.tests]


def test_a_row_becomes_a_problem_whose_statement_shows_its_tests(tmp_path, evaluator):
    (problem,) = load(tmp_path, row(11)).problems
    assert (problem.question_id, problem.func_name) == ("mbpp/11", "swapped")
    assert arguments(problem) == ['{"tuple": [1, 2]}', '{"tuple": [3, "a"]}']
    assert problem.public_tests and not problem.private_tests
    for style in ("training", "livecodebench"):
        asked = messages(problem, style)[-1][1]
        assert "assert swapped((1, 2)) == (2, 1)" in asked and "stdin" not in asked and "pair" not in asked
    assert evaluator.evaluate(problem, "def swapped(p): return p[1], p[0]").passed
    assert evaluator.evaluate(problem, "def swapped(p): return [p[1], p[0]]").status is Status.WRONG_ANSWER


def test_the_test_split_is_what_is_evaluated_on(tmp_path):
    loaded = load(tmp_path, *(row(number) for number in (1, 10, 11, 510, 511)))
    assert [problem.question_id for problem in loaded.problems] == ["mbpp/11", "mbpp/510"]
    assert loaded.remarks == ("mbpp.jsonl: 3 rows are not of the split that is evaluated on",)
    assert loaded.summary.rejected == ()


def test_the_sanitized_file_and_its_imports(tmp_path):
    changes = {"test_imports": ["import math"], "test_list": ["assert math.isclose(half(3), 1.5)"]}
    sanitized = row(12, prompt="Halve.", code="def half(x):\n  return x / 2", **changes)
    for name in ("text", "test_setup_code", "challenge_test_list"):
        del sanitized[name]
    path = tmp_path / "sanitized-mbpp.json"
    path.write_text(json.dumps([sanitized]))
    (problem,) = load_mbpp(str(path), strict=True).problems
    assert problem.question_content.startswith("Halve.")
    assert problem.checker is not None and problem.checker["type"] == "custom"


def test_what_the_setup_defines_is_no_test(tmp_path):
    code = "class Node:\n  pass\ndef leaf(node):\n  return True"
    bad = row(12, code=code, test_setup_code="root = Node()", test_list=["assert leaf(root) == True"])
    loaded = load(tmp_path, row(11), bad)
    (rejected,) = loaded.summary.rejected
    assert rejected.line == 2
    assert rejected.reason.endswith("arguments: Node is not a JSON value")


BAD_ROWS = {
    "a text for an id": ({"task_id": "12"}, "task_id: expected a number"),
    "no tests": ({"test_list": []}, "test_list: no tests"),
    "a text for tests": ({"test_list": "assert True"}, "test_list: expected a list of texts, got str"),
    "no function in common": ({"test_list": ["assert 1 == 1"]}, "which function do the tests call? Each calls none"),
    "two functions": ({"test_list": ["assert swapped((1, 2)) == other((2, 1))"]}, "Each calls other, swapped"),
    "no Python": ({"code": "def swapped("}, "code: not Python"),
    "a wrong reference": ({"test_list": ["assert swapped((1, 2)) == 3"]}, "does not pass its own tests"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_reported_with_their_place(tmp_path, name):
    changes, message = BAD_ROWS[name]
    loaded = load(tmp_path, row(11), row(12) | changes)
    (rejected,) = loaded.summary.rejected
    assert (rejected.file, rejected.line, len(loaded.problems)) == ("mbpp.jsonl", 2, 1)
    assert message in rejected.reason


def test_inputs_of_mbpp_plus_get_their_types_back(tmp_path, evaluator):
    loaded = load(tmp_path, plus(2))
    (problem,) = loaded.problems
    assert arguments(problem) == ['{"tuple": [1, 2]}', '{"tuple": [5, 6]}', '{"tuple": ["x", "y"]}']
    assert (loaded.remarks, problem.public_tests) == ((), ())
    assert evaluator.evaluate(problem, "def swapped(p): return p[1], p[0]").passed
    assert not evaluator.evaluate(problem, "def swapped(p): return (2, 1)").passed


INPUTS = {
    # name: (arguments of the assert, base_input, plus_input, what a further test is called with)
    "tuples in a list": ("[(1, 2)]", [[[1, 2]]], [[[3], []]], '[{"tuple": [3]}, {"tuple": []}]'),
    "a list that none was": ("[1]", [[1]], [[[2]]], "[[2]]"),
    "sets of tuples": ("{(1, 2)}", [[[1, 2]]], [[[3]]], '{"set": [{"tuple": [3]}]}'),
    "keys stay texts": ("{1: (2,)}", [{"1": [2]}], [{"3": [4]}], '{"dict": [["3", {"tuple": [4]}]]}'),
    "numbers as texts": ("1j", ["1j"], ["2"], '{"complex": [2.0, 0.0]}'),
    "texts are texts": ("1", [1], ["2"], '"2"'),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", INPUTS)
def test_types_of_further_inputs(tmp_path, name):
    given, base, more, expected = INPUTS[name]
    solution = "def same(x):\n    return x\n"
    task = plus(
        2, entry_point="same", canonical_solution=solution, contract="", assertion=f"assert same({given}) == {given}"
    )
    loaded = load(tmp_path, task | {"base_input": [base], "plus_input": [more]})
    assert arguments(loaded.problems[0])[-1] == expected


def test_inputs_that_are_not_clear_are_left_out_and_counted(tmp_path):
    loaded = load(tmp_path, plus(2, plus_input=[[[[1], 2]], [7], [[1]]]))
    assert arguments(loaded.problems[0]) == ['{"tuple": [1, 2]}', '{"tuple": [1]}']
    (remark,) = loaded.remarks
    assert remark.startswith("Mbpp/2: 2 of 4 calls cannot be tests, such as [7]: it raises AssertionError: invalid")


def test_a_function_without_arguments(tmp_path):
    solution = {"canonical_solution": "def five():\n    return 5\n", "assertion": "assert five() == 5"}
    inputs = {"contract": "", "base_input": [[]], "plus_input": {}}
    (problem,) = load(tmp_path, plus(3, entry_point="five") | solution | inputs).problems
    assert arguments(problem) == [""]


def test_inputs_that_take_too_long_leave_the_base_tests(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded_calls, "LIMITS", recorded_calls.Limits(wall_s=1.5, cpu_s=1.5))
    solution = "def swapped(pair):\n  while pair[0] == 5: pass\n  return pair[::-1]\n"
    loaded = load(tmp_path, plus(2, canonical_solution=solution))
    assert arguments(loaded.problems[0]) == ['{"tuple": [1, 2]}']
    assert "does not end its tests in 1.5 s" in loaded.remarks[0]


def test_how_results_of_mbpp_plus_are_compared(tmp_path, evaluator):
    third: dict[str, Any] = {
        "entry_point": "third",
        "canonical_solution": "def third(x):\n    return x / 3\n",
        "contract": "",
    }
    third |= {
        "assertion": "assert math.isclose(third(1), 0.333, rel_tol=0.001)",
        "base_input": [[1]],
        "plus_input": [[2]],
    }
    match: dict[str, Any] = {
        "entry_point": "has_a",
        "canonical_solution": "import re\ndef has_a(x):\n    return re.search('a', x)\n",
    }
    match |= {
        "assertion": "assert has_a('a')\nassert not has_a('b')",
        "contract": "",
        "base_input": [],
        "plus_input": [],
    }
    sets = plus(2, plus_input=[[[1, 2]]])  # a task whose results the benchmark compares as sets
    close, truth, as_sets = load(tmp_path, plus(3) | third | {"atol": 1e-4}, plus(4) | match, sets).problems
    assert evaluator.evaluate(close, "def third(x): return round(x / 3, 5)").passed
    assert not evaluator.evaluate(close, "def third(x): return round(x / 3, 3)").passed
    assert evaluator.evaluate(truth, "def has_a(x): return 'a' in x").passed
    assert evaluator.evaluate(truth, "import re\ndef has_a(x): return re.match('.*a', x)").passed
    assert not evaluator.evaluate(truth, "def has_a(x): return True").passed
    assert evaluator.evaluate(as_sets, "def swapped(p): return [*p, *p]").passed
    assert not evaluator.evaluate(as_sets, "def swapped(p): return [*p, 0]").passed


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    def download(repository, name, **_):
        raise OSError(f"{repository} {name}")

    monkeypatch.setattr(published_tasks, "hf_hub_download", download)
    with pytest.raises(BenchmarkError, match=r"full/test-00000-of-00001\.parquet.* set dataset\.held_out_path to it"):
        load_mbpp(None, strict=False)


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="the published file (../shared/data/raw) is not here")
def test_some_published_tasks(tmp_path, evaluator):
    with gzip.open(DATA, "rt") as handle:
        rows = [json.loads(line) for line in handle][:40]
    loaded = load(tmp_path, *rows)
    assert (len(loaded.problems), loaded.summary.rejected) == (40, ())
    for problem, published in zip(loaded.problems, rows, strict=True):
        assert len(problem.tests) > 3
        assert evaluator.evaluate(problem, published["canonical_solution"]).passed
