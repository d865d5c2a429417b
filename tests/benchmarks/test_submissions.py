"""Our verdicts against official ones: the causes of differences, and the arithmetic of the tables, on invented rows."""

import doctest
import gzip
import json

import pytest
from rich.console import Console

from benchmarks.labelled import Judged
from benchmarks.submissions import figures, listing, refused_by_peer, selections
from benchmarks.tools import official_verdicts
from benchmarks.tools.evaluator_report import Outcome
from benchmarks.tools.labelled_programs import LabelledProgram
from benchmarks.tools.official_verdicts import (
    Cause,
    Compared,
    Official,
    cause_of,
    gains,
    habits,
    load_official,
    refusal_counts,
    row_of,
)
from evaluator import Problem, ProblemTest, Status, Verdict

PLAIN = "print(input())\n"
THREAD = "import threading\nthreading.Thread(target=main).start()\n"
PASSED = Official((True,), None)
FAILED = Official((False,), "wrong answer")
SLOW = Official((False,), "time limit")
CRASHED = Official((False,), "runtime error")


def verdict(passed, accepted_by="exact"):
    status = Status.PASSED if passed else Status.WRONG_ANSWER
    return Verdict(
        status=status,
        tests_passed=1,
        tests_run=1,
        tests_total=1,
        first_failed=None if passed else 0,
        accepted_by=accepted_by if passed else None,
        seconds=0.1,
        detail="",
    )


def compared(
    official,
    passed,
    *,
    question_id="q",
    index=0,
    code=PLAIN,
    platform="atcoder",
    difficulty="easy",
    label=None,
    again=None,
    accepted_by="exact",
    sources=None,
    test_input="1\n",
):
    extra = {"x_test_sources": {"public": 1, "private": 1} if sources is None else sources}
    tests = (ProblemTest(test_input, "1\n"),)
    problem = Problem(
        question_id=question_id,
        question_title="",
        question_content="",
        platform=platform,
        difficulty=difficulty,
        contest_date=None,
        starter_code="",
        public_tests=tests,
        private_tests=(),
        extra=extra,
    )
    program = LabelledProgram(
        question_id=question_id, index=index, code=code, label=label or ("ok" if passed else "wa")
    )
    second = None if again is None else verdict(again)
    return Compared(
        Judged(program=program, problem=problem, verdict=verdict(passed, accepted_by), again=second), official
    )


def test_examples():
    assert doctest.testmod(official_verdicts).failed == 0


@pytest.mark.parametrize(
    ("cause", "one"),
    [
        (Cause.CONTRADICTORY, compared(Official((True, False), "wrong answer"), True)),
        (Cause.UNSTEADY, compared(FAILED, True, again=False)),
        (Cause.LABEL_DIFFERS, compared(FAILED, True, label="wa")),
        (Cause.THREAD, compared(FAILED, True, code=THREAD, sources={"public": 1})),
        (Cause.OPEN_ZERO, compared(SLOW, True, code="print(open(0).read())\n")),
        (Cause.LAST_DIGITS, compared(FAILED, True, accepted_by="numeric")),
        (Cause.LAST_DIGITS, compared(FAILED, True, accepted_by="json_close")),
        (Cause.TIME_LIMIT, compared(SLOW, True)),
        (Cause.NO_PRIVATE_TEST, compared(FAILED, True, sources={"public": 2, "generated": 14})),
        (Cause.NO_PRIVATE_TEST, compared(CRASHED, True, sources={"public": 2})),
        (Cause.UNEXPLAINED, compared(FAILED, True)),
        (Cause.UNEXPLAINED, compared(PASSED, False)),
        (Cause.UNEXPLAINED, compared(PASSED, False, code=THREAD, sources={"public": 1})),
    ],
)
def test_each_difference_has_the_first_cause_that_applies(cause, one):
    assert not one.agrees
    assert cause_of(one) is cause


@pytest.mark.parametrize(
    "one",
    [
        compared(SLOW, True, test_input="1 " * 2000),  # an input on which a limit could have shown
        compared(CRASHED, True, code=THREAD),  # not what LiveCodeBench says of such a program
        compared(SLOW, True, code=THREAD, test_input="1 " * 2000),
        compared(FAILED, True, code="print(open(0).read())\n"),
        compared(FAILED, True, sources="unknown"),
    ],
)
def test_a_rule_that_applies_in_part_explains_nothing(one):
    assert cause_of(one) is Cause.UNEXPLAINED


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from threading import Thread\nThread(target=main).start()\nprint(','.join(names))\n", {Cause.THREAD}),
        ("import threading\nt = threading.Thread(target=main)\nt.start()\nt.join(timeout=9)\n", set()),
        ("# threading.Thread(target=main).start()\nprint('open(0)')\n", set()),
        ("lines = open(0)\n", {Cause.OPEN_ZERO}),
        ("lines = open('input').readlines()\n", set()),
        ("def (", set()),
        ("\0", set()),
    ],
)
def test_habits_are_read_from_the_syntax_not_the_text(code, found):
    assert habits(code) == found


