"""Recorded calls of published test code: which calls become tests, and which asserts need a custom checker."""

import doctest

import pytest

from evaluator.inside.published import Published
from evaluator.problem import ProblemError, ProblemTest
from launch.problems import recorded_calls
from launch.problems.recorded_calls import CallRecorder, has_only_equality_asserts, make_checker

HALF = "def f(x):\n    return x / 2\n"


@pytest.fixture(scope="module")
def recorder():
    with CallRecorder() as recorder:
        yield recorder


def test_each_call_becomes_a_test_with_one_argument_per_line(recorder):
    source = "def f(x, y):\n    print('noise')\n    return (x, y)\n"
    recorded = recorder.record(Published("f", source, "assert f(1, {2}) == (1, {2})"), ['["a", [1]]'])
    assert recorded.dropped == ()
    assert recorded.tests == (
        ProblemTest('1\n{"set": [2]}', '{"tuple": [1, {"set": [2]}]}', "functional"),
        ProblemTest('"a"\n[1]', '{"tuple": ["a", [1]]}', "functional"),
    )


def test_calls_that_cannot_be_tests_are_dropped_with_a_reason(recorder):
    source = "def f(x):\n    return iter([x]) if x else x\n"
    recorded = recorder.record(Published("f", source, "f(0)\nf(1)\nf(object())"))
    assert [test.input for test in recorded.tests] == ["0"]
    assert recorded.dropped == (
        "[1]: the result: list_iterator is not a JSON value",
        "arguments: object is not a JSON value",
    )


def test_call_that_is_too_large_is_dropped(recorder, monkeypatch):
    monkeypatch.setattr(recorded_calls, "MAX_CALL_BYTES", 100)
    recorded = recorder.record(Published("f", "def f(x):\n    return 'x' * x\n", "f(5)\nf(500)"))
    assert [test.input for test in recorded.tests] == ["5"]
    assert recorded.dropped == ("[500]: arguments and result exceed 100 bytes",)


FAILURES = {
    "wrong": (HALF, "assert f(4) == 3", "does not pass its own tests: AssertionError"),
    "raises": (HALF, "f('a')", "cannot be run with its tests: TypeError"),
    "not Python": ("def f(x", "f(1)", "cannot be run with its tests: SyntaxError"),
    "undefined function": (HALF, "g(1)", "cannot be run with its tests: NameError"),
    "loops": ("def f(x):\n    while True: pass\n", "f(1)", "does not finish its tests in 0.5 s"),
    "sleeps": ("import time\ndef f(x):\n    time.sleep(60)\n", "f(1)", "does not finish its tests in 0.5 s"),
    "exits after printing": (
        "import os\ndef f(x):\n    os.write(1, b'5')\n    os._exit(0)\n",
        "f(1)",
        "exits the process",
    ),
    "exits": ("import os\ndef f(x):\n    os._exit(0)\n", "f(1)", "exits the process before"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("failure", FAILURES)
def test_failing_reference_is_an_error(recorder, monkeypatch, failure):
    reference, tests, message = FAILURES[failure]
    if message.endswith("in 0.5 s"):
        monkeypatch.setattr(recorded_calls, "LIMITS", recorded_calls.Limits(wall_s=0.5, cpu_s=0.5))
    with pytest.raises(ProblemError, match=message):
        recorder.record(Published("f", reference, tests))


IS_EQUALITY_ONLY = {
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


@pytest.mark.parametrize("tests", IS_EQUALITY_ONLY)
def test_only_tests_weaker_than_equality_get_a_checker(tests):
    assert has_only_equality_asserts(tests, ["f"]) == IS_EQUALITY_ONLY[tests]
    assert (make_checker(Published("f", HALF, tests), ["f"]) is None) == IS_EQUALITY_ONLY[tests]


def test_tests_that_are_not_python_are_an_error():
    with pytest.raises(ProblemError, match="the tests: not Python"):
        has_only_equality_asserts("assert f(", ["f"])


def test_examples_in_docstrings():
    results = doctest.testmod(recorded_calls)
    assert results.attempted > 0
    assert results.failed == 0
