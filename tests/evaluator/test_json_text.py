"""Decoding of JSON texts with long integers, whatever limit of digits the process has."""

import sys
from collections.abc import Iterator

import pytest

from evaluator.comparison import compare_functional, compare_python
from evaluator.comparison.rules import ComparisonRules
from evaluator.json_text import LongInteger, decode_json
from evaluator.problem import ProblemError, parse_problem
from tests.evaluator.comparison.strategies import ANY_ORDER_DEEP


@pytest.fixture(params=[640, 4300, 0])
def _digit_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set each kind of limit that a trainer's process may have: the lowest, Python's own, and none."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(request.param)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.usefixtures("_digit_limit")
@pytest.mark.parametrize("digits", [1, 400, 401, 4300, 4301, 60_000])
def test_long_integers_compare_exactly(digits: int) -> None:
    number = "7" * digits
    for compare in (compare_functional, compare_python):
        assert compare(f"[{number}]", f"[ {number}]") == "json_equal"
        assert compare(f"[{number}]", f"[ -{number}]") is None
        assert compare(f"[{number}]", f"[ {number[:-1]}8]") is None
        assert compare(f"[{number}, 0.5]", f"[{number}, 0.500001]") == "json_close"
        assert compare(f"[{number}]", f"[{number}.5]") is None
    rules = ComparisonRules(checker=ANY_ORDER_DEEP)
    assert compare_functional(f"[1, {number}]", f"[{number}, 1]", rules) == "granted_order"


@pytest.mark.usefixtures("_digit_limit")
def test_only_long_integers_are_kept_as_text():
    assert decode_json("[12, -3, 0.5, 1e3]") == [12, -3, 0.5, 1000.0]
    assert decode_json(f"[{'9' * 401}, 12, 0.{'9' * 401}]") == [LongInteger("9" * 401), 12, 1.0]
    assert decode_json("\ufeff[1]") == [1]


def test_decoding_needs_no_time_that_is_quadratic_in_the_digits():
    # int() of this text would take hours without a limit of digits.
    sys_limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert decode_json("1" * 20_000_000) == LongInteger("1" * 20_000_000)
    finally:
        sys.set_int_max_str_digits(sys_limit)


@pytest.mark.parametrize("text", ["", "[1", "1 2", "[" * 100_000])
def test_other_texts_raise_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        decode_json(text)


@pytest.mark.parametrize("values", ["json", "python"])
def test_problems_may_have_long_integers(values: str) -> None:
    row = {
        "question_id": "q",
        "starter_code": "" if values == "json" else "def f(n):\n    return n",
        "public_test_cases": [{"input": "1" * 5000, "output": "2" * 5000, "testtype": "functional"}],
        "metadata": {"func_name": "f", "values": values},
    }
    assert parse_problem(row).tests[0].output == "2" * 5000
    row["public_test_cases"] = [{"input": "1", "output": "2" * 5000 + "x", "testtype": "functional"}]
    with pytest.raises(ProblemError, match="not one JSON value"):
        parse_problem(row)
