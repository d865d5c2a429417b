"""Comparison of numbers within a tolerance."""

from hypothesis import example, given
from hypothesis import strategies as st

from evaluator.checker import AnyCase, Checker, Tolerance
from evaluator.comparison import compare_functional, compare_stdin
from evaluator.comparison.rules import ComparisonRules
from tests.evaluator.comparison.strategies import ANY_ORDER, ANY_ORDER_DEEP, make_rules


@given(st.floats(-1e9, 1e9), st.floats(-0.9, 0.9), st.sampled_from([1e-6, 1e-9, 1e-3]))
def test_fraction_is_accepted_within_the_tolerance(value: float, error: float, tolerance: float) -> None:
    near = value + error * tolerance * max(1.0, abs(value))
    far = value + 1.1 * tolerance * max(1.0, abs(value)) + 1e-12
    granted = Tolerance(tolerance, tolerance)
    expected = f"{value:.17f}"
    others = ["7.5", "-2e+19"]
    any_order = ComparisonRules(checker=ANY_ORDER, tolerance=granted)
    for answer, accepted in ((near, True), (far, False)):
        assert (compare_stdin(f"{expected}\n", f"{answer:.17f}\n", make_rules(granted)) is not None) == accepted
        reordered = " ".join([f"{answer:.17f}", *reversed(others)])
        assert (compare_stdin(" ".join([expected, *others]), reordered, any_order) is not None) == accepted


@given(
    st.integers(), st.integers(), st.sampled_from([None, Tolerance(1e-3, 1e-3), AnyCase(), ANY_ORDER, ANY_ORDER_DEEP])
)
@example(10**18, 10**18 + 1, Tolerance(1e-3, 1e-3))
def test_integers_must_be_exactly_equal(left: int, right: int, checker: Checker | None) -> None:
    for compare in (compare_stdin, compare_functional):
        assert (compare(str(left), str(right), make_rules(checker)) is not None) == (left == right)
        assert (compare(str(left), f" {right}\n", make_rules(checker)) is not None) == (left == right)
