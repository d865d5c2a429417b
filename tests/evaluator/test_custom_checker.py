"""Custom checkers: what they are given, what counts as a result, whose fault a failure is, and broken checkers."""

import doctest
import json
from dataclasses import replace

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Evaluator, Limits, ProblemTest, Status, custom_checker
from evaluator.checker import CustomChecker
from evaluator.custom_checker import (
    MAX_EXTRA_ANSWER,
    CheckedReferences,
    CheckerSession,
    CheckOutcome,
    has_reference,
)
from evaluator.inside import checking
from evaluator.inside.checking import InvalidResultError, interpret_result, load_check, read_arguments
from evaluator.inside.functional import load_prelude
from evaluator.sandbox import Sandbox
from tests.evaluator.problems import make_problem_with_tests

SUM_CHECK = """
def check(inp, out, exp):
    pair = [int(token) for token in out.split()]
    return len(pair) == 2 and sum(pair) == int(inp)
"""


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30, cpu_s=30, memory_mb=256)) as evaluator:
        yield evaluator


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(calls=True) as sandbox:
        yield sandbox


@pytest.mark.parametrize("module", [checking, custom_checker])
def test_docstring_examples_pass(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


def make_checked_problem(code, *tests, **changes):
    """Return a standard-input problem with (input, output) ``tests`` and a custom checker."""
    checker = {"type": "custom", "code": code}
    return make_problem_with_tests(*(ProblemTest(*test) for test in tests), checker=checker, **changes)


def run_check(sandbox, code, inp, out, exp, values=None):
    """Return the result of one check."""
    with CheckerSession(CustomChecker(code), values, sandbox) as session:
        return session.check(inp, out, exp)


# --- what check is given, and what it returns ---------------------------------------------------------------------


def test_check_of_functional_problem_gets_values_decoded_anew():
    arguments = read_arguments("[3, 1]\n2\n", "[1, 2]", "[]", "json")
    assert arguments == ([[3, 1], 2], [1, 2], [])
    assert read_arguments("[3, 1]\n", "0", "0", "json")[0] is not arguments[0]
    assert read_arguments('{"tuple": [1]}', "0", "0", "python")[0] == [(1,)]
    assert read_arguments("5\n", "x", "", None) == ("5\n", "x", "")


@pytest.mark.parametrize(
    ("result", "decision"),
    [
        (True, (True, "")),
        (False, (False, "")),
        ((True, "fine"), (True, "fine")),
        ((False, None), (False, "")),
        ((numpy.False_, 3), (False, "3")),
        (numpy.True_, (True, "")),
    ],
)
def test_boolean_results_are_decisions(result, decision):
    assert interpret_result(result) == decision


@pytest.mark.parametrize("result", [None, 1, 0, 1.0, "yes", "", [], [True], (), (1, ""), (True,), (True, "", 0), "ok"])
def test_other_results_are_invalid(result):
    with pytest.raises(InvalidResultError, match="expected True, False or"):
        interpret_result(result)


@pytest.mark.parametrize(
    "code",
    [
        'from __future__ import annotations\ndef check(i: X, out: Y, exp: Z): return out == exp and "\\n" < \'"\'',
        "def check(inp, out, exp): return run_checks is None or out == exp\nrun_checks = 1",
        "def same(a, b): return a == b\ndef check(inp, out, exp): return same(out, exp)",
        "def check(inp, out, exp): return gcd(int(out), int(exp)) == int(exp)",
        "def check(inp, out, exp): return json.loads(out) == int(exp)\nimport json\n# no line end",
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: 'int' = 3\n"
        "def check(inp, out, exp): return A() == A(int(out))",
    ],
)
def test_check_may_contain_any_code(code):
    check = load_check(code, dict(load_prelude().main))
    assert check("", "3", "3") is True
    assert check("", "4", "3") is False


# --- texts, processes and limits ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(*[st.text(st.characters(codec=None), max_size=20)] * 3), max_size=4))
def test_texts_are_sent_unchanged(checks):
    header, _, rest = checking.encode_checks(checks).partition(b"\n")
    texts = []
    for size in map(int, header.split()):
        texts.append(rest[:size].decode("utf-8", "surrogatepass"))
        rest = rest[size:]
    assert (texts, rest) == ([text for check in checks for text in check], b"")


@pytest.mark.parametrize("text", ["", "\n", "a\r\n\0b", "\udcff", "\ud800é\U0001f600", "7 " * (8 << 20)])
def test_check_sees_the_same_text_as_the_owner(sandbox, text):
    code = f"def check(inp, out, exp): return (len(out), hash(out) == hash(inp)) == ({len(text)}, True) and inp == out"
    assert run_check(sandbox, code, text, text, "") == custom_checker.CheckResult(CheckOutcome.ACCEPTED, "")


FAILURES = {
    "raises": ("raise KeyError('x')", "KeyError: 'x'"),
    "exits": ("import sys; sys.exit(1)", "SystemExit: 1"),
    "exits at once": ("import os; os._exit(0)", "exit status 0"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
    "recurses without end": ("return check(inp, out, exp)", "RecursionError|exit status -11"),
    "needs too much memory": ("return bytearray(8 << 30) == exp", "MemoryError"),
    "returns no boolean": ("return 'ok'", "check returned 'ok'; expected True, False"),
    "raises what cannot be shown": (
        "class E(Exception):\n        def __str__(self): raise self\n    raise E",
        "an exception that cannot be shown",
    ),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", FAILURES)
def test_failure_has_its_reason(sandbox, name):
    body, reason = FAILURES[name]
    result = run_check(sandbox, f"def check(inp, out, exp):\n    {body}\n", "", "", "")
    assert result.outcome is CheckOutcome.FAILED
    assert any(choice in result.reason for choice in reason.split("|")), result


def test_what_a_checker_prints_reads_and_leaves_has_no_effect(sandbox):
    code = (
        "import os, sys\nprint('accepted')\nassert sys.stdin.read() == ''\n"
        "def check(inp, out, exp):\n"
        "    print('loaded', flush=True); os.write(1, b'accepted\\n')\n"
        "    fresh = not os.listdir('.') and not os.environ\n"
        "    open('left', 'w').close(); os.environ['left'] = '1'\n"
        "    return fresh and out == exp, 'first\\n  second'\n"
    )
    with CheckerSession(CustomChecker(code), None, sandbox) as session:
        results = [session.check("", out, "1") for out in ("1", "2", "1")]
    assert [result.outcome for result in results] == [
        CheckOutcome.ACCEPTED,
        CheckOutcome.REJECTED,
        CheckOutcome.ACCEPTED,
    ]
    assert results[1].reason == "first second"


def test_session_goes_on_after_a_check_that_ended_its_process(sandbox):
    code = "import os\ndef check(inp, out, exp): return out == exp if out else os._exit(3)"
    with CheckerSession(CustomChecker(code), None, sandbox) as session:
        checks = [("", out, "1") for out in ("1", "2", "", "1")]
        outcomes = [result.outcome for result in session.run(checks)]
        assert outcomes == [CheckOutcome.ACCEPTED, CheckOutcome.REJECTED, CheckOutcome.FAILED]
        assert session.run(checks[:1])[0].outcome is CheckOutcome.ACCEPTED


@pytest.mark.parametrize("top_level", ["raise ValueError('no')", "import sys; sys.exit()", "import os; os._exit(7)"])
def test_checker_that_cannot_be_loaded_fails_even_without_checks(sandbox, top_level):
    with CheckerSession(CustomChecker(f"def check(inp, out, exp): return True\n{top_level}"), None, sandbox) as session:
        for checks in ([], [("", "", "")]):
            (result,) = session.run(checks)
            assert result.outcome is CheckOutcome.FAILED
            assert result.reason


@pytest.mark.heavy
def test_limits_of_the_problem_are_not_those_of_its_checker(evaluator):
    code = (
        "import time\ndef check(inp, out, exp):\n    block = b'x' * (300 << 20)\n    start = time.process_time()\n"
        "    while time.process_time() - start < 0.5: pass\n    return out.split() == exp.split()\n"
    )
    problem = make_checked_problem(code, ("", "1\n"), time_limit_s=0.4, memory_limit_mb=64)
    verdict = evaluator.evaluate(problem, "print(1)")
    assert (verdict.status, verdict.accepted_by) == (Status.PASSED, "custom"), verdict
    assert evaluator.evaluate(problem, "print(2)").status is Status.WRONG_ANSWER


# --- whose fault a failure is -----------------------------------------------------------------------------------------

ANSWERS = {
    "malformed": ("print('one', 'four')", "ValueError"),
    "blank": ("pass", "rejected"),
    "rejected": ("print(2, 2)", "rejected the answer"),
    "far too long": (f"print('1 ' * {MAX_EXTRA_ANSWER})", "far longer"),
    "not UTF-8": ("import os\nos.write(1, b'\\xff')", "ValueError"),
    "many digits": ("print('1' * 5000, 1)", "rejected the answer"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", ANSWERS)
def test_answer_that_the_checker_cannot_take_is_wrong(evaluator, name):
    program, detail = ANSWERS[name]
    verdict = evaluator.evaluate(make_checked_problem(SUM_CHECK, ("5\n", "1 4\n")), program)
    assert verdict.status is Status.WRONG_ANSWER, verdict
    assert detail in verdict.detail


HARSH_CHECK = """
import os, sys
def check(inp, out, exp):
    if out != exp:
        {action}
    return True
"""


@pytest.mark.heavy
@pytest.mark.parametrize(
    "action",
    [
        *("sys.exit(1)", "os._exit(0)", "raise KeyboardInterrupt", "os.kill(os.getpid(), 11)", "return None"),
        *("return out * (8 << 30)", "return not_defined", "os.abort()", "raise MemoryError", "os.close(2); out.x"),
    ],
)
@pytest.mark.parametrize("expected", ["1\n", "-\n", "", " \n"])
def test_checker_that_fails_on_an_answer_makes_it_wrong(evaluator, action, expected):
    problem = make_checked_problem(HARSH_CHECK.format(action=action), ("", expected))
    assert evaluator.evaluate(problem, "print(2)").status is Status.WRONG_ANSWER
    assert evaluator.evaluate(problem, f"print({expected!r}, end='')").passed


@pytest.mark.heavy
def test_answer_on_which_the_checker_runs_out_of_time_is_wrong(evaluator, monkeypatch):
    monkeypatch.setattr(custom_checker, "CHECKER_LIMITS", replace(custom_checker.CHECKER_LIMITS, wall_s=2, cpu_s=2))
    for action in ("[0 for _ in iter(int, 1)]", "__import__('time').sleep(99)"):
        problem = make_checked_problem(HARSH_CHECK.format(action=action), ("", "1\n"))
        verdict = evaluator.evaluate(problem, "print(2)")
        assert verdict.status is Status.WRONG_ANSWER
        assert "more than 2 s" in verdict.detail


@pytest.mark.heavy
def test_values_that_the_checker_cannot_decode_are_wrong_answers(evaluator):
    code = "def check(inp, out, exp): return sorted(out) == exp"
    problem = make_checked_problem(code, ("[2, 1]", "[1, 2]"), func_name="f")
    assert evaluator.evaluate(problem, "def f(x): return x").passed
    for result in ("None", "5", "['a', 1]", "float('nan')", "10 ** 4000"):
        assert evaluator.evaluate(problem, f"def f(x): return {result}").status is Status.WRONG_ANSWER


@pytest.mark.parametrize(
    ("text", "is_reference"),
    [
        *((text, True) for text in ("0", "-1", "YES", "NO", "Impossible", "any number of coins", "none of 3", "ответ")),
        *((text, False) for text in ("", "\n \t", "-", "???", "[]", "None", "null", "N/A", "<any>", "special judge")),
        *((text, False) for text in ("any valid answer", "(multiple solutions exist)", "PLACEHOLDER\n", "any")),
    ],
)
def test_placeholders_are_no_references(text, is_reference):
    assert has_reference(ProblemTest("", text)) is is_reference


# --- broken checkers --------------------------------------------------------------------------------------------------

BROKEN_CHECKS = {
    "raises": "def check(inp, out, exp): return undefined",
    "exits": "import sys\ndef check(inp, out, exp): sys.exit(0)",
    "ends its process": "import os\ndef check(inp, out, exp): os._exit(0)",
    "returns None": "def check(inp, out, exp): out == exp",
    "returns a number": "def check(inp, out, exp): return int(out == exp)",
    "has another signature": "def check(out): return True",
    "cannot be loaded": "import missing_module\ndef check(inp, out, exp): return True",
}


@pytest.mark.parametrize("name", BROKEN_CHECKS)
def test_broken_checker_is_found_and_never_scores(evaluator, name):
    problem = make_checked_problem(BROKEN_CHECKS[name], ("", "1\n"), question_id=name)
    assert evaluator.evaluate(problem, "print(1)").status is Status.SANDBOX_ERROR
    assert list(evaluator.find_broken_checkers([problem])) == [name]
    assert evaluator.evaluate(problem, "print(2)").status is Status.SANDBOX_ERROR


def test_only_broken_checkers_are_named(evaluator):
    fails_on_two = "def check(inp, out, exp): return out == exp if out != '2' else 1 / 0"
    problems = [
        make_checked_problem(SUM_CHECK, *[(str(n), f"1 {n - 1}") for n in range(9)], question_id="good"),
        make_checked_problem(SUM_CHECK, ("5", "-"), ("6", ""), question_id="placeholders"),
        make_checked_problem(BROKEN_CHECKS["cannot be loaded"], ("5", "-"), question_id="not loaded"),
        make_checked_problem(fails_on_two, *[("", str(n)) for n in (1, 3, 2, 4)], question_id="third test"),
        make_checked_problem("def check(inp, out, exp): return False", ("", "1"), question_id="rejects"),
        make_problem_with_tests(ProblemTest("", ""), question_id="no checker"),
    ]
    assert evaluator.find_broken_checkers(problems) == {
        "not loaded": "its checker cannot be loaded: ModuleNotFoundError: No module named 'missing_module'",
        "third test": "its checker fails on the expected output of test 2: ZeroDivisionError: division by zero",
    }
    assert evaluator.evaluate(problems[1], "print('abc')").status is Status.WRONG_ANSWER


def test_each_expected_output_is_checked_once(sandbox):
    code = "def check(inp, out, exp): return out == exp or undefined"
    tests = [ProblemTest(str(n), str(n)) for n in range(5)]
    references = CheckedReferences()

    class CountingSession(CheckerSession):
        processes = 0

        def run(self, checks):
            CountingSession.processes += 1
            return super().run(checks)

    session = CountingSession(CustomChecker(code), None, sandbox)
    with session:
        assert references.find_failure_of_any(session, tests) == ""
        assert CountingSession.processes == 2  # one that loads the checker, and one for all tests
        assert [references.find_failure(session, test) for test in tests] == [""] * 5
        assert CountingSession.processes == 2


def test_state_that_a_check_leaves_breaks_no_later_check(sandbox):
    code = "n = 0\ndef check(inp, out, exp):\n    global n\n    n += 1\n    return n == 1 or undefined"
    with CheckerSession(CustomChecker(code), None, sandbox) as session:
        assert CheckedReferences().find_failure_of_any(session, [ProblemTest("", "1"), ProblemTest("", "2")]) == ""


def test_large_tests_are_checked_in_several_processes(sandbox, monkeypatch):
    monkeypatch.setattr(custom_checker, "MAX_BATCH", 10)
    tests = [ProblemTest("x" * n, "1") for n in (30, 2, 2, 40, 1)]
    batches = []

    class RecordingSession(CheckerSession):
        def run(self, checks):
            batches.append(len(checks))
            return super().run(checks)

    with RecordingSession(CustomChecker("def check(inp, out, exp): return True"), None, sandbox) as session:
        assert CheckedReferences().find_failure_of_any(session, tests) == ""
    assert batches == [0, 1, 2, 1, 1]


def test_checker_from_a_file_keeps_its_code(evaluator):
    problem = make_checked_problem(
        json.loads(json.dumps("def check(inp, out, exp): return out == 'é\\n'")), ("", "é\n")
    )
    assert evaluator.evaluate(problem, "print('é')").passed