ROWS = (
    compared(PASSED, True, question_id="a", index=0),
    compared(FAILED, True, question_id="a", index=1, code=THREAD),
    compared(FAILED, False, question_id="a", index=2),
    compared(SLOW, True, question_id="a", index=3),
    compared(PASSED, True, question_id="b", platform="leetcode", difficulty="hard"),
    compared(PASSED, False, question_id="b", index=1, platform="leetcode", difficulty="hard"),
)


def test_both_figures_are_means_over_problems_of_the_same_programs():
    row = row_of(ROWS)
    assert (row.problems, row.programs, row.agree) == (2, 6, 3)
    assert row.official == pytest.approx((1 / 4 + 2 / 2) / 2)
    assert row.ours == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert (row.only_we_pass, row.only_official_passes) == (2, 1)


def test_what_the_causes_add_is_the_difference_of_the_figures():
    found = gains(ROWS)
    row = row_of(ROWS)
    assert {cause: count for cause, (count, _) in found.items()} == {
        Cause.THREAD: 1,
        Cause.TIME_LIMIT: 1,
        Cause.UNEXPLAINED: 1,
    }
    assert found[Cause.THREAD][1] == pytest.approx(1 / 8)
    assert found[Cause.UNEXPLAINED][1] == pytest.approx(-1 / 4)
    assert sum(gain for _, gain in found.values()) == pytest.approx(row.ours - row.official)


def test_contradicting_verdicts_count_by_their_share_and_never_agree():
    mixed = Official((True, True, False, True), "wrong answer")
    rows = (compared(mixed, True, question_id="a"), compared(mixed, False, question_id="b"))
    row = row_of(rows)
    assert (row.official, row.ours, row.agree) == (0.75, 0.5, 0)
    assert gains(rows) == {Cause.CONTRADICTORY: (2, pytest.approx(-0.25))}


def test_rows_of_the_table_are_all_then_each_platform_and_leave_out_what_is_empty():
    counts = [(platform, difficulty, len(some)) for platform, difficulty, some in selections(ROWS)]
    assert counts == [
        ("all", "easy", 4),
        ("all", "hard", 2),
        ("all", "all", 6),
        ("atcoder", "easy", 4),
        ("atcoder", "all", 4),
        ("leetcode", "hard", 2),
        ("leetcode", "all", 2),
    ]


def test_traits_are_counted_among_all_programs_that_pass_here():
    rows = (*ROWS, compared(PASSED, True, code=THREAD), compared(PASSED, False, code=THREAD))
    counts = refusal_counts(rows)
    assert counts[Cause.THREAD] == (2, 1)
    assert counts[Cause.OPEN_ZERO] == (0, 0)
    assert counts[None] == (3, 2)


def test_the_peers_refusals_are_counted_by_cause():
    differing = [one for one in ROWS if not one.agrees]
    outcomes = [Outcome(passed, 1, "") for passed in (False, True, False)]
    assert refused_by_peer(differing, outcomes) == {Cause.THREAD: 1, Cause.UNEXPLAINED: 1}


def test_the_last_line_has_figures_by_cause():
    found = json.loads(json.dumps(figures(ROWS, 1.234)))
    assert found["disagreements"] == {"thread": 1, "time_limit": 1, "unexplained": 1}
    assert found["official"] == 0.625 and found["largest_input_characters"] == 2 and found["seconds"] == 1.2
    assert sum(found["added_to_pass_at_1"].values()) == pytest.approx(found["ours"] - found["official"])


def test_the_unexplained_are_listed_with_both_verdicts():
    one = compared(PASSED, False, question_id="3428", index=4, again=False)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(listing(Cause.UNEXPLAINED, [one]))
    line = next(line for line in capture.get().splitlines() if "3428" in line)
    assert all(word in line for word in ("4", "1 public, 1 private", "passed", "wa", "wrong_answer"))


def write_rows(path, *rows):
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


def test_official_verdicts_are_read_with_the_kind_of_failure(tmp_path):
    rows = [
        {"lcb_official": [True, True], "lcb_error_code": None},
        {"lcb_official": [False], "lcb_error_code": -3},
        {"lcb_official": [True, False], "lcb_error_code": -9},
    ]
    assert load_official(write_rows(tmp_path / "p.jsonl.gz", *rows)) == (
        Official((True, True), None),
        Official((False,), "time limit"),
        Official((True, False), "unknown"),
    )


@pytest.mark.parametrize("verdicts", [[], [1], [None]])
def test_a_row_without_an_official_verdict_is_named(tmp_path, verdicts):
    good = {"lcb_official": [True], "lcb_error_code": None}
    with pytest.raises(ValueError, match="line 2"):
        load_official(write_rows(tmp_path / "p.jsonl.gz", good, {**good, "lcb_official": verdicts}))
