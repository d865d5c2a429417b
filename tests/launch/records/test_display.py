"""Lines and live panel of the display, on files, terminals and closed outputs."""

import io
import logging
import os
import threading

import pytest
from rich.console import Console
from rich.table import Table

from actors.activity import PoolCounts
from evaluator.verdict import Status
from launch.cluster.model_shape import estimate_shape
from launch.cluster.placement import plan_roles
from launch.cluster.tables import build_placement_table
from launch.records import display as display_module
from launch.records.display import Display
from launch.records.figures import format_step
from tests.factories import make_config, make_credited_group, make_metrics_row

ROW = make_metrics_row(7, [make_credited_group(*[Status.PASSED] * 3, *[Status.WRONG_ANSWER] * 5)])
ATTACK = "program printed \x1b[2J\x1b]0;title\x07\nstep   99  reward 1.000 \u202e\ud800"
ESCAPED = r"program printed \x1b[2J\x1b]0;title\x07\nstep   99  reward 1.000 \u202e\ud800"


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120)


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None, soft_wrap=True)


def test_output_without_a_terminal_is_one_line_per_step(console):
    with Display(console, 3, 0) as display:
        display.set_phase("generate")
        display.show_generation_progress(5, 16)
        display.show_step(ROW)
        display.show_step(ROW | {"step": 8})
    assert console.file.getvalue() == f"{format_step(ROW)}\n{format_step(ROW | {'step': 8})}\n"


def test_lines_are_printed_at_once_outside_the_context(console):
    display = Display(console, 3, 0)
    display.show_step(ROW)
    assert console.file.getvalue() == f"{format_step(ROW)}\n"


def test_step_line_fits_a_narrow_terminal(terminal):
    Display(terminal, 3, 0).show_step(ROW)
    assert terminal.file.getvalue() == f"{format_step(ROW, 80)}\n"


def test_terminal_shows_lines_and_panel_and_clears_the_panel_at_the_end(terminal):
    with Display(terminal, 3, 0) as display:
        display.show_step(ROW)
        drawn = threading.Event()
        display.watch_pools(
            lambda: drawn.set() or PoolCounts(busy=1, idle=0, dead=0, starting=0, restarts=0), make_counts
        )
        assert drawn.wait(60)
    output = terminal.file.getvalue()
    assert format_step(ROW, 80) in output
    assert "1/3" in output
    assert output.endswith("\x1b[1A\x1b[2K")


def make_counts():
    return PoolCounts(busy=0, idle=2, dead=0, starting=0, restarts=0, queue=3)


def test_status_has_the_state_of_the_run(console):
    display = Display(console, 10, 4)
    assert display.read_status().seconds_left is None
    assert display.read_status().generators is None
    display.show_step(ROW)
    display.watch_pools(make_counts, make_counts)
    display.set_phase("generate")
    display.show_generation_progress(5, 16)
    status = display.read_status()
    assert (status.completed, status.steps) == (5, 10)
    assert (status.phase, status.progress) == ("generate", (5, 16))
    assert status.seconds_left is not None
    assert 0 < status.seconds_left <= 5 * ROW["timing_s/step"]
    assert status.evaluators == make_counts()
    assert 0 < status.memory.used < status.memory.total
    display.set_phase("update")
    assert display.read_status().progress is None
    display.set_phase("evaluate at T 0.6", 3, 8)
    assert display.read_status().progress == (3, 8)
    display.forget_pools()
    assert display.read_status().evaluators is None


def test_time_left_follows_the_time_between_steps(console, monkeypatch):
    now = 100.0
    monkeypatch.setattr(display_module.time, "monotonic", lambda: now)
    display = Display(console, 10, 0)
    display.show_step(ROW)  # takes 20 s by its own measurement
    assert display.read_status().seconds_left == 9 * 20
    now = 130.0
    display.show_step(ROW)
    assert display.read_status().seconds_left == 8 * 25
    now = 140.0
    assert display.read_status().seconds_left == 8 * 25 - 10
    now = 1000.0
    assert display.read_status().seconds_left == 0


def test_averages_are_over_the_latest_steps(console):
    display = Display(console, 100, 0)
    for step in range(15):
        display.show_step(ROW | {"step": step})
    assert [row["step"] for row in display.read_status().rows] == list(range(5, 15))


@pytest.mark.parametrize("print_text", [Display.print_line, Display.warn])
def test_control_characters_in_messages_are_escaped(console, print_text):
    with Display(console, 1, 0) as display:
        print_text(display, ATTACK)
    assert console.file.getvalue() == f"{ESCAPED}\n"


def test_warning_is_printed_and_remembered(console):
    display = Display(console, 10, 4)
    display.warn("first")
    display.show_step(ROW)
    display.warn(ATTACK)
    warning = display.read_status().warning
    assert (warning.text, warning.step, warning.number) == (ESCAPED, 5, 2)
    assert console.file.getvalue().splitlines() == ["first", format_step(ROW), ESCAPED]


