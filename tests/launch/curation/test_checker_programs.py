"""Published checkers as custom checkers."""

import pytest

from evaluator.checker import CustomChecker, parse_checker
from evaluator.evaluator import Evaluator
from evaluator.verdict import Status
from launch.curation.sources.checker_programs import make_custom_checker
from launch.curation.sources.reader import UnwantedRow
from tests.factories import make_problem

PROGRAM = """
import sys

def read(path):
    with open(path) as file:
        return file.read().split()

def main():
    given, expected, answer = map(read, sys.argv[1:4])
    if len(answer) != len(expected):
        print(0)
        sys.exit(1)
    print(1 if sum(map(int, answer)) == int(given[0]) else 0)

if __name__ == "__main__":
    main()
"""


def test_a_function_check_is_taken_as_it_is():
    code = "def check(inp, out, exp):\n    return out == exp\n"
    assert make_custom_checker(code) == {"type": "custom", "code": code}


def test_a_program_is_wrapped_into_a_valid_checker():
    assert isinstance(parse_checker(make_custom_checker(PROGRAM)), CustomChecker)


@pytest.mark.parametrize("program", ["int main() { return 0; }", "def check(:", "\0"])
def test_other_languages_are_not_wanted(program):
    with pytest.raises(UnwantedRow) as caught:
        make_custom_checker(program)
    assert caught.value.reason == "checker_not_python"


@pytest.mark.heavy
def test_a_wrapped_program_judges_answers():
    problem = make_problem(checker=make_custom_checker(PROGRAM), public_tests=(make_problem().public_tests[0],))
    with Evaluator() as evaluator:
        statuses = [evaluator.evaluate(problem, f"print({answer})").status for answer in (1, 5, "'1 0'", "'x'")]
        assert statuses == [Status.PASSED, *[Status.WRONG_ANSWER] * 3]
        assert evaluator.find_broken_checkers([make_problem(checker=make_custom_checker("import sys\nsys.argv[9]"))])
