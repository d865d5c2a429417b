"""Checkers, and hypothesis strategies that generate expected outputs and answers."""

from hypothesis import strategies as st

from evaluator.checker import AnyCase, AnyOrder, Checker, Tolerance
from evaluator.comparison.rules import ComparisonRules

ANY_ORDER = AnyOrder(deep=False)
ANY_ORDER_DEEP = AnyOrder(deep=True)
CHECKERS: list[Checker | None] = [None, Tolerance(1e-6, 1e-6), AnyCase(), ANY_ORDER, ANY_ORDER_DEEP]
RULES = [ComparisonRules(checker=checker) for checker in CHECKERS if not isinstance(checker, Tolerance)] + [
    ComparisonRules(tolerance=Tolerance(1e-6, 1e-6), outputs=("7 0.5", "8 1.5")),
    ComparisonRules(checker=ANY_ORDER_DEEP, tolerance=Tolerance(1e-6, 0)),
    ComparisonRules(checker=AnyCase(), returns_floats=True),
]
FRACTIONS = st.floats(-1e9, 1e9).map(lambda value: f"{value:.7f}")
TOKENS = st.one_of(
    st.integers().map(str),
    FRACTIONS,
    st.sampled_from(
        [
            "0",
            "-0",
            "-0.0",
            "0.0",
            "007",
            "7",
            "+7",
            "7.0",
            "7.",
            "1e3",
            "1000",
            "1e+3",
            "0.1",
            ".1",
            "nan",
            "inf",
            "1_0",
        ]
    ),
    st.sampled_from(
        ["Yes", "YES", "yes", "#.#", "[1,", "2]", '"7"', "(7)", "\x00", "\x1b[1m7", "\uff17", "é", "\ufeff7"]
    ),
)
BLANKS = st.sampled_from([" ", "\n", "\n", "  ", "\t", "\r\n", " \n", "\n\n", "\n \n", "\v", "\f", ""])
TEXTS = st.lists(st.tuples(BLANKS, TOKENS, BLANKS), max_size=5).map(lambda parts: "".join(map("".join, parts)))
WORDS = st.lists(st.text("abcXYZ019#._-", min_size=1, max_size=6), max_size=8)
ANY_TEXT = st.text(st.characters(), max_size=20) | st.text(
    st.characters(categories=["Cs", "Cc", "Zs", "Nd"]), max_size=9
)


def make_rules(checker: Checker | None, *outputs: str) -> ComparisonRules:
    """Return the rules of a problem with a checker and expected outputs, whose statement grants nothing."""
    tolerance = checker if isinstance(checker, Tolerance) else None
    return ComparisonRules(checker=checker, tolerance=tolerance, outputs=outputs)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
