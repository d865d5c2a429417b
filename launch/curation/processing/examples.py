"""Examples in statements: extract them, and compare them with the tests.

Layouts, in the words of the sites that they come from:

    Codeforces, CodeContests     Examples / Input / ... / Output / ... / Note
    AtCoder, Aizu, CodeChef      Sample Input 1 / ... / Sample Output 1 / ...
    LeetCode                     Example 1: / Input: nums = [3,1], k = 2 / Output: 4 / Explanation: ...
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from evaluator.checker import CustomChecker, parse_checker
from evaluator.comparison import compare_functional, compare_stdin
from evaluator.comparison.rules import ComparisonRules, choose_rules
from evaluator.json_text import decode_json
from evaluator.problem import Problem, ProblemTest

_MARKUP = r"[ \t#*>_-]*"
_HEADER = re.compile(
    rf"^{_MARKUP}(?P<sample>(?:sample|example)[ \t]+)?(?P<kind>input|output)s?(?:[ \t]*#?\d+)?{_MARKUP}:?{_MARKUP}$",
    re.IGNORECASE,
)
_EXAMPLES = re.compile(
    rf"^{_MARKUP}(?:sample|example)s?(?:[ \t]*(?:tests?|cases?|\d+))?{_MARKUP}:?{_MARKUP}$", re.IGNORECASE
)
_END = re.compile(
    rf"^{_MARKUP}(?:notes?|explanations?|constraints?|hints?|interaction|scoring|subtasks?|limits?|source)\b"
    r"(?:[ \t]+(?:for|of|to|in)\b.*|[ \t]*\d*)[ \t]*(?::.*)?[*#_ \t-]*$",
    re.IGNORECASE,
)
_NOTE = re.compile(rf"^{_MARKUP}notes?{_MARKUP}:?{_MARKUP}$", re.IGNORECASE)
_CALL = re.compile(
    r"^[ \t*]*Input(?::\**|\**:)[ \t]*(?P<arguments>\S(?:(?!\n[ \t]*\n).)*?)\n+"
    r"[ \t*]*Output(?::\**|\**:)[ \t]*(?P<result>\S.*?)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_ARGUMENT = re.compile(r"(?:^|,)\s*([A-Za-z_]\w*)\s*=\s*")

MAX_ARGUMENTS = 10_000
"""Characters of an example's arguments: longer ones are no example that a person reads."""

MAX_PARAGRAPHS = 50
"""Paragraphs of an example's output among which its end is searched."""

Section = Literal["input", "output", "examples", "end"]


@dataclass(frozen=True, slots=True)
class Example:
    """Example of a statement: texts of standard input and output, or JSON texts of arguments and result.

    ``output`` may be followed by an explanation, since AtCoder separates the two by a blank line only.
    """

    input: str
    output: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleComparison:
    """Comparison of a statement's examples with the tests.

    Attributes:
        examples: the examples.
        shown: indices in ``Problem.tests`` of the tests that are examples.
        contradictions: examples whose input is that of a test with another output.
    """

    examples: tuple[Example, ...]
    shown: frozenset[int]
    contradictions: tuple[Example, ...]


def extract_examples(problem: Problem) -> tuple[Example, ...]:
    """Return the examples in the statement, in its order; none if it shows them in another layout."""
    if problem.func_name is None:
        return tuple(_extract_printed(problem.question_content))
    return tuple(_extract_calls(problem.question_content))


def find_examples_start(statement: str) -> int:
    """Return the offset of the first example or note; the statement's length if there is none."""
    offset = 0
    for line in statement.split("\n"):
        header = _HEADER.match(line)
        if (header is not None and header["sample"]) or _EXAMPLES.match(line) or _NOTE.match(line):
            return offset
        offset += len(line) + 1
    return len(statement)


