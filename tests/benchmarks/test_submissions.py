"""Our verdicts against official ones: causes of differences and the arithmetic of the tables, on invented programs."""

import doctest
import gzip
import json

import pytest
from rich.console import Console

from benchmarks.labelled import JudgedProgram
from benchmarks.submissions import (
    build_disagreement_table,
    compute_summary,
    count_peer_rejections,
    group_by_row,
)
from benchmarks.tools import official_verdicts
from benchmarks.tools.evaluator_report import ProgramResult
from benchmarks.tools.labelled_programs import LabelledProgram
from benchmarks.tools.official_verdicts import (
    Cause,
    OfficialVerdict,
    VerdictComparison,
    count_passes_by_trait,
    find_cause,
    find_code_traits,
    load_official_verdicts,
    summarize_agreement,
    summarize_causes,
)
from evaluator import Problem, ProblemTest, Status, Verdict

PLAIN = "print(input())\n"
THREAD = "import threading\nthreading.Thread(target=main).start()\n"
PASSED = OfficialVerdict((True,), None)
FAILED = OfficialVerdict((False,), "wrong answer")
SLOW = OfficialVerdict((False,), "time limit")
CRASHED = OfficialVerdict((False,), "runtime error")


def make_verdict(passed, accepted_by="exact"):
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


def make_comparison(
    official,
    passed,
    *,
    question_id="q",
    index=0,
    code=PLAIN,
    platform="atcoder",
    difficulty="easy",
    label=None,
    second_passed=None,
    accepted_by="exact",
    test_sources=None,
    test_input="1\n",
):
    extra = {"x_test_sources": {"public": 1, "private": 1} if test_sources is None else test_sources}
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
    judged = JudgedProgram(
        program=program,
        problem=problem,
        verdict=make_verdict(passed, accepted_by),
        second_verdict=None if second_passed is None else make_verdict(second_passed),
    )
    return VerdictComparison(judged, official)


def test_docstring_examples():
    assert doctest.testmod(official_verdicts).failed == 0


@pytest.mark.parametrize(
    ("cause", "comparison"),
    [
        (Cause.CONTRADICTORY, make_comparison(OfficialVerdict((True, False), "wrong answer"), True)),
        (Cause.UNSTEADY, make_comparison(FAILED, True, second_passed=False)),
        (Cause.LABEL_DIFFERS, make_comparison(FAILED, True, label="wa")),
        (Cause.THREAD, make_comparison(FAILED, True, code=THREAD, test_sources={"public": 1})),
        (Cause.OPEN_ZERO, make_comparison(SLOW, True, code="print(open(0).read())\n")),
        (Cause.LAST_DIGITS, make_comparison(FAILED, True, accepted_by="numeric")),
        (Cause.LAST_DIGITS, make_comparison(FAILED, True, accepted_by="json_close")),
        (Cause.TIME_LIMIT, make_comparison(SLOW, True)),
        (Cause.NO_PRIVATE_TEST, make_comparison(FAILED, True, test_sources={"public": 2, "generated": 14})),
        (Cause.NO_PRIVATE_TEST, make_comparison(CRASHED, True, test_sources={"public": 2})),
        (Cause.UNEXPLAINED, make_comparison(FAILED, True)),
        (Cause.UNEXPLAINED, make_comparison(PASSED, False)),
        (Cause.UNEXPLAINED, make_comparison(PASSED, False, code=THREAD, test_sources={"public": 1})),
    ],
)
def test_find_cause_returns_the_first_that_applies(cause, comparison):
    assert not comparison.agrees
    assert find_cause(comparison) is cause


@pytest.mark.parametrize(
    "comparison",
    [
        make_comparison(SLOW, True, test_input="1 " * 2000),  # this input is large enough for a time limit
        make_comparison(CRASHED, True, code=THREAD),  # LiveCodeBench reports another error for such a program
        make_comparison(SLOW, True, code=THREAD, test_input="1 " * 2000),
        make_comparison(FAILED, True, code="print(open(0).read())\n"),
        make_comparison(FAILED, True, test_sources="unknown"),
    ],
)
def test_find_cause_ignores_rules_that_apply_in_part(comparison):
    assert find_cause(comparison) is Cause.UNEXPLAINED


