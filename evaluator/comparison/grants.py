"""Read from a problem's statement which error of a real number it grants.

Statements grant an error in a few forms, but in many notations: plain text, LaTeX, HTML and Unicode. So a statement is
first rewritten to one notation, in which each small number (10^-6, 1e-6, 0.000001) is a mark. Then each sentence is
searched for the known forms. Not a grant: a number of digits to print ("exactly two decimals", "rounded to 2 digits"),
and a bound on anything but the answer ("it is guaranteed that ...").

The examples are in ``tests/evaluator/comparison/test_grants.py``.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator

from evaluator.checker import Tolerance

# --- one notation -----------------------------------------------------------------------------------------------------

_MAX_BOUND = 0.1  # a larger number is not the error of an answer

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT_RUN = re.compile("[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\u2014\ufe63\uff0d", "-"),
        **dict.fromkeys("×·⋅∙∗•", "*"),
        **dict.fromkeys("≤≦⩽", "<"),
        **dict.fromkeys("∣｜‖", "|"),
        **dict.fromkeys("’‘ʼ`", "'"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", ""),
        **dict.fromkeys("∕⁄", "/"),
        "。": ". ",
        "@": " ",  # the character of marks
    }
)
_TAGS = "p|br|hr|i|b|u|em|strong|span|div|code|pre|tt|var|sub|sup|li|ul|ol|dl|dt|dd|h[1-6]|font|nobr|center|small|math"
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?i)<sup\b[^<>]{0,80}>\s*([^<>]{1,20}?)\s*</sup>", r"^\1 "),
        (rf"(?i)</?(?:{_TAGS})(?:\s+[\w-]+\s*=[^<>]{{0,200}})?\s*/?>", " "),
        (r"\\(?:leqslant|leqq|leq|le|lt)(?![A-Za-z])", " < "),
        (r"<\s*=", "<"),
        (r"\\(?:times|cdot|ast)(?![A-Za-z])", "*"),
        (r"\\(?:[lr]?vert|mid)(?![A-Za-z])|\\\|", "|"),
        (r"\\[dtc]?frac(?![A-Za-z])", " frac "),
        (r"\\(max|min)(?![A-Za-z])", r" \1 "),
        (r"\\(?:text\w{0,2}|math\w{2}|operatorname|mbox|hbox|rm|it|bf|tt|left|right|[bB]ig[lr]?)(?![A-Za-z])", ""),
        (r"\\q?quad(?![A-Za-z])|\\[,;:!\s]|~", " "),
        (r"\\([%_-])", r"\1"),
        (r"\\[()\[\]]|\$+", " "),
        (r"\*\*(?=[A-Za-z])|(?<=[A-Za-z])\*\*|(?<![\w*])[*_](?=[A-Za-z])|(?<=[A-Za-z])[*_](?![\w*])", ""),  # Markdown
    )
)
_OPEN = r"[({\s]*"
_CLOSE = r"[)}]*"
_NUMBER = re.compile(
    rf"""(?<![\w.^|])(?:
        (?:(?P<factor>\d+(?:\.\d+)?)\s*[*x]\s*)?10{_CLOSE}\s*(?:\^|\*\*)\s*{_OPEN}-{_OPEN}(?P<power>\d{{1,2}}){_CLOSE}
      | (?P<mantissa>\d+(?:\.\d+)?)\s?[({{]*[eE]\^?{_CLOSE}\s?{_OPEN}-{_OPEN}(?P<exponent>\d{{1,2}}){_CLOSE}
      | 10\s?-\s?(?P<lost>\d{{1,2}})(?!\s*[=|*/+])       # a superscript that the text of a page has lost
      | 10\s+to\s+the\s+(?:power\s+(?:of\s+)?)?(?:-|minus)\s?(?P<spoken>\d{{1,2}})
      | (?:1\s*/|frac\s*{_OPEN}1{_CLOSE})\s*{_OPEN}10\s*(?:\^|\*\*)\s*{_OPEN}(?P<inverse>\d{{1,2}}){_CLOSE}
      | (?:1\s*/|frac\s*{_OPEN}1{_CLOSE})\s*{_OPEN}1(?P<zeros>0{{1,30}}){_CLOSE}
      | (?P<percent>\d{{1,2}}(?:\.\d+)?)\s?%
      | (?P<decimal>0?\.\d{{1,30}})
    )(?![\w^])""",
    re.VERBOSE,
)
_BLANK_LINES = re.compile(r"\n\s*\n")
_BLANKS = re.compile(r"[^\S\n]+")
_ABBREVIATION = re.compile(r"(?i)\b(i\.e|e\.g|abs|rel|resp|approx|max|min)\.")
# A blank line does not end a sentence that a displayed formula continues.
_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)|\n\s*\n(?=\s*[A-Z#])")


def _rewrite(statement: str) -> str:
    """Return the statement in plain characters, without markup, with LaTeX's commands and superscripts as ``^``."""
    # Long runs of white space would make some of the patterns take quadratic time.
    text = _BLANKS.sub(" ", _BLANK_LINES.sub("\n\n", html.unescape(statement)))
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^" + run[0].translate(_SUPERSCRIPTS), text).translate(_CHARACTERS)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return _ABBREVIATION.sub(r"\1", _BLANKS.sub(" ", text))


def _get_value(number: re.Match[str]) -> float:
    """Return the value of a match of ``_NUMBER``."""
    groups = {name: text for name, text in number.groupdict().items() if text is not None}
    match groups:
        case {"factor": factor, "power": power}:
            return float(f"{factor}e-{power}")
        case {"mantissa": mantissa, "exponent": exponent}:
            return float(f"{mantissa}e-{exponent}")
        case {"power": power} | {"lost": power} | {"spoken": power} | {"inverse": power}:
            return float(f"1e-{power}")
        case {"zeros": zeros}:
            return float(f"1e-{len(zeros)}")
        case {"decimal": decimal}:
            return float(decimal)
    return float(groups["percent"]) / 100


def _split_sentences(statement: str) -> Iterator[tuple[str, list[float]]]:
    """Yield each sentence that has a small number or digits, in lower case, with the small numbers marked @0@, @1@, ...

    The list has their values.
    """
    values: list[float] = []

    def mark(number: re.Match[str]) -> str:
        value = _get_value(number)
        if not 0 < value <= _MAX_BOUND:
            return number[0]
        values.append(value)
        return f" @{len(values) - 1}@ "

    for sentence in _SENTENCE_END.split(_NUMBER.sub(mark, _rewrite(statement))):
        yield " ".join(sentence.lower().split()), values


# --- forms ------------------------------------------------------------------------------------------------------------

_MARK = r"@(\d+)@"
_GAP = r"[^@]{0,120}?"
_NEAR = r"[^@]{0,50}?"
_ERROR = r"\b(?:errors?|inaccurac(?:y|ies)|deviations?)\b"
_PRECISION = r"\b(?:tolerances?|precisions?|precise(?:ly)?|accurac(?:y|ies)|accurate(?:ly)?|margin)\b"
_DIFFERENCE = r"\b(?:differ|differs|difference|differences|deviates?|distance|off|away)\b"
_KINDS = r"(?:\s|[-,/()]|absolute|relative|or|and|an?|the|of)*"
_VALUES = r"(?:answers?|outputs?|results?|solutions?|values?|ones?|numbers?)"
_NUMERALS = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_COUNT = rf"(\d{{1,2}}(?=\D)|{'|'.join(_NUMERALS)})"
_DECIMALS = (
    r"(?:(?:st|nd|rd|th)?[ -](?:correct |accurate )?(?:decimals?\b|(?:decimal|fractional) (?:digits?|places?|points?)"
    r"|digits? (?:after|past|behind|right of|to the right of)|places))"
)

_ERROR_BOUND = re.compile(rf"{_ERROR}(?:(?!\bif\b)[^@]){{0,120}}?{_MARK}|{_MARK}{_KINDS}{_ERROR}")
_PRECISION_BOUND = re.compile(rf"{_PRECISION}{_NEAR}{_MARK}|{_MARK}{_KINDS}{_PRECISION}")
_WITHIN_BOUND = re.compile(rf"\b(?:within|up to){_NEAR}{_MARK}")
_DIFFERENCE_BOUND = re.compile(rf"{_DIFFERENCE}{_GAP}{_MARK}")
_FORMULA_BOUND = re.compile(
    rf"(?:\|[^|@]{{1,60}}-[^|@]{{1,60}}\||\babs\s*\([^()@]{{1,60}}-[^()@]{{1,60}}\)){_GAP}{_MARK}"
)
_SIGNIFICANT_DIGITS = re.compile(rf"\b(?:accura\w*|precis\w*|at least)\b{_NEAR}\b{_COUNT} significant\b")
_ACCURATE_DIGITS = re.compile(
    rf"\b(?:accura\w*|precise|precision of at least){_NEAR}\b{_COUNT}(?:{_DECIMALS}|[ -]digits?\b)"
)
_MINIMUM_DIGITS = re.compile(rf"\bat least {_COUNT}{_DECIMALS}")

_ANSWER = re.compile(
    r"\b(?:answers?|outputs?|print\w*|display\w*|results?|solutions?|accept\w*|correct\w*|allow\w*|permit\w*|consider\w*"
    r"|ignor\w*|tolerat\w*|judges?|judged|jury|checkers?|return\w*|comput\w*|calculat\w*|submissions?|find|determine)\b"
)
_DEMAND = re.compile(r"\b(?:must|should\w*|shall|may|can|cannot|exceed\w*|absolute|relative)\b")
# A distance is granted only between the answer and the one that is known to be right.
_JUDGED = re.compile(
    r"\baccept\w*|\bignor\w*|\btolera\w*|\bjudged\b"
    r"|\bconsidered (?:to be |as )?(?:correct|right|valid|equal|the same)\b|\b(?:correct|right) (?:if|iff|when)\b"
    r"|\b(?:jury|jurors?|judges?|judge's|jury's|checkers?|authors?|author's|official|reference|main|model)\b"
    rf"|\b(?:actual|correct|expected|exact|true|real|right|optimal|standard)(?: \w+)? {_VALUES}\b"
    r"|\b(?:your|the|an?) (?:\w+ )?(?:answers?|outputs?|results?|solutions?) (?:must|should|may|can|is allowed)\b"
)
_NOT_THE_ANSWER = re.compile(
    r"\bguarante\w+\b(?! to be (?:accepted|correct|judged))|\bensured\b|\bperturb\w*"
    r"|\bmeasure(?:d|ments?)\b|\bsensors?\b"
)
_GIVEN = re.compile(r"\b(?:given|inputs?|specified|provided|stored)\b")
_FORMAT = re.compile(r"\b(?:exactly|round\w*|truncat\w*|nearest)\b")
_ABSOLUTE = re.compile(r"\babs(?:olute(?:ly)?)?\b")
_RELATIVE = re.compile(r"\brel(?:ative(?:ly)?)?\b")
_NEXT_MARK = re.compile(rf"[^@]*{_MARK}")


@functools.lru_cache(maxsize=4096)
def find_granted_tolerance(statement: str) -> Tolerance | None:
    """Return the error that a statement grants for real numbers; None if it grants none.

    The first sentence that grants an error decides. If it does not say whether the error is absolute or relative, a
    distance ("within 1e-5 of the answer") is absolute, and any other error is either.

    >>> find_granted_tolerance("Answers within $10^{-5}$ of the actual answer will be accepted.")
    Tolerance(abs=1e-05, rel=0.0)
    >>> find_granted_tolerance("Print the mean. Its absolute or relative error must not exceed 1e-6.")
    Tolerance(abs=1e-06, rel=1e-06)
    >>> find_granted_tolerance("Print the mean with exactly two decimals.")
    """
    for sentence, values in _split_sentences(statement):
        tolerance = _find_bound(sentence, values) or _find_digits(sentence)
        if tolerance is not None:
            return tolerance
    return None


def _find_bound(sentence: str, values: list[float]) -> Tolerance | None:
    """Return the error that a sentence grants by a small number."""
    if "@" not in sentence or _NOT_THE_ANSWER.search(sentence):
        return None
    about_answer = _ANSWER.search(sentence) is not None
    if _GIVEN.search(sentence) and not about_answer:
        return None
    is_judged = _JUDGED.search(sentence) is not None
    if is_judged and (granted := _find_formulas(sentence, values)):
        return granted
    for form, is_granting in (
        (_ERROR_BOUND, about_answer or _DEMAND.search(sentence) is not None),
        (_PRECISION_BOUND, about_answer),
    ):
        if is_granting and (found := form.search(sentence)):
            return _read_kinds(sentence, values, found, is_distance=False)
    for form in (_WITHIN_BOUND, _DIFFERENCE_BOUND):
        if is_judged and (found := form.search(sentence)):
            return _read_kinds(sentence, values, found, is_distance=True)
    return None


def _read_kinds(sentence: str, values: list[float], found: re.Match[str], is_distance: bool) -> Tolerance:
    """Return the tolerance of a match: absolute, relative or both, with one bound or one for each.

    Args:
        sentence: sentence with marks.
        values: values of the marks.
        found: match of a form, whose bound is the one of a kind that no bound follows.
        is_distance: without a word for the kind, the bound is absolute.
    """
    default = values[int(next(group for group in found.groups() if group is not None))]

    def find_bound(kind: re.Pattern[str]) -> float | None:
        word = kind.search(sentence)
        if word is None:
            return None
        bound = _NEXT_MARK.match(sentence, word.end())
        return default if bound is None else values[int(bound[1])]

    absolute = find_bound(_ABSOLUTE)
    relative = find_bound(_RELATIVE)
    if absolute is None and relative is None:
        return Tolerance(default, 0.0 if is_distance else default)
    return Tolerance(absolute or 0.0, relative or 0.0)


def _find_formulas(sentence: str, values: list[float]) -> Tolerance | None:
    """Return the error that formulas such as |a-b| / max(1, |b|) < 1e-6 grant: the maximum makes it either kind."""
    absolute = 0.0
    relative = 0.0
    for found in _FORMULA_BOUND.finditer(sentence):
        bound = values[int(found[1])]
        before = sentence[: found.start()]
        is_quotient = "/" in found[0] or before.endswith(("frac {", "frac", "frac{", "frac ("))
        if re.search(r"\b(?:max|min)\b|\+\s*1|1\s*\+", before[-12:] + found[0]):
            absolute = relative = bound
        elif is_quotient:
            relative = bound
        else:
            absolute = bound
    return Tolerance(absolute, relative) if absolute or relative else None


def _find_digits(sentence: str) -> Tolerance | None:
    """Return the error that a sentence grants by a number of digits ("accurate to 6 decimal places")."""
    if _FORMAT.search(sentence) or _NOT_THE_ANSWER.search(sentence) or not _ANSWER.search(sentence):
        return None
    for form, is_relative in ((_SIGNIFICANT_DIGITS, True), (_ACCURATE_DIGITS, False), (_MINIMUM_DIGITS, False)):
        if found := form.search(sentence):
            # The first significant digit is before the point.
            bound = float(f"1e{is_relative - _get_count(found[1])}")
            if bound <= _MAX_BOUND:
                return Tolerance(0.0, bound) if is_relative else Tolerance(bound, 0.0)
    return None


def _get_count(word: str) -> int:
    return int(word) if word.isdigit() else _NUMERALS.index(word) + 2
