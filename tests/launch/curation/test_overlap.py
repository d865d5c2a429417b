"""Overlap of candidates with test sets, and defects of statements."""

import datetime
import pickle
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launch.curation.candidates import Candidate
from launch.curation.filtering.coverage import COVERAGE_WORDS, Coverage, CoverageIndex, count_covered_words
from launch.curation.filtering.overlap import OverlapIndex, TestSet, normalize_title
from launch.curation.filtering.text_quality import MIN_WORDS, find_text_defect
from launch.curation.processing.process import process_candidate
from launch.problems.contamination import hash_words
from launch.problems.date_window import DateWindow
from tests.launch.curation.candidates import make_candidate

STATEMENT = (
    "You are given a grid of n rows and m columns in which every cell is free or blocked. A robot starts in the upper "
    "left cell and moves to a free neighbour in each step. Print the number of steps of the shortest way to the lower "
    "right cell, or -1 if there is none. The first line holds n and m, and the next n lines hold the rows."
)
WINDOW = DateWindow(datetime.date(2025, 1, 1), datetime.date(2025, 4, 30))
TEST_SET = TestSet(
    "benchmark",
    (
        make_candidate("abc387_a", question_title="A - Shortest Way", question_content=STATEMENT).problem,
        make_candidate("3722", question_title="Two Sums", question_content="x " * 40, platform="leetcode").problem,
    ),
    WINDOW,
)
INDEX = OverlapIndex([TEST_SET])
WORDS = [f"w{number}" for number in range(12)]


def replace_every(statement, step):
    """Replace every ``step``-th word by a new one."""
    words = statement.split()
    return " ".join(f"new{place}" if place % step == step - 1 else word for place, word in enumerate(words))


@pytest.mark.parametrize(
    ("candidate", "reason", "test_id"),
    [
        (make_candidate("set/abc387_a"), "overlap_id", "abc387_a"),
        (make_candidate("set/3722", platform="leetcode"), "overlap_id", "3722"),
        (make_candidate("set/9", question_title="C. Two sums"), "overlap_title", "3722"),
        (make_candidate("set/9", question_title="shortest-way"), "overlap_title", "abc387_a"),
        (make_candidate("set/9", question_content=f"A story. {STATEMENT}"), "overlap_similarity", "abc387_a"),
        (make_candidate("set/9", question_content=replace_every(STATEMENT, 12)), "overlap_coverage", "abc387_a"),
        (make_candidate("set/9", contest_date="2025-02-03T00:00:00"), "overlap_date", "its window"),
    ],
)
def test_each_kind_of_overlap_is_found(candidate, reason, test_id):
    dropped = INDEX.check(candidate)
    assert (dropped.question_id, dropped.source, dropped.stage) == (candidate.problem.question_id, "set", "filter")
    assert dropped.reason == reason
    assert dropped.detail.startswith("benchmark: ")
    assert test_id in dropped.detail


@pytest.mark.parametrize(
    "candidate",
    [
        make_candidate("set/3722", platform="codeforces"),
        make_candidate("set/3722", platform="other"),
        make_candidate("set/9", question_title="Three Sums"),
        make_candidate("set/9", question_content=replace_every(STATEMENT, 4)),
        make_candidate("set/9", question_content=""),
        make_candidate("set/9", contest_date="2024-12-31"),
        make_candidate("set/9", contest_date="2025-05-01"),
        make_candidate("set/9", contest_date="someday"),
    ],
)
def test_other_candidates_are_kept(candidate):
    assert INDEX.check(candidate) is None


def test_overlaps_with_all_test_sets_are_found():
    other = TestSet("other", (make_candidate("z", question_content=STATEMENT).problem,))
    unrelated = TestSet("unrelated", (make_candidate("y", question_content="z " * 40).problem,))
    empty = TestSet("empty", ())
    index = OverlapIndex([TEST_SET, unrelated, empty, other])
    candidate = make_candidate("set/abc387_a", question_content=STATEMENT)
    assert [overlap.test_set for overlap in index.find_overlaps(candidate)] == ["benchmark", "other"]
    detail = index.check(candidate).detail
    assert detail == "benchmark: id of abc387_a; other: similarity 1.00 of z"
    assert OverlapIndex([]).check(candidate) is None


