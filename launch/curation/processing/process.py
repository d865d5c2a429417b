"""The stage *process*: bring a candidate into one form, or drop it with the reason.

clean statement ──► suitable? ──► compare examples with tests ──► select tests ──► complete statement
"""

from __future__ import annotations

from dataclasses import replace

from evaluator.checker import CustomChecker, parse_checker
from evaluator.comparison.rules import ComparisonRules, choose_rules
from evaluator.inside.functional import parse_starter_signature
from evaluator.problem import Problem, ProblemTest
from launch.curation.candidates import Candidate, Dropped
from launch.curation.processing.examples import ExampleComparison, compare_examples
from launch.curation.processing.selection import (
    MAX_TEST_CHARS,
    describe_too_large,
    remove_repeated,
    select_longest,
)
from launch.curation.processing.statements import clean_statement
from launch.curation.processing.suitability import find_unsuitable, remove_images
from launch.problems.usable_problems import make_prompt_texts_unicode

CONTRADICTED_EXAMPLE = "contradicted_example"
"""Key of ``Problem.extra``: an example whose output is not that of the test with its input. Without a mistake in the
set, the problem has several right answers, so it needs a checker."""

DROPPED_TESTS = "dropped_tests"
"""Key of ``Problem.extra``: for each test beyond the limit of size, its index in the source and the reason."""

MAX_ADDED_EXAMPLES = 3
STDIN_LINE = "Read the input from standard input and print the answer to standard output."


class _UnsuitableError(ValueError):
    """Error for a candidate to drop, with the reason and the explanation."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def process_candidate(candidate: Candidate, max_tests: int) -> Candidate | Dropped:
    """Return the candidate with a clean, complete statement and at most ``max_tests`` tests, or why it is dropped."""
    try:
        return replace(candidate, problem=_process_problem(candidate.problem, max_tests))
    except _UnsuitableError as error:
        return Dropped(
            question_id=candidate.problem.question_id,
            source=candidate.source,
            stage="process",
            reason=error.reason,
            detail=str(error),
        )


def _process_problem(problem: Problem, max_tests: int) -> Problem:
    problem = make_prompt_texts_unicode(problem)
    statement = clean_statement(problem.question_content, problem.platform)
    if unsuitable := find_unsuitable(statement):
        raise _UnsuitableError(*unsuitable)
    problem = replace(problem, question_content=clean_statement(remove_images(statement), problem.platform))
    if not problem.question_content:
        raise _UnsuitableError("no_statement", "nothing is left of the statement after cleaning")
    comparison = compare_examples(problem)
    complete = _complete_statement(problem, comparison)
    selected = _select_tests(problem, max_tests)
    public = {index for index in selected if index in comparison.shown or index < len(problem.public_tests)}
    extra = dict(problem.extra)
    if comparison.contradictions and CONTRADICTED_EXAMPLE not in extra:
        extra[CONTRADICTED_EXAMPLE] = comparison.contradictions[0].input[:500]
    if too_large := describe_too_large(problem.tests):
        extra[DROPPED_TESTS] = too_large
    return replace(
        problem,
        question_content=complete,
        public_tests=tuple(problem.tests[index] for index in selected if index in public),
        private_tests=tuple(problem.tests[index] for index in selected if index not in public),
        extra=extra,
    )


def _select_tests(problem: Problem, max_tests: int) -> list[int]:
    """Return the indices of the tests to keep. Raises _UnsuitableError."""
    tests = problem.tests
    checker = parse_checker(problem.checker)
    is_custom = isinstance(checker, CustomChecker)
    rules = ComparisonRules() if is_custom else choose_rules(problem, checker)
    if not is_custom and all(not test.output.strip() for test in tests):
        raise _UnsuitableError("no_outputs", f"all {len(tests)} tests expect an empty output")
    kept, contradicting = remove_repeated(tests, rules)
    if contradicting and not is_custom:
        index = contradicting[0]
        raise _UnsuitableError(
            "contradicting_tests", f"test {index} expects another output for an earlier test's input"
        )
    selected = select_longest(tests, kept, max_tests)
    if not selected:
        raise _UnsuitableError("tests_too_large", f"each of {len(kept)} tests exceeds {MAX_TEST_CHARS} characters")
    return selected


def _complete_statement(problem: Problem, comparison: ExampleComparison) -> str:
    """Return the statement with the source's examples, if it shows none, and a line about input and output."""
    statement = problem.question_content
    if problem.func_name is None and not comparison.examples and problem.private_tests:
        statement += "".join(map(_write_example, problem.public_tests[:MAX_ADDED_EXAMPLES]))
    line = write_format_line(problem)
    return statement if line in statement else f"{statement}\n\n{line}"


def _write_example(test: ProblemTest) -> str:
    return f"\n\nExample\n\nInput\n\n{test.input.strip()}\n\nOutput\n\n{test.output.strip()}"


def remove_format_line(problem: Problem) -> str:
    """Return the statement without the line about input and output, which every processed statement has."""
    return problem.question_content.replace(write_format_line(problem), "")


def write_format_line(problem: Problem) -> str:
    """Return the line about input and output for the problem's type."""
    name = problem.func_name
    if name is None:
        return STDIN_LINE
    signature = parse_starter_signature(problem.starter_code, name)
    is_in_place = signature is not None and signature.in_place
    kind = f"method `{name}` of `Solution`" if "class Solution" in problem.starter_code else f"function `{name}`"
    result = "change the first argument in place" if is_in_place else "the result is the answer"
    return f"Complete the {kind}: the arguments are the input, {result}."
