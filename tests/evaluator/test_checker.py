"""Checkers of problems: parsing them, and running custom check functions."""

import doctest
import json
from typing import Any

import pytest

from evaluator import checker
from evaluator.checker import AnyCase, AnyOrder, CustomChecker, Tolerance, build_checker_program, parse_checker

PAIR_SUM_CHECK = """
def check(inp, out, exp):
    pair = [int(token) for token in out.split()]
    return len(pair) == 2 and sum(pair) == int(inp)
"""


def test_docstring_examples_pass():
    result = doctest.testmod(checker)
    assert result.attempted and not result.failed


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        (None, None),
        ({"type": "float", "abs": 1e-3, "rel": 1}, Tolerance(1e-3, 1.0)),
        ({"type": "float", "abs": 1e-3}, Tolerance(1e-3, 0.0)),
        ({"type": "float", "rel": 1e-3}, Tolerance(0.0, 1e-3)),
        ({"type": "float"}, Tolerance(1e-6, 1e-6)),
        ({"type": "tokens_ci"}, AnyCase()),
        ({"type": "unordered"}, AnyOrder(deep=False)),
        ({"type": "unordered_deep"}, AnyOrder(deep=True)),
        ({"type": "custom", "code": PAIR_SUM_CHECK}, CustomChecker(PAIR_SUM_CHECK)),
    ],
)
def test_parse_checker_accepts_every_type(value: object, parsed: object) -> None:
    assert parse_checker(value) == parsed


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("float", "expected an object, got str"),
        ([], "expected an object, got list"),
        ({}, "type: expected one of float, tokens_ci, unordered, unordered_deep, custom, got None"),
        ({"type": "Float"}, "type: expected one of float.*, got 'Float'"),
        ({"type": ["float"]}, "type:"),
        ({"type": "float", "eps": 1}, "eps: unknown key of a float checker, which has type, abs, rel"),
        ({"type": "unordered", "deep": True}, "deep: unknown key of a unordered checker, which has type$"),
        ({"type": "float", "abs": -1}, "abs: expected a number that is not negative, got -1"),
        ({"type": "float", "abs": True}, "abs: .* got True"),
        ({"type": "float", "abs": "1e-6"}, "abs: .* got '1e-6'"),
        ({"type": "float", "rel": None}, "rel: .* got None"),
        ({"type": "float", "rel": float("nan")}, "rel: .* got nan"),
        ({"type": "float", "rel": float("inf")}, "rel: .* got inf"),
        ({"type": "float", "rel": 10**400}, "rel: too large"),
        ({"type": "custom"}, r"code: expected the source of check\(inp, out, exp\), got NoneType"),
        ({"type": "custom", "code": "def check(:"}, "code: not Python"),
        ({"type": "custom", "code": "x = '\0'"}, "code: not Python"),
        ({"type": "custom", "code": "def chek(inp, out, exp): ..."}, "code: defines no function check.*: chek"),
        ({"type": "custom", "code": "class A:\n    def check(inp, out, exp): ..."}, "functions there: none"),
    ],
)
def test_parse_checker_rejects_invalid_values(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_checker(value)


def run_custom_check(code: str, *texts: str, functional: bool = False, **predefined: Any) -> Any:
    """Return what check function ``code`` answers to the texts of input, output and expected output."""
    names = dict(predefined)
    exec(build_checker_program(code, "json" if functional else None), names)
    return names["check_answer"](*texts)


@pytest.mark.parametrize(("out", "accepted"), [("1 4\n", True), ("4 1", True), ("5", False), ("2 2", False)])
def test_custom_check_of_stdin_problem_gets_texts(out: str, accepted: bool) -> None:
    assert run_custom_check(PAIR_SUM_CHECK, "5\n", out, "1 4\n") is accepted


def test_custom_check_of_functional_problem_gets_values() -> None:
    code = "def check(inp, out, exp):\n    return inp == [[3, 1], 2] and sorted(out) == exp"
    assert run_custom_check(code, "[3, 1]\n2\n", "[2, 1]", "[1, 2]", functional=True) is True
    assert run_custom_check(code, "[3, 1]\n2", "[1, 3]", "[1, 2]", functional=True) is False


@pytest.mark.parametrize(("returned", "accepted"), [("1", True), ("'no'", True), ("None", False), ("[]", False)])
def test_result_of_custom_check_is_converted_to_bool(returned: str, accepted: bool) -> None:
    assert run_custom_check(f"def check(inp, out, exp): return {returned}", "", "", "") is accepted


def test_answer_that_custom_check_cannot_parse_is_rejected() -> None:
    assert run_custom_check(PAIR_SUM_CHECK, "5", "one four", "1 4") is False
    code = "def check(inp, out, exp):\n    return inp.pop() == out[0]"  # the input is read anew for each call
    assert run_custom_check(code, "1", "null", "[1]", functional=True) is False


def test_custom_check_that_fails_on_the_expected_output_raises() -> None:
    with pytest.raises(NameError):
        run_custom_check("def check(inp, out, exp): return undefined", "", "3", "3")


@pytest.mark.parametrize(
    "code",
    [
        'from __future__ import annotations\ndef check(inp: X, out: Y, exp: Z): return out == exp and "\\n" and \'"\'',
        "def check(inp, out, exp): return check_answer and out == exp\ndef check_answer(*texts): return None",
        "READ = CODE = 1\ndef check(inp, out, exp): return READ == CODE and out == exp",
        "def same(a, b): return a == b\ndef check(inp, out, exp): return same(out, exp)",
        "def check(inp, out, exp): return gcd(int(out), int(exp)) == int(exp)",
        "def check(inp, out, exp): return json.loads(out) == int(exp)\nimport json\n# no line end",
    ],
)
def test_custom_check_may_contain_any_code(code: str) -> None:
    import math

    assert run_custom_check(code, "", "3", "3", gcd=math.gcd) is True
    assert run_custom_check(code, "", json.dumps(4), "3", gcd=math.gcd) is False
