"""Tests made of published test code: which calls become tests, and which asserts must be asked themselves."""

import doctest

import pytest

from evaluator.inside.published import Published
from evaluator.problem import ProblemError, ProblemTest
from launch.problems import recorded_calls
from launch.problems.recorded_calls import Recorder, asks_equality, checker

HALF = "def f(x):\n    return x / 2\n"


@pytest.fixture(scope="module")
def recorder():
    with Recorder() as recorder:
        yield recorder


def test_each_call_becomes_a_test_with_an_argument_a_line(recorder):
    source = "def f(x, y):\n    print('noise')\n    return (x, y)\n"
    recorded = recorder.record(Published("f", source, "assert f(1, {2}) == (1, {2})"), ['["a", [1]]'])
    assert recorded.left_out == ()
    assert recorded.tests == (
        ProblemTest('1\n{"set": [2]}', '{"tuple": [1, {"set": [2]}]}', "functional"),
        ProblemTest('"a"\n[1]', '{"tuple": ["a", [1]]}', "functional"),
    )


def test_calls_that_cannot_be_tests_are_counted_with_a_reason(recorder):
    source = "def f(x):\n    return iter([x]) if x else x\n"
    recorded = recorder.record(Published("f", source, "f(0)\nf(1)\nf(object())"))
    assert [test.input for test in recorded.tests] == ["0"]
    assert recorded.left_out == (
        "[1]: the result: list_iterator is not a JSON value",
        "arguments: object is not a JSON value",
    )


def test_a_result_too_large_for_a_worker_is_left_out(recorder, monkeypatch):
    monkeypatch.setattr(recorded_calls, "MAX_CALL_BYTES", 100)
    recorded = recorder.record(Published("f", "def f(x):\n    return 'x' * x\n", "f(5)\nf(500)"))
    assert [test.input for test in recorded.tests] == ["5"]
    assert recorded.left_out == ("[500]: more than 100 bytes with its result",)


FAILURES = {
    "wrong": (HALF, "assert f(4) == 3", "does not pass its own tests: AssertionError"),
    "raises": (HALF, "f('a')", "cannot be run with its tests: TypeError"),
    "no Python": ("def f(x", "f(1)", "cannot be run with its tests: SyntaxError"),
    "not there": (HALF, "g(1)", "cannot be run with its tests: NameError"),
    "loops": ("def f(x):\n    while True: pass\n", "f(1)", "does not end its tests in 0.5 s"),
    "sleeps": ("import time\ndef f(x):\n    time.sleep(60)\n", "f(1)", "does not end its tests in 0.5 s"),
    "exits after printing": (
        "import os\ndef f(x):\n    os.write(1, b'5')\n    os._exit(0)\n",
        "f(1)",
        "ends the process",
    ),
    "exits": ("import os\ndef f(x):\n    os._exit(0)\n", "f(1)", "ends the process before"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_references_that_cannot_be_trusted(recorder, monkeypatch, how):
    reference, tests, message = FAILURES[how]
    if message.endswith("in 0.5 s"):
        monkeypatch.setattr(recorded_calls, "LIMITS", recorded_calls.Limits(wall_s=0.5, cpu_s=0.5))
    with pytest.raises(ProblemError, match=message):
        recorder.record(Published("f", reference, tests))


ASKED = {
    "assert f(1) == 2": True,
    "assert 2 == f(1), 'not 2'": True,
    "for x in range(3):\n    assert f(x) == x + 1, str(f(x))": True,
    "assert f(1) == f(2)": False,
    "assert f(f(1)) == 3": False,
    "assert f(1)": False,
    "assert not f(1)": False,
    "assert f(1) is True": False,
    "assert f(1) == 2 or True": False,
    "assert abs(f(1) - 2) < 1e-6": False,
    "assert sorted(f(1)) == [2]": False,
    "x = f(1)\nassert x == 2": False,
    "assert 1 < f(1) == 2": False,
}


@pytest.mark.parametrize("tests", ASKED)
def test_which_tests_ask_for_equality_alone(tests):
    assert asks_equality(tests, ["f"]) == ASKED[tests]
    assert (checker(Published("f", HALF, tests), ["f"]) is None) == ASKED[tests]


def test_tests_that_are_no_python():
    with pytest.raises(ProblemError, match="the tests: not Python"):
        asks_equality("assert f(", ["f"])


def test_examples_in_docstrings():
    outcome = doctest.testmod(recorded_calls)
    assert outcome.attempted > 0
    assert outcome.failed == 0
