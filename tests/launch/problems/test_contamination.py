"""Which training problems count as problems of the evaluation set."""

import datetime
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.problem import load_problems
from launch.problems.contamination import (
    GRAM,
    THRESHOLD,
    Overlap,
    SimilarityIndex,
    find_overlaps,
    normalised,
    similarity,
)
from launch.problems.contest_dates import DateWindow
from tests.factories import problem

DATA = Path(__file__).parents[4] / "shared" / "data" / "lcb_problems.jsonl.gz"
WINDOW = DateWindow(datetime.date(2025, 1, 4), datetime.date(2025, 4, 6))
WORDS = [f"w{number}" for number in range(40)]
# Few different words, so that grams repeat and meet.
STATEMENTS = st.lists(st.sampled_from("abc"), max_size=40).map(" ".join)


def unlike(question_id, **changes):
    """A problem that has nothing in common with others."""
    return problem(question_id, **({"question_title": question_id, "question_content": question_id} | changes))


def grams(text):
    words = normalised(text).split()
    if len(words) < GRAM:
        return {tuple(words)} if words else set()
    return {tuple(words[start : start + GRAM]) for start in range(len(words) - GRAM + 1)}


def by_definition(one, other):
    """The definition in ``similarity``'s docstring, without hashes."""
    shorter = min(len(grams(one)), len(grams(other)))
    return len(grams(one) & grams(other)) / shorter if shorter else 0.0


@given(STATEMENTS, STATEMENTS)
def test_similarity_is_as_defined(one, other):
    assert similarity(one, other) == by_definition(one, other) == similarity(other, one)


@given(st.lists(STATEMENTS, max_size=6), STATEMENTS)
def test_the_index_finds_the_most_similar(statements, text):
    place, found = SimilarityIndex(statements).most_similar(text)
    expected = [by_definition(text, statement) for statement in statements]
    assert found == max(expected, default=0.0)
    assert not statements or expected[place] == found


@given(st.text(max_size=200), st.sampled_from([" ", "\n\n", "** ", ", "]))
def test_markup_and_spacing_do_not_matter(text, between):
    words = normalised(text).split()
    assert similarity(text, between.join(words)) == (1.0 if words else 0.0)


@given(st.lists(st.sampled_from(WORDS), min_size=GRAM, max_size=40), st.lists(st.sampled_from(WORDS), max_size=40))
def test_a_statement_inside_a_longer_one_is_found(words, more):
    assert similarity(" ".join(words), " ".join([*more, *words, *more])) == 1.0


def test_normalised():
    assert normalised("Separate-Squares I") == normalised("separate  squares_i!") == "separate squares i"
    assert normalised("$H_{A}$ \\times Ｈ_Ｂ") == "h a times h b"
    assert normalised("?!") == ""


def test_short_statements():
    assert similarity("Add two numbers.", "add TWO numbers") == 1.0
    assert similarity("add two numbers", "add two numbers and print them") == 0.0
    assert similarity("", "") == similarity("a", "") == similarity("", "a") == 0.0


@pytest.mark.parametrize(
    ("changes", "reason", "of"),
    [
        ({"question_id": "e1"}, "question_id", "e1"),
        ({"question_title": "The-Title"}, "title", "e1"),
        ({"question_content": " ".join(WORDS[10:]) + " and more"}, "similarity", "e2"),
        ({"contest_date": "2025-01-04T00:00:00"}, "date", None),
        ({"contest_date": "2025-04-06"}, "date", None),
        ({"contest_date": "2025-04-06T23:59:59Z"}, "date", None),
        ({"contest_date": "2025-01-03T23:59:59"}, None, None),
        ({"contest_date": "2025-04-07"}, None, None),
        ({"question_title": "?", "question_content": ""}, None, None),
    ],
)
def test_reasons(changes, reason, of):
    evaluation = [
        unlike("e1", question_title="the title"),
        unlike("e2", question_content=" ".join(WORDS)),
        unlike("e3", question_title="!", question_content=""),
    ]
    trained = unlike(**({"question_id": "t", "contest_date": "2020-01-01"} | changes))
    report = find_overlaps([trained], evaluation, WINDOW)
    found = [(overlap.reason, overlap.evaluation_id) for overlap in report.overlaps]
    assert found == ([(reason, of)] if reason else [])
    assert report.counts == ({reason: 1} if reason else {})
    assert report.undated == 0


def test_the_threshold_is_exclusive():
    """50 grams each; 11 shared are exactly 0.22, 12 are more."""
    words = [f"a{number}" for number in range(50 + GRAM - 1)]
    for shared, found in ((11, False), (12, True)):
        other = [*words[: shared + GRAM - 1], *(f"b{number}" for number in range(50 - shared))]
        one, two = (unlike(name, question_content=" ".join(text)) for name, text in (("t", other), ("e", words)))
        share = similarity(one.question_content, two.question_content)
        assert share == pytest.approx(shared / 50)
        report = find_overlaps([one], [two], None)
        assert bool(report.overlaps) == found == (share > THRESHOLD)


def test_a_problem_counts_once_by_its_first_reason():
    same = problem("q", contest_date="2025-02-01")
    report = find_overlaps([same], [same], WINDOW)
    assert report.overlaps == (Overlap(training_id="q", reason="question_id", evaluation_id="q", similarity=1.0),)


def test_problems_without_a_date_are_counted():
    training = [unlike("a"), unlike("b", contest_date="spring"), unlike("c", contest_date="2020-01-01")]
    assert find_overlaps(training, [unlike("e")], WINDOW).undated == 2
    report = find_overlaps(training, [unlike("e")], None)
    assert (report.undated, report.overlaps) == (0, ())
    assert str(report) == "0 of 3 training problems overlap the evaluation set"


def test_nothing_to_compare_with():
    assert find_overlaps([unlike("a")], [], None).overlaps == ()
    assert find_overlaps([], [unlike("a")], WINDOW).checked == 0


@pytest.mark.skipif(not DATA.exists(), reason="the LiveCodeBench problems (../shared/data) are not here")
def test_real_problems():
    """Of the increments before, nothing but the shared first day is refused; copies and edited copies are."""
    problems = load_problems(DATA, strict=True).problems
    evaluation = [one for one in problems if one.extra["x_release"] == "v6_new"]
    training = [one for one in problems if one.extra["x_release"] == "v1-v5"]
    report = find_overlaps(training, evaluation, WINDOW)
    assert report.counts == {"date": 5}
    copies = [
        problem(f"copy{number}", question_title="", question_content=f"Story. {one.question_content.upper()}"[:-200])
        for number, one in enumerate(evaluation)
    ]
    assert find_overlaps(copies, evaluation, None).counts == {"similarity": len(copies)}


@pytest.mark.skipif(not DATA.exists(), reason="the LiveCodeBench problems (../shared/data) are not here")
def test_many_problems_take_milliseconds_each():
    problems = load_problems(DATA, strict=True).problems
    started = time.process_time()
    index = SimilarityIndex([one.question_content for one in problems] * 2)
    for one in problems:
        index.most_similar(one.question_content)
    assert time.process_time() - started < 0.005 * len(problems)  # 0.2 ms each when measured