def test_titles_lose_the_letter_of_the_contest_only():
    assert normalize_title("Problem B2: Half") == normalize_title("17. Half") == normalize_title("a) half") == "half"
    assert normalize_title("A Half") == "a half"
    assert normalize_title("3-Sum") == "3 sum"


@pytest.mark.heavy
def test_an_index_works_in_another_process():
    """Workers have other hash seeds."""
    script = (
        "import pickle, sys\nindex, candidate = pickle.load(sys.stdin.buffer)\nprint(index.check(candidate).detail)"
    )
    candidates = [
        make_candidate("set/9", question_content=STATEMENT),
        make_candidate("set/9", question_content=replace_every(STATEMENT, 12)),
    ]
    for candidate in candidates:
        process = subprocess.run(
            [sys.executable, "-c", script], input=pickle.dumps((INDEX, candidate)), capture_output=True, check=True
        )
        assert process.stdout.decode().strip() == INDEX.check(candidate).detail


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), st.lists(st.sampled_from(WORDS), max_size=30))
@example([WORDS[0]], [WORDS[0], WORDS[0]])  # two short texts: sequences of different lengths
def test_coverage_equals_its_definition(words, others):
    def list_sequences(items):
        length = min(COVERAGE_WORDS, len(items)) if items else 1
        return [tuple(items[start : start + length]) for start in range(len(items) - length + 1)]

    known = set(list_sequences(others))
    covered = set()
    for start, sequence in enumerate(list_sequences(words)):
        if sequence in known:
            covered |= set(range(start, start + len(sequence)))
    assert count_covered_words(*(hash_words(" ".join(text)) for text in (words, others))) == len(covered)


def test_coverage_counts_one_statement_only():
    first, second = (" ".join(f"{name}{place}" for place in range(30)) for name in "ab")
    index = CoverageIndex([first, second])
    mixed = " ".join([*first.split()[:15], *second.split()[:14]])
    assert index.find_best_coverage(mixed) == Coverage(0, 15, 15 / 29)
    assert index.find_best_coverage("c " * 20) is None
    assert index.find_best_coverage("") is None
    assert CoverageIndex([]).find_best_coverage(first) is None


@pytest.mark.parametrize(
    ("words", "share", "is_copy"),
    [(200, 0.6, True), (200, 0.4, False), (20, 0.6, True), (12, 0.6, False), (12, 0.9, True)],
)
def test_a_short_text_is_a_copy_only_if_nearly_all_of_it_is_covered(words, share, is_copy):
    assert Coverage(0, words, share).is_copy == is_copy


@pytest.mark.parametrize(
    ("statement", "starter_code", "reason"),
    [
        ("Add two numbers.", "", "short_statement"),
        ("1 2 3 4 5 6 7 8 9 10", "", "short_statement"),
        ("Дано целое число n. Выведите сумму всех его делителей, которые больше k.", "", "not_english"),
        ("给定 " * 8 + "n", "", "not_english"),
    ],
)
def test_statements_that_are_no_usable_text_are_dropped(statement, starter_code, reason):
    dropped = find_text_defect(make_candidate(question_content=statement, starter_code=starter_code))
    assert dropped.reason == reason


@pytest.mark.parametrize(
    ("statement", "starter_code"),
    [
        (STATEMENT, ""),
        ("Return their sum.", "def add(first_number, second_number):\n    return result of addition\n"),
        ("Print the length of the word 'Größe' or 'мир' in the given line of text.", ""),
        (" ".join(["word"] * MIN_WORDS), ""),
    ],
)
def test_usable_statements_are_kept(statement, starter_code):
    assert find_text_defect(make_candidate(question_content=statement, starter_code=starter_code)) is None


@pytest.mark.parametrize("changes", [{}, {"func_name": "add", "starter_code": "def add(a, b):"}])
def test_the_line_that_processing_adds_is_no_part_of_a_statement(changes):
    candidate = process_candidate(make_candidate(question_content="将两个数相加 quickly.", **changes), max_tests=15)
    assert isinstance(candidate, Candidate)
    assert len(candidate.problem.question_content.split()) > MIN_WORDS
    dropped = find_text_defect(candidate)
    assert dropped is not None and dropped.reason == "short_statement"