def test_printed_line_is_not_interpreted_as_markup(console):
    with Display(console, 1, 0) as display:
        display.print_line("values [1, 2] and [bold] and :smile: stay")
    assert console.file.getvalue() == "values [1, 2] and [bold] and :smile: stay\n"


def test_long_line_is_not_broken(console):
    with Display(console, 1, 0) as display:
        display.print_line("word " * 100)
    assert console.file.getvalue() == "word " * 100 + "\n"


def test_tables_are_printed_in_order(console):
    table = Table("heading")
    with Display(console, 1, 0) as display:
        display.print_line("before")
        display.print_table(table)
        display.print_line("after")
    lines = console.file.getvalue().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "heading" in lines[2]


class TerminalStream(io.StringIO):
    def isatty(self):
        return True


def test_logs_to_a_terminal_are_printed_as_warnings(terminal, monkeypatch):
    stream = TerminalStream()
    monkeypatch.setattr("sys.stderr", stream)
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("tests.display")
    logger.addHandler(handler)
    try:
        with Display(terminal, 1, 0) as display:
            logger.warning("generator %d removed: %s", 0, ATTACK)
            try:
                raise ValueError("a bug\x1b")
            except ValueError:
                logger.exception("in the pool")
            assert display.read_status().warning.text == "tests.display: in the pool"
        assert logger.handlers == [handler]
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue() == ""
    output = terminal.file.getvalue()
    assert f"tests.display: generator 0 removed: {ESCAPED}" in output
    assert r"ValueError: a bug\x1b" in output


def test_logs_to_a_file_stay_there(console):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("tests.display")
    logger.addHandler(handler)
    try:
        with Display(console, 1, 0):
            logger.warning("text")
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue() == "text\n"


class FailingFile(io.StringIO):
    """File whose disk is full after the first write."""

    writes = 0

    def write(self, text):
        self.writes += 1
        if self.writes > 1:
            raise OSError(28, "No space left on device")
        return super().write(text)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_output_that_cannot_be_written_does_not_stop_the_run(is_terminal, monkeypatch):
    monkeypatch.setattr(display_module, "REFRESH_S", 0.001)
    console = Console(file=FailingFile(), width=80, height=24, force_terminal=is_terminal)
    with Display(console, 5, 0) as display:
        for _ in range(3):
            display.show_step(ROW)
            display.warn("text")
            display._thread.join(0.01)
    display.print_line("after the end")
    assert display.completed == 3


def test_closed_pipe_does_not_stop_the_run(monkeypatch):
    """The reader of the output has gone, as with ``| head``."""
    reader, writer = os.pipe()
    with open(writer, "w") as file:
        monkeypatch.setattr("sys.stdout", file)  # rich replaces it by /dev/null
        console = Console(file=file)
        os.close(reader)
        with Display(console, 5, 0) as display:
            display.show_step(ROW)
        assert console.quiet
        display.show_step(ROW)
        assert display.completed == 2


def test_blocked_output_does_not_block_the_run(monkeypatch):
    """Nobody reads from the pipe, as with a pager or a terminal that is stopped."""
    monkeypatch.setattr(display_module, "CLOSE_DEADLINE_S", 0.01)
    reader, writer = os.pipe()
    with open(reader) as source, open(writer, "w") as file:
        with Display(Console(file=file, width=80, height=24, force_terminal=True), 5, 0) as display:
            for number in range(100):
                display.print_line(f"{number} " * 1000)  # more than a pipe holds
                display.set_phase(f"phase {number}")
            assert display.read_status().phase == "phase 99"
        while "99 99 99" not in source.readline():  # lets the thread end
            pass
        display._thread.join(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_bug_in_the_panel_does_not_stop_the_lines(terminal):
    def fail():
        raise RuntimeError("a bug")

    with Display(terminal, 5, 0) as display:
        display.watch_pools(fail, fail)
        display._thread.join(60)
        display.print_line("still printed")
    assert "still printed" in terminal.file.getvalue()


def test_characters_that_the_encoding_lacks_are_replaced():
    data = io.BytesIO()
    console = Console(file=io.TextIOWrapper(data, "ascii", write_through=True), width=80)
    with Display(console, 5, 0) as display:
        display.show_step({"step": 1})
        display.print_line("é")
    assert data.getvalue().decode("ascii").startswith("step    1  reward     ?  D    ?")


def test_placement_table_shows_name_count_and_device(console):
    console.print(build_placement_table(plan_roles(make_config("learner.ranks=3"), estimate_shape(2**28), 80.0)))
    rows = [[cell.strip() for cell in line.split("│")] for line in console.file.getvalue().splitlines()]
    (learner,) = [row for row in rows if "learner rank" in row]
    assert learner[1:4] == ["learner rank", "3", "cpu"]
