"""What a person sees of a step."""

import io

import pytest
from rich.console import Console

from evaluator.verdict import Status
from launch.cluster.placement import plan
from launch.cluster.tables import placement_table
from launch.records.display import Display, step_line
from tests.factories import config, credited_group, metrics_row

ROW = metrics_row(7, [credited_group(*[Status.PASSED] * 3, *[Status.WRONG_ANSWER] * 5)])


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120)


def test_a_step_in_one_line():
    line = step_line(ROW)
    assert "\n" not in line
    for figure in (
        "step    7 ",
        "reward 0.375",
        "length   4.0",
        "truncated 0.000",
        "clip 0.0625/0.0312",
        "entropy 0.750",
        "grad 1.25",
        "50 tok/s",
        "20.0 s (gen 10.0, reward 1.0, update 5.0, weights 0.8)",
    ):
        assert figure in line


def test_diversity_and_masking_are_in_the_line():
    line = step_line(ROW | {"diversity/distinct_4": 0.68, "truncation/masked": 0.0625})
    assert "diversity 0.68" in line
    assert "masked 0.062" in line


def test_without_a_terminal_every_step_is_one_line(console):
    with Display(console, 3, 0) as display:
        display.phase("generate")
        display.sampling(5, 16)
        display.step(ROW)
        display.step(ROW | {"step": 8})
    assert console.file.getvalue() == f"{step_line(ROW)}\n{step_line(ROW | {'step': 8})}\n"


def test_the_bar_goes_on_where_the_run_does(console):
    with Display(console, 10, 4) as display:
        display.step(ROW)
        assert display.progress.tasks[0].completed == 5
        display.sampling(5, 16)
        assert display.progress.tasks[0].fields["phase"] == "generate 5/16"


def test_what_is_said_is_not_read_as_markup(console):
    with Display(console, 1, 0) as display:
        display.say("values [1, 2] and [bold] stay")
    assert console.file.getvalue() == "values [1, 2] and [bold] stay\n"


def test_the_placement_table(console):
    console.print(placement_table(plan(config("learner.ranks=3"), 2**28)))
    rows = [[cell.strip() for cell in line.split("│")] for line in console.file.getvalue().splitlines()]
    (learner,) = [row for row in rows if "learner rank" in row]
    assert learner[1:4] == ["learner rank", "3", "cpu"]
