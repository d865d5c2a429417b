"""Metrics of the evaluator benchmark."""

import doctest
import json
from dataclasses import replace

import pytest

from benchmarks.tools import evaluator_report
from benchmarks.tools.evaluator_report import (
    CpuFloor,
    EvaluatorRound,
    EvaluatorRun,
    ProgramResult,
    compute_summary,
    find_all_changes,
    find_changes,
    print_report,
)
from benchmarks.tools.labelled_programs import LabelledProgram

PROGRAMS = (
    LabelledProgram(question_id="a", index=0, code="", label="ok"),
    LabelledProgram(question_id="b", index=0, code="", label="tle"),
    LabelledProgram(question_id="c", index=0, code="", label="wa"),
)


def make_run(wall_s, *passes, cpu_s=1.0):
    results = tuple(ProgramResult(passed, 5, "passed" if passed else "wrong") for passed in passes)
    return EvaluatorRun(wall_s, cpu_s, results)


ROUND = EvaluatorRound(
    no_loops_peer=make_run(4.0, True, False),
    no_loops_ours=make_run(2.0, True, False, cpu_s=1.5),
    mixed_peer=make_run(12.0, True, False, False),
    mixed_ours=make_run(10.0, True, False, False),
    adaptive_first=make_run(4.0, True, False, False),
    adaptive_second=make_run(2.0, True, False, False),
    floor=CpuFloor(1.0, 10, 0),
)


def test_docstring_examples():
    assert doctest.testmod(evaluator_report).failed == 0


def test_compute_summary_takes_medians_of_ratios_over_rounds():
    faster = replace(ROUND, no_loops_ours=make_run(1.0, True, False, cpu_s=1.5))
    slower = replace(ROUND, no_loops_ours=make_run(40.0, True, False, cpu_s=1.5))
    rounds = [ROUND, faster, slower]
    summary = compute_summary(rounds, find_all_changes(PROGRAMS, rounds))
    assert summary["ratio_no_loops"] == 2.0
    assert summary["ratio_mixed_equal_limits"] == pytest.approx(1.2)
    assert summary["ratio_mixed_adaptive"] == 3.0
    assert summary["ratio_mixed_adaptive_second_visit"] == 6.0
    assert summary["overhead_ms_per_test"] == pytest.approx(50.0)  # half a second more than the floor, 10 tests
    assert summary["cpu_floor_s"] == 1.0 and summary["programs"] == 3 and summary["pairs"] == 3
    assert (
        summary["verdicts_changed"]
        == summary["verdicts_changed_adaptive"]
        == summary["verdicts_changed_by_adapting"]
        == 0
    )


def test_find_all_changes_counts_a_program_once():
    changed = replace(ROUND, mixed_ours=make_run(10.0, False, False, False), no_loops_ours=make_run(2.0, False, False))
    changes = find_all_changes(PROGRAMS, [ROUND, changed, changed])
    (change,) = changes.equal_limits
    assert change.program.question_id == "a"
    assert (change.changed_pairs, change.compared_pairs, change.contradicts_label) == (2, 3, True)
    assert changes.adaptive_limits == ()
    assert len(changes.by_adapting) == 1  # program "a" passes in the runs with adaptive limits


def test_find_all_changes_maps_results_without_loops_to_their_programs():
    changes = find_all_changes(PROGRAMS, [replace(ROUND, no_loops_ours=make_run(2.0, True, True))])
    assert [change.program.question_id for change in changes.equal_limits] == ["c"]


def test_verdict_change_towards_the_label_does_not_contradict_it():
    (change,) = find_changes(PROGRAMS, [(make_run(1.0, False, False, False), make_run(1.0, True, False, False))])
    assert not change.contradicts_label
    assert (change.before.verdict, change.after.verdict) == ("wrong", "passed")


def test_find_changes_ignores_verdict_texts_and_test_counts():
    results = tuple(ProgramResult(passed, 9, "in other words") for passed in (True, False, False))
    assert find_changes(PROGRAMS, [(ROUND.mixed_peer, EvaluatorRun(1.0, 1.0, results))]) == ()


def test_print_report_ends_with_one_json_object(capsys):
    print_report(PROGRAMS, [replace(ROUND, adaptive_first=make_run(4.0, False, False, False))])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["verdicts_changed_adaptive"] == 1
    assert summary["ratio_mixed_adaptive"] == 3.0
