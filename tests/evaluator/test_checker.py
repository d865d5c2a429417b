"""Checkers of problems: parsing them."""

import doctest

import pytest

from evaluator import checker
from evaluator.checker import AnyCase, AnyOrder, CustomChecker, Tolerance, parse_checker

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
