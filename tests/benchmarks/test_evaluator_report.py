"""The figures of the evaluator benchmark."""

import doctest
import json
from dataclasses import replace

import pytest

from benchmarks.tools import evaluator_report
from benchmarks.tools.evaluator_report import (
    Floor,
    Outcome,
    Pair,
    Run,
    all_changes,
    changed,
    figures,
    print_report,
)
from benchmarks.tools.labelled_programs import LabelledProgram

PROGRAMS = (
    LabelledProgram(question_id="a", index=0, code="", label="ok"),
    LabelledProgram(question_id="b", index=0, code="", label="tle"),
    LabelledProgram(question_id="c", index=0, code="", label="wa"),
)


def run(wall_s, *passed, cpu_s=1.0):
    return Run(wall_s, cpu_s, tuple(Outcome(one, 5, "passed" if one else "wrong") for one in passed))


PAIR = Pair(
    quiet_peer=run(4.0, True, False),
    quiet_ours=run(2.0, True, False, cpu_s=1.5),
    mixed_peer=run(12.0, True, False, False),
    mixed_ours=run(10.0, True, False, False),
    adaptive=run(4.0, True, False, False),
    adaptive_again=run(2.0, True, False, False),
    floor=Floor(1.0, 10, 0),
)


def test_examples():
    assert doctest.testmod(evaluator_report).failed == 0


def test_figures_are_medians_of_ratios_over_pairs():
    faster = replace(PAIR, quiet_ours=run(1.0, True, False, cpu_s=1.5))
    slower = replace(PAIR, quiet_ours=run(40.0, True, False, cpu_s=1.5))
    pairs = [PAIR, faster, slower]
    found = figures(pairs, all_changes(PROGRAMS, pairs))
    assert found["ratio_no_loops"] == 2.0
    assert found["ratio_mixed_equal_limits"] == pytest.approx(1.2)
    assert found["ratio_mixed_adaptive"] == 3.0
    assert found["ratio_mixed_adaptive_second_visit"] == 6.0
    assert found["overhead_ms_per_test"] == pytest.approx(50.0)  # half a second more than the floor, 10 tests
    assert found["cpu_floor_s"] == 1.0 and found["programs"] == 3 and found["pairs"] == 3
    assert found["verdicts_changed"] == found["verdicts_changed_adaptive"] == found["verdicts_changed_by_adapting"] == 0


def test_a_verdict_that_changed_once_counts_once():
    flaky = replace(PAIR, mixed_ours=run(10.0, False, False, False), quiet_ours=run(2.0, False, False))
    changes = all_changes(PROGRAMS, [PAIR, flaky, flaky])
    assert [(one.program.question_id, one.pairs, one.of, one.against_label) for one in changes.equal] == [
        ("a", 2, 3, True)
    ]
    assert changes.adaptive == ()
    assert len(changes.adapting) == 1  # the adaptive runs did pass it


def test_a_change_where_nothing_loops_is_found_by_the_quiet_index():
    changes = all_changes(PROGRAMS, [replace(PAIR, quiet_ours=run(2.0, True, True))])
    assert [one.program.question_id for one in changes.equal] == ["c"]


def test_a_change_that_the_label_agrees_with_is_not_against_it():
    (change,) = changed(PROGRAMS, [(run(1.0, False, False, False), run(1.0, True, False, False))])
    assert not change.against_label
    assert (change.before.verdict, change.after.verdict) == ("wrong", "passed")


def test_other_words_or_test_counts_are_no_change():
    other = Run(1.0, 1.0, tuple(Outcome(one, 9, "in other words") for one in (True, False, False)))
    assert changed(PROGRAMS, [(PAIR.mixed_peer, other)]) == ()


def test_the_last_line_is_one_json_object(capsys):
    print_report(PROGRAMS, [replace(PAIR, adaptive=run(4.0, False, False, False))])
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["verdicts_changed_adaptive"] == 1
    assert last["ratio_mixed_adaptive"] == 3.0