def compare_examples(problem: Problem) -> ExampleComparison:
    """Compare the statement's examples with the problem's tests.

    With a custom checker no output contradicts another, since an input may have several right answers.
    """
    examples = extract_examples(problem)
    checker = parse_checker(problem.checker)
    is_custom = isinstance(checker, CustomChecker)
    rules = choose_rules(problem, None if is_custom else checker)
    tests: dict[str, list[int]] = {}
    for index, test in enumerate(problem.tests):
        tests.setdefault(_normalize_input(test.input, problem.func_name), []).append(index)
    shown: set[int] = set()
    contradictions = []
    for example in examples:
        candidates = tests.get(_normalize_input(example.input, problem.func_name), [])
        matching = [index for index in candidates if is_custom or _agrees(example, problem.tests[index], rules)]
        shown.update(matching)
        if candidates and not matching:
            contradictions.append(example)
    return ExampleComparison(examples=examples, shown=frozenset(shown), contradictions=tuple(contradictions))


def _normalize_input(text: str, func_name: str | None) -> str:
    """Return a key that is equal for equal inputs: the tokens, or the JSON text of the arguments in one form."""
    if func_name is None:
        return " ".join(text.split())
    try:
        return "\n".join(json.dumps(decode_json(line)) for line in text.split("\n") if line.strip())
    except (ValueError, TypeError):
        return text


def _agrees(example: Example, test: ProblemTest, rules: ComparisonRules) -> bool:
    """Return True if the example's output is that of the test, or begins with it before a blank line.

    A test without output agrees with any: then the whole text may be an explanation.
    """
    if test.testtype == "functional":
        return compare_functional(test.output, example.output, rules) is not None
    paragraphs = re.split(r"\n[ \t]*\n", example.output, maxsplit=MAX_PARAGRAPHS)
    beginnings = ("\n\n".join(paragraphs[:count]) for count in range(len(paragraphs) + 1))
    return any(compare_stdin(test.output, text, rules) is not None for text in beginnings)


# --- standard input and output ------------------------------------------------------------------------------------


def _extract_printed(statement: str) -> Iterator[Example]:
    """Yield each pair of an input block and the output block that follows it."""
    pending: str | None = None
    for section, text in _split_sections(statement):
        if section == "input":
            pending = text
        elif section == "output" and pending is not None:
            yield Example(pending, text)
            pending = None
        else:
            pending = None


def _split_sections(statement: str) -> Iterator[tuple[Section, str]]:
    """Yield (kind, text) of the blocks of examples, and an empty block wherever something else begins.

    A plain "Input" or "Output" begins a block only after "Examples": before, it begins a description.
    """
    kind: Section = "end"
    lines: list[str] = []
    is_after_examples = False
    for line in (*statement.split("\n"), "Note"):
        header = _HEADER.match(line)
        begins: Section | None = None
        if header is not None and (header["sample"] or is_after_examples):
            begins = "input" if header["kind"].lower() == "input" else "output"
        elif _EXAMPLES.match(line):
            begins = "examples"
            is_after_examples = True
        elif header is not None or _END.match(line):
            begins = "end"
        if begins is None:
            lines.append(line)
            continue
        yield kind, "\n".join(lines).strip("\n")
        kind = begins
        lines = []


# --- functions ----------------------------------------------------------------------------------------------------


def _extract_calls(statement: str) -> Iterator[Example]:
    """Yield each example whose arguments and result are JSON values (or Python's True, False and None)."""
    for match in _CALL.finditer(statement):
        arguments = match["arguments"]
        if len(arguments) > MAX_ARGUMENTS:
            continue
        places = list(_find_arguments(arguments))
        if not places:
            continue
        ends = [start for start, _ in places[1:]] + [len(arguments)]
        values = [_read_value(arguments[begin:end]) for (_, begin), end in zip(places, ends, strict=True)]
        result = _read_value(match["result"])
        if result is not None and None not in values:
            yield Example("\n".join(value for value in values if value is not None), result)


def _find_arguments(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, start of the value) of each "name = value" that is not inside brackets or quotes."""
    for match in _ARGUMENT.finditer(text):
        before = re.sub(r'"(?:[^"\\]|\\.)*"?', "", text[: match.start()])
        if before.count("[") == before.count("]") and text[: match.start()].count('"') % 2 == 0:
            yield match.start(), match.end()


def _read_value(text: str) -> str | None:
    """Return the JSON text of a value as a statement writes it; None if it is not one."""
    stripped = text.strip()
    constants: Mapping[str, Any] = {"True": True, "False": False, "None": None}
    if stripped in constants:
        return json.dumps(constants[stripped])
    try:
        return json.dumps(decode_json(stripped))
    except (ValueError, TypeError):
        return None
