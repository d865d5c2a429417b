"""The stage process: suitability, selection of tests, and the complete statement."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.comparison.rules import ComparisonRules
from evaluator.problem import ProblemTest, parse_problem, to_row
from launch.curation.candidates import Candidate, Dropped
from launch.curation.processing import selection
from launch.curation.processing.process import CONTRADICTED_EXAMPLE, STDIN_LINE, process_candidate
from launch.curation.processing.selection import remove_repeated, select_longest
from launch.curation.processing.suitability import find_unsuitable
from tests.factories import make_problem


def make_candidate(**changes):
    return Candidate(problem=make_problem("set/1", **changes), source="set", source_id="1", licence="MIT")


def process(max_tests=15, **changes):
    return process_candidate(make_candidate(**changes), max_tests)


def make_tests(*pairs, testtype="stdin"):
    return tuple(ProblemTest(given_input, output, testtype) for given_input, output in pairs)


# --- suitability ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("This is an interactive problem.\n\nGuess.", "interactive"),
        ("This is a two-step interactive task", "interactive"),
        ("Guess.\n\nInteraction\n\nPrint a query.", "interactive"),
        ("Ask, and flush the output.", "interactive"),
        ("Compute <image> modulo 7.", "image"),
        ("As shown: ![](http://a/b.png)\n\nExample\n\nInput\n\n1", "image"),
        ("See \\includegraphics[width=3cm]{a.png}.", "image"),
        ("The temperature of the bath will be:\n\n<image>\n\nMake it as warm as possible.", "image"),
        ("The sum\n\n<image>\n\nis called the weight.", "image"),
        ("The keys are laid out as in the picture.\n\n<image>\n\nType the word.", "image"),
        ("For example, the tree for n = 6 looks like this:\n\n![](a.png)\n\nCount its leaves.", None),
        ("The numbers go round as shown below.\n\n![](a.png)\n\nIn this example, the strings cross.", None),
        ("The robot cleans its row.\n\n<image> Illustration of the second move.\n\nCount the moves.", None),
        ("A card is removed when both leave it.\n\n<image>| <image>\n---|---\nFind the last card.", None),
        ("![](logo.png)\n\nAdd two numbers.", None),
        ("The interaction of particles is interactive.", None),
        ("Add.\n\nNote\n\n<image>", None),
        ("Add.\n\nExample 1:\n\nInput: a = 1\nOutput: 1\n\n![](x.png)", None),
        ("Let f(x) = ![x](y z", None),
    ],
)
def test_interactive_problems_and_images_are_recognised(statement, reason):
    found = find_unsuitable(statement)
    assert (found and found[0]) == reason


def test_unsuitable_candidates_are_dropped_with_the_reason():
    assert process(question_content="Compute <image>.") == Dropped(
        question_id="set/1",
        source="set",
        stage="process",
        reason="image",
        detail="the statement needs an image: <image>",
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question_content": "\u200b<p></p>"}, "no_statement"),
        ({"public_tests": make_tests(("1", ""), ("2", " \n"))}, "no_outputs"),
        ({"public_tests": make_tests(("1", "2"), ("1\n", "3"))}, "contradicting_tests"),
        (
            {"func_name": "f", "public_tests": make_tests(("1", "2"), ("1", "3"), testtype="functional")},
            "contradicting_tests",
        ),
    ],
)
def test_candidates_without_usable_contents_are_dropped(changes, reason):
    assert process(**changes).reason == reason


def test_tests_beyond_the_limit_of_size_are_not_kept(monkeypatch):
    monkeypatch.setattr(selection, "MAX_TEST_CHARS", 100)
    monkeypatch.setattr(selection, "MAX_TESTS_CHARS", 150)
    tests = make_tests(("x" * 200, "1"), ("y" * 90, "1"), ("z" * 80, "1"), ("w" * 20, "1"))
    assert [test.input[0] for test in process(public_tests=tests).problem.tests] == ["y", "w"]
    assert process(public_tests=tests[:1]).reason == "tests_too_large"


# --- selection ------------------------------------------------------------------------------------------------------

INPUTS = st.lists(st.text(alphabet="01 ", max_size=6), min_size=1, max_size=30)


@given(INPUTS, st.integers(1, 20))
def test_the_longest_inputs_are_selected_in_their_order(inputs, max_tests):
    tests = make_tests(*((text, "1") for text in inputs))
    selected = select_longest(tests, range(len(tests)), max_tests)
    assert selected == sorted(set(selected))
    assert len(selected) == min(max_tests, len(tests))
    shortest = min(len(inputs[index]) for index in selected)
    assert all(len(inputs[index]) <= shortest for index in range(len(tests)) if index not in selected)


def test_an_input_is_kept_once():
    tests = make_tests(("1", "2"), ("1\n", "2 \n"), ("2", "3"), ("1", "2"))
    assert remove_repeated(tests, ComparisonRules()) == ([0, 2], [])
    assert remove_repeated((*tests, ProblemTest("2", "4")), ComparisonRules()) == ([0, 2], [4])
    assert remove_repeated(make_tests(("a", "1"), (" a", "2"), ("a ", "3")), ComparisonRules()) == ([0, 1, 2], [])


def test_several_outputs_of_an_input_are_right_with_a_custom_checker():
    checker = {"type": "custom", "code": "def check(inp, out, exp): return True"}
    problem = process(checker=checker, public_tests=make_tests(("1", "2"), ("1", "3"))).problem
    assert problem.tests == make_tests(("1", "2"))


# --- statement and examples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, STDIN_LINE),
        (
            {"func_name": "f", "starter_code": "class Solution:\n    def f(self, a: int) -> int:\n        "},
            "Complete the method `f` of `Solution`: the arguments are the input, the result is the answer.",
        ),
        (
            {"func_name": "f", "starter_code": "class Solution:\n    def f(self, a: List[int]) -> None:\n        "},
            "Complete the method `f` of `Solution`: the arguments are the input, change the first argument in place.",
        ),
        (
            {"func_name": "f", "starter_code": "# Define f here.\n"},
            "Complete the function `f`: the arguments are the input, the result is the answer.",
        ),
    ],
)
def test_one_line_about_input_and_output_is_added(changes, line):
    if "func_name" in changes:
        changes |= {"public_tests": make_tests(("1", "2"), testtype="functional")}
    candidate = process(**changes)
    assert candidate.problem.question_content == f"Add two numbers.\n\n{line}"
    assert process_candidate(candidate, 15) == candidate


def test_tests_that_are_examples_become_public():
    statement = "Add.\n\nExample\n\nInput\n\n5 6\n\nOutput\n\n11"
    tests = make_tests(("1 2\n", "3\n"), ("5 6\n", "11\n"))
    problem = process(question_content=statement, public_tests=(), private_tests=tests).problem
    assert (problem.public_tests, problem.private_tests) == (tests[1:], tests[:1])
    assert problem.question_content == f"{statement}\n\n{STDIN_LINE}"


def test_examples_are_added_to_a_statement_without_any_if_other_tests_stay_hidden():
    public = make_tests(("1 2\n", "3\n"))
    private = make_tests(("5 6\n", "11\n"))
    shown = process(public_tests=public, private_tests=private).problem.question_content
    assert shown == f"Add two numbers.\n\nExample\n\nInput\n\n1 2\n\nOutput\n\n3\n\n{STDIN_LINE}"
    assert "Example" not in process(public_tests=public, private_tests=()).problem.question_content
    assert "Example" not in process(public_tests=(), private_tests=private).problem.question_content


def test_a_contradicted_example_is_marked():
    statement = "Print a factor.\n\nExample\n\nInput\n\n6\n\nOutput\n\n3"
    problem = process(question_content=statement, public_tests=make_tests(("6", "2"), ("1" * 9, "3"))).problem
    assert problem.extra == {CONTRADICTED_EXAMPLE: "6"}
    assert not process(question_content=statement, public_tests=make_tests(("6", "3"))).problem.extra


def test_images_in_notes_are_removed():
    problem = process(question_content="Add.\n\nNote\n\nLike <image> this:\n\n![](a.png)").problem
    assert problem.question_content == f"Add.\n\nNote\n\nLike  this:\n\n{STDIN_LINE}"


def test_lone_surrogates_are_replaced_in_texts_and_kept_in_tests():
    tests = make_tests(("\ud800", "1"))
    problem = process(question_content="a\ud800b", public_tests=tests).problem
    assert problem.question_content.startswith("a\ufffdb")
    assert problem.tests == tests


STATEMENTS = st.lists(
    st.sampled_from(
        ["Add. ", "Input\n", "Output\n", "Examples\n", "1\n", "2\n", "\n", "Note\n", "<p>", "</p>", "10<sup>5</sup>"]
    ),
    max_size=12,
).map("".join)
PAIRS = st.lists(st.tuples(st.sampled_from("0123"), st.sampled_from("12")), min_size=1, max_size=6)


@given(STATEMENTS, PAIRS, PAIRS, st.integers(1, 4))
def test_processing_is_idempotent_and_keeps_the_format(statement, public, private, max_tests):
    candidate = make_candidate(
        question_content=statement, public_tests=make_tests(*public), private_tests=make_tests(*private)
    )
    result = process_candidate(candidate, max_tests)
    if isinstance(result, Dropped):
        assert result.question_id == "set/1"
        return
    assert 1 <= len(result.problem.tests) <= max_tests
    assert set(result.problem.tests) <= set(candidate.problem.tests)
    assert parse_problem(to_row(result.problem)) == result.problem
    again = process_candidate(result, max_tests)
    assert isinstance(again, Candidate)
    assert replace(again.problem, extra={}).question_content == result.problem.question_content
    assert again.problem.tests == result.problem.tests
