"""Verification of candidates with real programs in sandboxes: each reason and each flag."""

import pytest

from evaluator import Evaluator, Limits
from evaluator.problem import ProblemTest
from launch.curation.candidates import Dropped
from launch.curation.processing.process import process_candidate
from launch.curation.verification.intervals import Share
from launch.curation.verification.verify import VerificationSettings, verify_candidates
from tests.launch.curation.candidates import make_candidate

pytestmark = pytest.mark.heavy

ADD = "print(sum(map(int, input().split())))"
SUBTRACT = "a, b = map(int, input().split())\nprint(a - b)"
CLOCK = "import time\nprint(time.time_ns())"
DIVIDE = "a, b = map(int, input().split())\nprint(a / b)"
SETTINGS = VerificationSettings()


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=5.0, cpu_s=5.0), workers=2) as evaluator:
        yield evaluator


def verify(evaluator, *candidates, settings=SETTINGS):
    return list(verify_candidates(candidates, evaluator, settings))


def verify_one(evaluator, *right_programs, settings=SETTINGS, **changes):
    (result,) = verify(evaluator, make_candidate(right_programs=right_programs, **changes), settings=settings)
    return result


def make_tests(*pairs):
    return {"public_tests": tuple(ProblemTest(inp, out) for inp, out in pairs)}


def test_a_problem_with_a_passing_reference_is_kept_unchanged(evaluator):
    candidate = make_candidate(right_programs=(ADD,))
    (result,) = verify(evaluator, candidate)
    assert result.candidate == candidate
    assert result.is_verified
    assert (result.needs_checker, result.weak_tests, result.float_checker, result.dropped_tests) == (
        "",
        False,
        False,
        (),
    )
    assert result.quality.true_positives == Share(1, 1)
    assert result.quality.true_negatives == Share(0, 0)


def test_results_are_in_the_order_of_the_candidates(evaluator):
    candidates = [make_candidate(f"set/{number}", right_programs=(ADD,)) for number in range(7)]
    results = verify(evaluator, *candidates)
    assert [result.candidate.source_id for result in results] == list("0123456")


@pytest.mark.parametrize(
    ("programs", "reason", "words"),
    [
        ((), "no_passing_reference", "the source has no reference"),
        (("print 'Python 2'",), "no_passing_reference", "no reference is a Python program"),
        ((SUBTRACT,), "no_passing_reference", "fails test 0"),
        ((SUBTRACT, SUBTRACT + "\n"), "no_passing_reference", "none of 2 references"),
        (("import time\ntime.sleep(60)",), "no_passing_reference", "time_limit"),
        ((CLOCK,), "flaky", "two runs"),
        ((CLOCK, CLOCK + "\n"), "flaky", "two runs"),
        (("1 / 0",), "no_passing_reference", "ZeroDivisionError"),
    ],
)
def test_problems_without_a_reliable_reference_are_dropped(evaluator, programs, reason, words):
    result = verify_one(evaluator, *programs)
    assert isinstance(result, Dropped)
    assert (result.question_id, result.source, result.stage, result.reason) == ("set/1", "set", "verify", reason)
    assert words in result.detail


def test_unverified_problems_are_kept_by_key_except_flaky_ones(evaluator):
    settings = VerificationSettings(keep_unverified=True)
    for programs in ((), (SUBTRACT,)):
        result = verify_one(evaluator, *programs, settings=settings)
        assert not result.is_verified
    assert verify_one(evaluator, CLOCK, settings=settings).reason == "flaky"


def test_one_passing_reference_is_enough_beside_slow_crashing_and_invalid_ones(evaluator):
    result = verify_one(evaluator, ADD, "1 / 0", "while True: pass", "print 'Python 2'")
    assert result.is_verified
    assert result.needs_checker == ""
    assert result.quality.true_positives == Share(1, 3)


def test_a_test_on_which_every_reference_crashes_is_dropped(evaluator):
    tests = make_tests(("1 2\n", "3\n"), ("none\n", "0\n"), ("2 2\n", "4\n"))
    private = (ProblemTest("3 3\n", "6\n"),)
    result = verify_one(evaluator, ADD, SUBTRACT.replace("-", "+"), private_tests=private, **tests)
    assert [test.input for test in result.candidate.problem.public_tests] == ["1 2\n", "2 2\n"]
    assert result.candidate.problem.private_tests == private
    assert result.is_verified
    (dropped,) = result.dropped_tests
    assert dropped.startswith("test 1:")
    assert "ValueError" in dropped


def test_a_test_on_which_only_some_references_crash_stays(evaluator):
    cautious = "try: print(sum(map(int, input().split())))\nexcept ValueError: print(0)"
    tests = make_tests(("1 2\n", "3\n"), ("none\n", "0\n"), ("2 2\n", "4\n"))
    result = verify_one(evaluator, ADD, cautious, **tests)
    assert len(result.candidate.problem.tests) == 3
    assert result.dropped_tests == ()


@pytest.mark.parametrize("programs", [(ADD, SUBTRACT), (SUBTRACT, "print(7)"), (ADD, CLOCK)])
def test_references_that_disagree_need_a_checker(evaluator, programs):
    result = verify_one(evaluator, *programs)
    assert "different answers to test 0" in result.needs_checker


