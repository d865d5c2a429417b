"""Contamination check: which training problems count as problems of the evaluation set."""

import datetime
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.problem import load_problems
from launch.problems.contamination import (
    GRAM_WORDS,
    SIMILARITY_THRESHOLD,
    ContaminatedProblem,
    SimilarityIndex,
    compute_similarity,
    find_contamination,
    normalize_text,
)
from launch.problems.date_window import DateWindow
from tests.factories import make_problem

DATA = Path(__file__).parents[4] / "shared" / "data" / "lcb_problems.jsonl.gz"
WINDOW = DateWindow(datetime.date(2025, 1, 4), datetime.date(2025, 4, 6))
WORDS = [f"w{number}" for number in range(40)]
# Only three different words, so that grams repeat and match often.
STATEMENTS = st.lists(st.sampled_from("abc"), max_size=40).map(" ".join)


def make_distinct_problem(question_id, **changes):
    """Make a problem that has nothing in common with others, apart from ``changes``."""
    return make_problem(question_id, **({"question_title": question_id, "question_content": question_id} | changes))


def make_grams(text):
    words = normalize_text(text).split()
    if len(words) < GRAM_WORDS:
        return {tuple(words)} if words else set()
    return {tuple(words[start : start + GRAM_WORDS]) for start in range(len(words) - GRAM_WORDS + 1)}


def compute_similarity_without_hashes(first, second):
    """Implement the definition in ``compute_similarity``'s docstring with sets of grams."""
    shorter = min(len(make_grams(first)), len(make_grams(second)))
    return len(make_grams(first) & make_grams(second)) / shorter if shorter else 0.0


@given(STATEMENTS, STATEMENTS)
def test_similarity_equals_its_definition_and_is_symmetric(first, second):
    expected = compute_similarity_without_hashes(first, second)
    assert compute_similarity(first, second) == expected == compute_similarity(second, first)


@given(st.lists(STATEMENTS, max_size=6), STATEMENTS)
def test_index_returns_most_similar_statement(statements, text):
    position, similarity = SimilarityIndex(statements).find_most_similar(text)
    expected = [compute_similarity_without_hashes(text, statement) for statement in statements]
    assert similarity == max(expected, default=0.0)
    assert not statements or expected[position] == similarity


@given(st.text(max_size=200), st.sampled_from([" ", "\n\n", "** ", ", "]))
def test_similarity_ignores_markup_and_spacing(text, separator):
    words = normalize_text(text).split()
    assert compute_similarity(text, separator.join(words)) == (1.0 if words else 0.0)


@given(
    st.lists(st.sampled_from(WORDS), min_size=GRAM_WORDS, max_size=40), st.lists(st.sampled_from(WORDS), max_size=40)
)
def test_statement_inside_a_longer_one_has_similarity_one(words, extra_words):
    assert compute_similarity(" ".join(words), " ".join([*extra_words, *words, *extra_words])) == 1.0


def test_normalize_text_removes_case_punctuation_and_markup():
    assert normalize_text("Separate-Squares I") == normalize_text("separate  squares_i!") == "separate squares i"
    assert normalize_text("$H_{A}$ \\times Ｈ_Ｂ") == "h a times h b"
    assert normalize_text("?!") == ""


def test_similarity_of_short_statements():
    assert compute_similarity("Add two numbers.", "add TWO numbers") == 1.0
    assert compute_similarity("add two numbers", "add two numbers and print them") == 0.0
    assert compute_similarity("", "") == compute_similarity("a", "") == compute_similarity("", "a") == 0.0


@pytest.mark.parametrize(
    ("changes", "reason", "evaluation_id"),
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
def test_contamination_reasons(changes, reason, evaluation_id):
    evaluation = [
        make_distinct_problem("e1", question_title="the title"),
        make_distinct_problem("e2", question_content=" ".join(WORDS)),
        make_distinct_problem("e3", question_title="!", question_content=""),
    ]
    training = make_distinct_problem(**({"question_id": "t", "contest_date": "2020-01-01"} | changes))
    report = find_contamination([training], evaluation, WINDOW)
    matches = [(match.reason, match.evaluation_id) for match in report.contaminated]
    assert matches == ([(reason, evaluation_id)] if reason else [])
    assert report.counts_by_reason == ({reason: 1} if reason else {})
    assert report.undated == 0


def test_similarity_threshold_is_exclusive():
    """Each text has 50 grams: 11 shared grams are exactly the threshold of 0.22, 12 are above it."""
    words = [f"a{number}" for number in range(50 + GRAM_WORDS - 1)]
    for shared, is_contaminated in ((11, False), (12, True)):
        partly_shared = [*words[: shared + GRAM_WORDS - 1], *(f"b{number}" for number in range(50 - shared))]
        training = make_distinct_problem("t", question_content=" ".join(partly_shared))
        evaluation = make_distinct_problem("e", question_content=" ".join(words))
        similarity = compute_similarity(training.question_content, evaluation.question_content)
        assert similarity == pytest.approx(shared / 50)
        report = find_contamination([training], [evaluation], None)
        assert bool(report.contaminated) == is_contaminated == (similarity > SIMILARITY_THRESHOLD)


def test_contaminated_problem_counts_once_by_its_first_reason():
    same = make_problem("q", contest_date="2025-02-01")
    report = find_contamination([same], [same], WINDOW)
    assert report.contaminated == (
        ContaminatedProblem(training_id="q", reason="question_id", evaluation_id="q", similarity=1.0),
    )


def test_problems_without_a_date_are_counted_if_there_is_a_window():
    training = [
        make_distinct_problem("a"),
        make_distinct_problem("b", contest_date="spring"),
        make_distinct_problem("c", contest_date="2020-01-01"),
    ]
    assert find_contamination(training, [make_distinct_problem("e")], WINDOW).undated == 2
    report = find_contamination(training, [make_distinct_problem("e")], None)
    assert (report.undated, report.contaminated) == (0, ())
    assert str(report) == "0 of 3 training problems overlap the evaluation set"


def test_contamination_of_empty_sets():
    assert find_contamination([make_distinct_problem("a")], [], None).contaminated == ()
    assert find_contamination([], [make_distinct_problem("a")], WINDOW).checked == 0


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="the LiveCodeBench problems (../shared/data) are not here")
def test_contamination_of_real_problems():
    """Earlier LiveCodeBench releases match v6 only by the shared first day; edited copies match by similarity."""
    problems = load_problems(DATA, strict=True).problems
    evaluation = [problem for problem in problems if problem.extra["x_release"] == "v6_new"]
    training = [problem for problem in problems if problem.extra["x_release"] == "v1-v5"]
    report = find_contamination(training, evaluation, WINDOW)
    assert report.counts_by_reason == {"date": 5}
    copies = [
        make_problem(
            f"copy{number}", question_title="", question_content=f"Story. {problem.question_content.upper()}"[:-200]
        )
        for number, problem in enumerate(evaluation)
    ]
    assert find_contamination(copies, evaluation, None).counts_by_reason == {"similarity": len(copies)}


@pytest.mark.heavy
@pytest.mark.skipif(not DATA.exists(), reason="the LiveCodeBench problems (../shared/data) are not here")
def test_similarity_search_takes_milliseconds_per_problem():
    problems = load_problems(DATA, strict=True).problems
    started = time.process_time()
    index = SimilarityIndex([problem.question_content for problem in problems] * 2)
    for problem in problems:
        index.find_most_similar(problem.question_content)
    assert time.process_time() - started < 0.005 * len(problems)  # 0.2 ms each when measured