@pytest.mark.parametrize(
    ("code", "traits"),
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
def test_find_code_traits_reads_syntax_and_not_text(code, traits):
    assert find_code_traits(code) == traits


COMPARISONS = (
    make_comparison(PASSED, True, question_id="a", index=0),
    make_comparison(FAILED, True, question_id="a", index=1, code=THREAD),
    make_comparison(FAILED, False, question_id="a", index=2),
    make_comparison(SLOW, True, question_id="a", index=3),
    make_comparison(PASSED, True, question_id="b", platform="leetcode", difficulty="hard"),
    make_comparison(PASSED, False, question_id="b", index=1, platform="leetcode", difficulty="hard"),
)


def test_summarize_agreement_averages_over_problems():
    row = summarize_agreement(COMPARISONS)
    assert (row.problems, row.programs, row.agree) == (2, 6, 3)
    assert row.official == pytest.approx((1 / 4 + 2 / 2) / 2)
    assert row.ours == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert (row.only_we_pass, row.only_official_passes) == (2, 1)


def test_summarize_causes_adds_up_to_the_difference_in_pass_at_1():
    causes = summarize_causes(COMPARISONS)
    row = summarize_agreement(COMPARISONS)
    assert {cause: count for cause, (count, _) in causes.items()} == {
        Cause.THREAD: 1,
        Cause.TIME_LIMIT: 1,
        Cause.UNEXPLAINED: 1,
    }
    assert causes[Cause.THREAD][1] == pytest.approx(1 / 8)
    assert causes[Cause.UNEXPLAINED][1] == pytest.approx(-1 / 4)
    assert sum(addition for _, addition in causes.values()) == pytest.approx(row.ours - row.official)


def test_contradictory_official_verdicts_count_by_share_and_never_agree():
    mixed = OfficialVerdict((True, True, False, True), "wrong answer")
    comparisons = (make_comparison(mixed, True, question_id="a"), make_comparison(mixed, False, question_id="b"))
    row = summarize_agreement(comparisons)
    assert (row.official, row.ours, row.agree) == (0.75, 0.5, 0)
    assert summarize_causes(comparisons) == {Cause.CONTRADICTORY: (2, pytest.approx(-0.25))}


def test_group_by_row_skips_empty_rows():
    counts = [(platform, difficulty, len(members)) for platform, difficulty, members in group_by_row(COMPARISONS)]
    assert counts == [
        ("all", "easy", 4),
        ("all", "hard", 2),
        ("all", "all", 6),
        ("atcoder", "easy", 4),
        ("atcoder", "all", 4),
        ("leetcode", "hard", 2),
        ("leetcode", "all", 2),
    ]


def test_count_passes_by_trait_counts_programs_that_pass_here():
    comparisons = (
        *COMPARISONS,
        make_comparison(PASSED, True, code=THREAD),
        make_comparison(PASSED, False, code=THREAD),
    )
    counts = count_passes_by_trait(comparisons)
    assert counts[Cause.THREAD] == (2, 1)
    assert counts[Cause.OPEN_ZERO] == (0, 0)
    assert counts[None] == (3, 2)


def test_count_peer_rejections_by_cause():
    differing = [comparison for comparison in COMPARISONS if not comparison.agrees]
    peer_results = [ProgramResult(passed, 1, "") for passed in (False, True, False)]
    assert count_peer_rejections(differing, peer_results) == {Cause.THREAD: 1, Cause.UNEXPLAINED: 1}


def test_compute_summary_has_metrics_by_cause():
    summary = json.loads(json.dumps(compute_summary(COMPARISONS, 1.234)))
    assert summary["disagreements"] == {"thread": 1, "time_limit": 1, "unexplained": 1}
    assert summary["official"] == 0.625 and summary["largest_input_characters"] == 2 and summary["seconds"] == 1.2
    assert sum(summary["added_to_pass_at_1"].values()) == pytest.approx(summary["ours"] - summary["official"])


def test_disagreement_table_shows_all_verdicts():
    comparison = make_comparison(PASSED, False, question_id="3428", index=4, second_passed=False)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(build_disagreement_table(Cause.UNEXPLAINED, [comparison]))
    line = next(line for line in capture.get().splitlines() if "3428" in line)
    assert all(word in line for word in ("4", "1 public, 1 private", "passed", "wa", "wrong_answer"))


def write_rows(path, *rows):
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


def test_load_official_verdicts_reads_the_kind_of_failure(tmp_path):
    rows = [
        {"lcb_official": [True, True], "lcb_error_code": None},
        {"lcb_official": [False], "lcb_error_code": -3},
        {"lcb_official": [True, False], "lcb_error_code": -9},
    ]
    assert load_official_verdicts(write_rows(tmp_path / "p.jsonl.gz", *rows)) == (
        OfficialVerdict((True, True), None),
        OfficialVerdict((False,), "time limit"),
        OfficialVerdict((True, False), "unknown"),
    )


@pytest.mark.parametrize("verdicts", [[], [1], [None]])
def test_load_official_verdicts_names_the_line_of_a_bad_row(tmp_path, verdicts):
    good = {"lcb_official": [True], "lcb_error_code": None}
    with pytest.raises(ValueError, match="line 2"):
        load_official_verdicts(write_rows(tmp_path / "p.jsonl.gz", good, {**good, "lcb_official": verdicts}))
