"""Lines and progress bar of the display."""

import io

import pytest
from rich.console import Console

from evaluator.verdict import Status
from launch.cluster.model_shape import estimate_shape
from launch.cluster.placement import plan_roles
from launch.cluster.tables import build_placement_table
from launch.records.display import Display, format_step
from tests.factories import make_config, make_credited_group, make_metrics_row

ROW = make_metrics_row(7, [make_credited_group(*[Status.PASSED] * 3, *[Status.WRONG_ANSWER] * 5)])


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120)


def test_step_is_formatted_as_one_line():
    line = format_step(ROW)
    assert "\n" not in line
    for figure in (
        "step    7 ",
        "reward 0.375",
        "length   4.0",
        "truncated 0.000",
        "clip 0.0625/0.0312",
        "entropy 0.750",
        "grad 1.25",
        "  2 tok/s",
        "20.0 s (gen 10.0, reward 1.0, update 5.0, weights 0.8)",
    ):
        assert figure in line


def test_step_line_contains_diversity_and_masking():
    line = format_step(ROW | {"diversity/distinct_4": 0.68, "truncation/masked": 0.0625})
    assert "diversity 0.68" in line
    assert "masked 0.062" in line


def test_output_without_a_terminal_is_one_line_per_step(console):
    with Display(console, 3, 0) as display:
        display.set_phase("generate")
        display.show_generation_progress(5, 16)
        display.show_step(ROW)
        display.show_step(ROW | {"step": 8})
    assert console.file.getvalue() == f"{format_step(ROW)}\n{format_step(ROW | {'step': 8})}\n"


def test_progress_bar_starts_at_the_first_step_of_a_resumed_run(console):
    with Display(console, 10, 4) as display:
        display.show_step(ROW)
        assert display.progress.tasks[0].completed == 5
        display.show_generation_progress(5, 16)
        assert display.progress.tasks[0].fields["phase"] == "generate 5/16"


def test_printed_line_is_not_interpreted_as_markup(console):
    with Display(console, 1, 0) as display:
        display.print_line("values [1, 2] and [bold] stay")
    assert console.file.getvalue() == "values [1, 2] and [bold] stay\n"


def test_placement_table_shows_name_count_and_device(console):
    console.print(build_placement_table(plan_roles(make_config("learner.ranks=3"), estimate_shape(2**28), 80.0)))
    rows = [[cell.strip() for cell in line.split("│")] for line in console.file.getvalue().splitlines()]
    (learner,) = [row for row in rows if "learner rank" in row]
    assert learner[1:4] == ["learner rank", "3", "cpu"]