@pytest.mark.parametrize(
    ("checker", "is_missing"),
    [(None, True), ({"type": "tokens_ci"}, True), ({"type": "unordered"}, False)],
)
def test_a_statement_that_allows_several_answers_needs_a_checker(evaluator, checker, is_missing):
    statement = "Print two numbers with the given sum. If there are multiple answers, print any of them."
    result = verify_one(evaluator, ADD, question_content=statement, checker=checker)
    assert (result.needs_checker != "") == is_missing


EXAMPLE = "Print two numbers whose sum is given.\n\nExample\n\nInput\n\n5\n\nOutput\n\n{}\n"


@pytest.mark.parametrize(
    ("example", "checker", "is_missing"),
    [("2 3", None, True), ("2 3", {"type": "unordered"}, False), ("0 5", None, False)],
)
def test_a_test_that_contradicts_an_example_needs_a_checker(evaluator, example, checker, is_missing):
    candidate = make_candidate(
        right_programs=("print(0, input())",),
        question_content=EXAMPLE.format(example),
        checker=checker,
        **make_tests(("5\n", "0 5\n"), ("7\n", "0 7\n")),
    )
    (result,) = verify(evaluator, process_candidate(candidate, max_tests=15))
    assert ("example" in result.needs_checker) == is_missing


def test_an_example_with_another_form_of_a_number_contradicts_no_test(evaluator):
    statement = "Print half of the number.\n\nExample\n\nInput\n\n5\n\nOutput\n\n2.5\n"
    candidate = make_candidate(
        right_programs=("print(int(input()) / 2)",), question_content=statement, **make_tests(("5\n", "2.50000\n"))
    )
    (result,) = verify(evaluator, process_candidate(candidate, max_tests=15))
    assert (result.needs_checker, result.float_checker) == ("", True)


@pytest.mark.parametrize(
    ("shown", "programs", "words"),
    [
        ("4", (ADD,), "an example in the statement has another output than the test with the same input: '1 2'"),
        ("4", (SUBTRACT,), "an example in the statement"),
        ("3", (ADD,), ""),
    ],
)
def test_an_example_that_contradicts_a_test_needs_a_checker(evaluator, shown, programs, words):
    statement = f"Print the sum of the two numbers.\n\nExample\n\nInput\n\n1 2\n\nOutput\n\n{shown}"
    candidate = process_candidate(make_candidate(right_programs=programs, question_content=statement), max_tests=15)
    (result,) = verify(evaluator, candidate)
    assert result.needs_checker.startswith(words) and bool(result.needs_checker) == bool(words)


def test_a_float_checker_settles_an_example_that_is_rounded_differently(evaluator):
    statement = "Print the quotient.\n\nExample\n\nInput\n\n1 3\n\nOutput\n\n0.3333"
    candidate = make_candidate(right_programs=(DIVIDE,), question_content=statement, **make_tests(("1 3\n", "0.333\n")))
    processed = process_candidate(candidate, max_tests=15)
    assert processed.problem.extra
    (result,) = verify(evaluator, processed)
    assert result.float_checker and result.needs_checker == ""


def test_a_broken_checker_is_a_reason(evaluator):
    checker = {"type": "custom", "code": "def check(inp, out, exp):\n    raise ValueError('broken')\n"}
    assert verify_one(evaluator, ADD, checker=checker).reason == "broken_checker"


def test_a_float_checker_is_written_for_another_form_of_the_same_number(evaluator):
    tests = make_tests(("1 4\n", "0.250\n"), ("1 3\n", "0.333\n"))
    result = verify_one(evaluator, DIVIDE, wrong_programs=(SUBTRACT,), **tests)
    assert result.float_checker
    assert result.needs_checker == ""
    assert result.is_verified
    assert result.candidate.problem.checker == {"type": "float", "abs": 1e-3, "rel": 1e-6}
    assert result.quality.true_negatives == Share(1, 1)


def test_no_float_checker_is_written_for_other_differences(evaluator):
    result = verify_one(evaluator, DIVIDE, ADD, **make_tests(("1 4\n", "0.250\n")))
    assert not result.float_checker
    assert result.needs_checker != ""
    assert verify_one(evaluator, DIVIDE, **make_tests(("1 4\n", "0.750\n"))).reason == "no_passing_reference"


@pytest.mark.parametrize(
    ("wrong_programs", "share", "is_weak"),
    [
        ((SUBTRACT, "print(3)"), Share(1, 2), True),
        ((SUBTRACT, "print(4)"), Share(2, 2), False),
        (("print 'Python 2'",), Share(0, 0), False),
        ((), Share(0, 0), False),
    ],
)
def test_tests_that_accept_wrong_programs_are_weak(evaluator, wrong_programs, share, is_weak):
    result = verify_one(evaluator, ADD, wrong_programs=wrong_programs)
    assert result.quality.true_negatives == share
    assert result.weak_tests == is_weak


def test_functions_are_verified(evaluator):
    test = ProblemTest("[1, 2]", "[2, 1]", "functional")
    changes = {"func_name": "turn", "starter_code": "def turn(items):\n    ", "public_tests": (test,)}
    right = "def turn(items):\n    return items[::-1]\n"
    assert verify_one(evaluator, right, **changes).is_verified
    assert (
        "different answers" in verify_one(evaluator, right, "def turn(items):\n    return 1", **changes).needs_checker
    )
