"""Tolerances granted by statements: a table of wordings and notations, and of sentences that grant nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.checker import Tolerance
from evaluator.comparison.grants import find_granted_tolerance

EITHER_6 = Tolerance(1e-6, 1e-6)
ABSOLUTE_6 = Tolerance(1e-6, 0.0)


@pytest.mark.parametrize(
    "number",
    [
        *("1e-6", "1E-6", "1e-06", "1.0e-6", "1e−6", "1e^{-6}", "1e{-6}", "$1e-6$", "0.000001", ".000001"),
        *("10^-6", "10^(-6)", "10^{-6}", "10^{ - 6}", "10 ^ -6", "10**-6", "10**(-6)", "10^{−6}", "10^–6"),
        *("10⁻⁶", "1×10⁻⁶", "1 * 10^-6", "1·10^{-6}", "1 x 10^-6", "$10^{-6}$", "$$$10^{-6}$$$", "\\(10^{-6}\\)"),
        *("${10}^{-6}$", "$1 \\times 10^{-6}$", "$1\\cdot{}10^{-6}$", "\\(1\\mathrm{e}{-6}\\)", "$10^{\\,-6}$"),
        *(
            "10<sup>-6</sup>",
            "10<sup>&minus;6</sup>",
            "10<SUP> −6 </SUP>",
            "<var>10<sup>-6</sup></var>",
            "10&#8315;&#8310;",
        ),
        *("10-6", "10 - 6", "10−6", "10 to the power of -6", "10 to the minus 6"),
        *(
            "1/1000000",
            "1/10^6",
            "\\frac{1}{10^6}",
            "\\frac{1}{10^{6}}",
            "$\\dfrac{1}{1000000}$",
            "0.0001%",
            "0.0001\\%",
        ),
    ],
)
def test_notations_of_a_number(number: str) -> None:
    statement = f"Print the mean. Its absolute or relative error must be at most {number}.\n\nSample: 1 2"
    assert find_granted_tolerance(statement) == EITHER_6


@pytest.mark.parametrize(
    ("statement", "granted"),
    [
        # errors
        ("Your answer is accepted if its absolute or relative error does not exceed 1e-6.", EITHER_6),
        ("It is considered correct when the absolute or relative error is at most $10^{-6}$.", EITHER_6),
        ("with an absolute or relative error of at most 10^{-6}", EITHER_6),
        ("relative/absolute error ≤ 10⁻⁶", EITHER_6),
        ("The error must not exceed $10^{-6}$.", EITHER_6),
        ("Errors below 10^-6 are ignored.", EITHER_6),
        ("an error of up to 0.01 is tolerated", Tolerance(0.01, 0.01)),
        ("The output should not contain an error greater than 10^{-5}.", Tolerance(1e-5, 1e-5)),
        ("Answers with an absolute or relative error greater than 1e-6 are judged wrong.", EITHER_6),
        ("Answers with an absolute error of no more than 10^-3 are accepted.", Tolerance(1e-3, 0.0)),
        ("Any answer within 10^{-6} relative or absolute error is accepted", EITHER_6),
        ("Your answer is correct if its abs. or rel. error is ≤ 1e-6.", EITHER_6),
        ("The error (absolute or relative) of your answer\nshould be\nat most 1e-6.", EITHER_6),
        ("Print it. **Absolute** or *relative* error at most 1e-6 is allowed.", EITHER_6),
        ("An absolute error of 10^-4 or a relative error of 10^-9 is allowed.", Tolerance(1e-4, 1e-9)),
        ("The relative error of the answer must be smaller than 1/1000.", Tolerance(0.0, 1e-3)),
        ("Answers are accepted with 5 x 10^-7 relative error.", Tolerance(0.0, 5e-7)),
        ("A relative error under 0.1% is fine for the answer.", Tolerance(0.0, 1e-3)),
        ("Your output is correct if the absolute or relative error from the true value is at most 10^{−6}.", EITHER_6),
        ("It is accepted if within an absolute or relative error of 10^-6 of the correct answer.", EITHER_6),
        # precision and tolerance
        ("Output the result with an accuracy of 10<sup>-6</sup>.", EITHER_6),
        ("The answer must be correct with 1e-6 precision", EITHER_6),
        ("The checker uses a tolerance of 1e-6.", EITHER_6),
        ("We accept a relative precision of 1e-6.", Tolerance(0.0, 1e-6)),
        ("The answer must be precise to within 5*10^{-7}.", Tolerance(5e-7, 5e-7)),
        # distances
        ("Answers within $10^{-5}$ of the actual answer will be accepted.", Tolerance(1e-5, 0.0)),
        ("Answers within 10-5 of the actual answer will be accepted.", Tolerance(1e-5, 0.0)),
        ("Your output should be within 0.01 of the exact value.", Tolerance(0.01, 0.0)),
        ("The absolute difference between your solution and the main solution shouldn't exceed 10^-6;", ABSOLUTE_6),
        ("Your output may differ from the judge's by up to 0.0001.", Tolerance(1e-4, 0.0)),
        ("It is judged as correct if it differs from the correct one by no more than 10^-6.", ABSOLUTE_6),
        ("Your answer may be off by at most 1e-6.", ABSOLUTE_6),
        # formulas
        ("Your answer is correct if $\\frac{|a-b|}{\\max(1,b)} \\le 10^{-6}$.", EITHER_6),
        ("accepted if and only if \\frac{|a - b|}{max{(1, |b|)}} ≤ 10^{-6}.", EITHER_6),
        (
            "Accepted if and only if\n\n$$\\frac{\\left|a-b\\right|}{\\max(1,\\left|b\\right|)} \\leqslant 10^{-6}.$$",
            EITHER_6,
        ),
        ("Accepted if min(|a-b|, |a-b|/|b|) <= 1e-6.", EITHER_6),
        ("Accepted if abs(a - b) / max(1, abs(b)) &lt; 1e-6.", EITHER_6),
        (
            "Your answer is correct if \\(\\dfrac{\\lvert a-b\\rvert}{\\lvert b\\rvert}\\le 10^{-7}\\).",
            Tolerance(0.0, 1e-7),
        ),
        ("Your answer will be accepted if |a-b|/|b| <= 1e-7.", Tolerance(0.0, 1e-7)),
        ("Your answer is accepted if |a-b| ≤ 10⁻⁴.", Tolerance(1e-4, 0.0)),
        # digits
        ("Print the answer accurate to 6 decimal places.", ABSOLUTE_6),
        ("Print the result with an accuracy of at least six decimal digits.", ABSOLUTE_6),
        ("The result must be accurate to the 6th decimal place.", ABSOLUTE_6),
        ("Print the answer with at least 6 digits after the decimal point.", ABSOLUTE_6),
        ("Output a real number with at least 6 significant digits.", Tolerance(0.0, 1e-5)),
        # the first sentence that grants an error decides
        (
            "Print at most 12 digits. Your answer is accepted with an error of 1e-6. The sample has an error of 1e-9.",
            EITHER_6,
        ),
        ("Print the answer rounded to 9 decimals. An absolute error of 1e-6 is accepted.", ABSOLUTE_6),
        ("Your answer is guaranteed to be accepted if its error is at most 1e-6.", EITHER_6),
    ],
)
def test_wordings_of_a_grant(statement: str, granted: Tolerance) -> None:
    assert find_granted_tolerance(statement) == granted
    assert (
        find_granted_tolerance(f"You are given n <= 10^5 numbers.\n\nOutput\n{statement}\n\nSample\n0.5\n") == granted
    )


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "Print the price with exactly two digits after the decimal point.",
        "Print with exactly two decimals.",
        "Print the answer rounded to 2 digits.",
        "Print the answer rounded to two decimal places.",
        "Print the answer, accurate to two decimal places, rounded half up.",
        "Print x with 2 digits after the decimal point.",
        "Output with 2 decimals.",
        "Truncate pi to N decimal places and print the result without removing the trailing 0s.",
        "Print x without trailing zeros, and without the decimal point where nothing follows it.",
        "Round the answer to the nearest 0.01.",
        "The probability p is given with at most 3 digits after the decimal point.",
        "X is given to one decimal place.",
        "It is guaranteed that no two points are within 10^-6 of each other.",
        "It is guaranteed that the answer does not change if every number has an error of at most 10^-6.",
        "The coordinates are given with an error of at most 10^-3.",
        "Each measurement has an absolute error of at most 0.01.",
        "Print true if the distance between the points is less than 0.05.",
        "A pair is valid if |a_i - a_j| < 0.01. Print the number of pairs.",
        'Print "ERROR" if x is less than 0.01.',
        "There were 10 - 6 = 4 errors in the output.",
        "The absolute difference is |10 - 1| = 9. Print it.",
        "Transmission errors: at most 3 of the answers are wrong.",
        "The password must contain at least 8 digits.",
        "You must print at least 3 numbers.",
        "Print the error count modulo 10^9+7.",
        "Find the smallest x with x > 0.001.",
    ],
)
def test_sentences_that_grant_nothing(statement: str) -> None:
    assert find_granted_tolerance(statement) is None


PIECES = [*"|-/.^{}()$\\ 10eE@~\n", "error ", "frac", "accurate ", "within ", "10^-6 ", "answer ", "digits "]


@given(st.lists(st.sampled_from(PIECES)))
def test_any_statement_can_be_read(pieces: list[str]) -> None:
    granted = find_granted_tolerance("".join(pieces))
    assert granted is None or (0 <= granted.abs <= 0.1 and 0 <= granted.rel <= 0.1 and granted != Tolerance(0, 0))


LONG_PIECES = [" ", "\\, ", "10^", "10^ (", "frac{", "<sup>", "9", "|-", "error ", "1e-6 or ", "the ", "("]


@pytest.mark.heavy
@pytest.mark.parametrize("start", ["answer 10^", "accepted |a-b| < 1e-6 "])
@pytest.mark.parametrize("piece", LONG_PIECES)
def test_long_statements_take_linear_time(start: str, piece: str) -> None:
    find_granted_tolerance(start + piece * 20_000)  # would take minutes if one of the patterns were quadratic
