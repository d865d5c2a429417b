"""Comparison of two checkouts' evaluators in benchmarks/evaluator_change.py."""

import doctest
import json

import pytest

from benchmarks import evaluator_change
from benchmarks.evaluator import JudgingWorkload
from benchmarks.evaluator_change import compare, select_kind, select_short_programs
from benchmarks.tools.labelled_programs import LabelledProgram, load_problems_by_id
from benchmarks.tools.processes import ROOT
from evaluator import ProblemTest
from evaluator.problem import to_row
from tests.factories import make_problem

FUNCTION = make_problem("function", func_name="double", public_tests=(ProblemTest("2", "4", "functional"),))
PRINTED = make_problem("printed", public_tests=(ProblemTest("2\n", "4\n"),))

LONG = "sum(range(3_000_000))\n"
"""Takes several ticks of the clock by which CPU time is counted, so that no measured time is 0."""


@pytest.mark.heavy
def test_two_checkouts_are_compared_on_short_programs(tmp_path, monkeypatch):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(to_row(problem)) + "\n" for problem in (FUNCTION, PRINTED)))
    programs = (
        LabelledProgram(question_id="printed", index=0, code=f"{LONG}print(2 * int(input()))", label="ok"),
        LabelledProgram(question_id="function", index=0, code=f"{LONG}def double(n):\n    return 2 * n", label="ok"),
    )
    workload = JudgingWorkload(programs, load_problems_by_id(path), path)
    monkeypatch.setattr(evaluator_change, "MAX_SECONDS", 0.0)
    assert select_short_programs(workload).programs == ()
    monkeypatch.setattr(evaluator_change, "MAX_SECONDS", 60.0)
    short = select_short_programs(workload)
    assert short.programs == programs
    assert select_kind(short, True).programs == programs[1:]
    measured = compare("all", short, ROOT, passes=2)
    assert measured.programs == 2 and measured.cpu_ratio > 0 and measured.wall_ratio > 0


def test_examples_in_docstrings():
    assert doctest.testmod(evaluator_change).failed == 0
