"""MBPP and MBPP+ loader: conversion of rows into problems, and restoration of Python types in MBPP+'s inputs."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from evaluator import Evaluator, Limits
from evaluator.verdict import Status
from launch.problems import published_files, recorded_calls
from launch.problems.evaluation_set import BenchmarkError
from launch.problems.mbpp import load_mbpp
from launch.problems.prompts import build_messages

DATA = Path(__file__).parents[4] / "shared" / "data" / "raw" / "MbppPlus-v0.1.0.jsonl.gz"


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30.0, cpu_s=30.0)) as evaluator:
        yield evaluator


def row(number, **changes):
    """Make an invented row with the columns of the full MBPP."""
    return {
        "text": "Write a function that swaps the two values of a tuple.",
        "code": "def other(x):\r\n  return x\r\ndef swapped(pair):\r\n  return other(pair[::-1])",
        "task_id": number,
        "test_setup_code": "",
        "test_list": ["assert swapped((1, 2)) == (2, 1)", "assert swapped((3, 'a')) == ('a', 3) "],
        "challenge_test_list": ["assert swapped((None, 1)) == (1, None)"],
        **changes,
    }


def plus_row(number, **changes):
    """Make an invented row with the columns of MBPP+."""
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


def load(tmp_path, *given_rows):
    path = tmp_path / "mbpp.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in given_rows))
    return load_mbpp(str(path), strict=False)


def arguments(problem):
    return [test.input for test in problem.tests]


def test_row_becomes_a_problem_with_its_tests_in_the_statement(tmp_path, evaluator):
    (problem,) = load(tmp_path, row(11)).problems
    assert (problem.question_id, problem.func_name) == ("mbpp/11", "swapped")
    assert arguments(problem) == ['{"tuple": [1, 2]}', '{"tuple": [3, "a"]}']
    assert problem.public_tests and not problem.private_tests
    for style in ("training", "livecodebench"):
        prompt = build_messages(problem, style)[-1][1]
        assert "assert swapped((1, 2)) == (2, 1)" in prompt and "stdin" not in prompt and "pair" not in prompt
    assert evaluator.evaluate(problem, "def swapped(p): return p[1], p[0]").passed
    assert evaluator.evaluate(problem, "def swapped(p): return [p[1], p[0]]").status is Status.WRONG_ANSWER


def test_only_the_test_split_is_loaded(tmp_path):
    loaded = load(tmp_path, *(row(number) for number in (1, 10, 11, 510, 511)))
    assert [problem.question_id for problem in loaded.problems] == ["mbpp/11", "mbpp/510"]
    assert loaded.remarks == ("mbpp.jsonl: 3 rows dropped (not in the test split)",)
    assert loaded.summary.rejected == ()


def test_sanitized_file_with_test_imports(tmp_path):
    changes = {"test_imports": ["import math"], "test_list": ["assert math.isclose(half(3), 1.5)"]}
    sanitized = row(12, prompt="Halve.", code="def half(x):\n  return x / 2", **changes)
    for name in ("text", "test_setup_code", "challenge_test_list"):
        del sanitized[name]
    path = tmp_path / "sanitized-mbpp.json"
    path.write_text(json.dumps([sanitized]))
    (problem,) = load_mbpp(str(path), strict=True).problems
    assert problem.question_content.startswith("Halve.")
    assert problem.checker is not None and problem.checker["type"] == "custom"


def test_call_with_object_from_setup_code_is_dropped(tmp_path):
    code = "class Node:\n  pass\ndef leaf(node):\n  return True"
    bad = row(12, code=code, test_setup_code="root = Node()", test_list=["assert leaf(root) == True"])
    loaded = load(tmp_path, row(11), bad)
    (rejected,) = loaded.summary.rejected
    assert rejected.line == 2
    assert rejected.reason.endswith("arguments: Node is not a JSON value")


BAD_ROWS = {
    "text as id": ({"task_id": "12"}, "task_id: expected a number"),
    "no tests": ({"test_list": []}, "test_list: no tests"),
    "text as tests": ({"test_list": "assert True"}, "test_list: expected a list of texts, got str"),
    "no function in common": ({"test_list": ["assert 1 == 1"]}, "one function that every test calls, got none"),
    "two functions": ({"test_list": ["assert swapped((1, 2)) == other((2, 1))"]}, "test calls, got other, swapped"),
    "not Python": ({"code": "def swapped("}, "code: not Python"),
    "wrong reference": ({"test_list": ["assert swapped((1, 2)) == 3"]}, "does not pass its own tests"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_reported_with_file_and_row(tmp_path, name):
    changes, message = BAD_ROWS[name]
    loaded = load(tmp_path, row(11), row(12) | changes)
    (rejected,) = loaded.summary.rejected
    assert (rejected.file, rejected.line, len(loaded.problems)) == ("mbpp.jsonl", 2, 1)
    assert message in rejected.reason


def test_types_of_mbpp_plus_inputs_are_restored(tmp_path, evaluator):
    loaded = load(tmp_path, plus_row(2))
    (problem,) = loaded.problems
    assert arguments(problem) == ['{"tuple": [1, 2]}', '{"tuple": [5, 6]}', '{"tuple": ["x", "y"]}']
    assert (loaded.remarks, problem.public_tests) == ((), ())
    assert evaluator.evaluate(problem, "def swapped(p): return p[1], p[0]").passed
    assert not evaluator.evaluate(problem, "def swapped(p): return (2, 1)").passed


INPUTS = {
    # name: (arguments of the assert, base_input, plus_input, expected arguments of the extra test)
    "tuples in a list": ("[(1, 2)]", [[[1, 2]]], [[[3], []]], '[{"tuple": [3]}, {"tuple": []}]'),
    "list that stays a list": ("[1]", [[1]], [[[2]]], "[[2]]"),
    "sets of tuples": ("{(1, 2)}", [[[1, 2]]], [[[3]]], '{"set": [{"tuple": [3]}]}'),
    "dict keys stay texts": ("{1: (2,)}", [{"1": [2]}], [{"3": [4]}], '{"dict": [["3", {"tuple": [4]}]]}'),
    "numbers as texts": ("1j", ["1j"], ["2"], '{"complex": [2.0, 0.0]}'),
    "texts stay texts": ("1", [1], ["2"], '"2"'),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", INPUTS)
def test_types_of_extra_inputs(tmp_path, name):
    assert_argument, base_input, plus_input, expected = INPUTS[name]
    task = plus_row(
        2,
        entry_point="same",
        canonical_solution="def same(x):\n    return x\n",
        contract="",
        assertion=f"assert same({assert_argument}) == {assert_argument}",
        base_input=[base_input],
        plus_input=[plus_input],
    )
    loaded = load(tmp_path, task)
    assert arguments(loaded.problems[0])[-1] == expected


def test_ambiguous_and_invalid_inputs_are_dropped_and_counted(tmp_path):
    loaded = load(tmp_path, plus_row(2, plus_input=[[[[1], 2]], [7], [[1]]]))
    assert arguments(loaded.problems[0]) == ['{"tuple": [1, 2]}', '{"tuple": [1]}']
    (remark,) = loaded.remarks
    assert remark.startswith(
        "Mbpp/2: 2 of 4 calls dropped (cannot be tests), first: [7]: it raises AssertionError: invalid"
    )


def test_function_without_arguments(tmp_path):
    solution = {"canonical_solution": "def five():\n    return 5\n", "assertion": "assert five() == 5"}
    inputs = {"contract": "", "base_input": [[]], "plus_input": {}}
    (problem,) = load(tmp_path, plus_row(3, entry_point="five") | solution | inputs).problems
    assert arguments(problem) == [""]


@pytest.mark.heavy
def test_base_tests_are_kept_if_extra_inputs_time_out(tmp_path, monkeypatch):
    monkeypatch.setattr(recorded_calls, "LIMITS", recorded_calls.Limits(wall_s=1.5, cpu_s=1.5))
    solution = "def swapped(pair):\n  while pair[0] == 5: pass\n  return pair[::-1]\n"
    loaded = load(tmp_path, plus_row(2, canonical_solution=solution))
    assert arguments(loaded.problems[0]) == ['{"tuple": [1, 2]}']
    assert "does not finish its tests in 1.5 s" in loaded.remarks[0]


def test_mbpp_plus_compares_by_tolerance_truth_or_set(tmp_path, evaluator):
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
    sets = plus_row(2, plus_input=[[[1, 2]]])  # Mbpp/2 is in PLUS_SET_TASKS
    close, truth, as_sets = load(tmp_path, plus_row(3) | third | {"atol": 1e-4}, plus_row(4) | match, sets).problems
    assert evaluator.evaluate(close, "def third(x): return round(x / 3, 5)").passed
    assert not evaluator.evaluate(close, "def third(x): return round(x / 3, 3)").passed
    assert evaluator.evaluate(truth, "def has_a(x): return 'a' in x").passed
    assert evaluator.evaluate(truth, "import re\ndef has_a(x): return re.match('.*a', x)").passed
    assert not evaluator.evaluate(truth, "def has_a(x): return True").passed
    assert evaluator.evaluate(as_sets, "def swapped(p): return [*p, *p]").passed
    assert not evaluator.evaluate(as_sets, "def swapped(p): return [*p, 0]").passed


def test_download_error_says_how_to_use_a_local_copy(monkeypatch):
    def download(repository, name, **_):
        raise OSError(f"{repository} {name}")

    monkeypatch.setattr(published_files, "hf_hub_download", download)
    with pytest.raises(
        BenchmarkError, match=r"full/test-00000-of-00001\.parquet.* set dataset\.held_out_path to the file"
    ):
        load_mbpp(None, strict=False)


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="missing MbppPlus-v0.1.0.jsonl.gz (../shared/data/raw)")
def test_published_tasks(tmp_path, evaluator):
    with gzip.open(DATA, "rt") as handle:
        published_rows = [json.loads(line) for line in handle][:40]
    loaded = load(tmp_path, *published_rows)
    assert (len(loaded.problems), loaded.summary.rejected) == (40, ())
    for problem, published in zip(loaded.problems, published_rows, strict=True):
        assert len(problem.tests) > 3
        assert evaluator.evaluate(problem, published["canonical_solution"]).passed
