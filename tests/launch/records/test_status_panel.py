"""Panel of a run in windows of several sizes."""

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from actors.activity import PoolCounts
from launch.records.figures import MISSING, STEP_LINE
from launch.records.status_panel import LastWarning, Memory, RunStatus, build_panel

ROW = {
    "critic/rewards/mean": 0.671,
    "diversity/distinct_4": 0.152,
    "response_length/mean": 1412.25,
    "truncation/rate": 0.125,
    "timing_s/step": 6.31,
    "perf/throughput": 1898.4,
    "actor/entropy": 0.25,
}
UNKNOWN = RunStatus(
    steps=120,
    completed=0,
    seconds_left=None,
    phase="starting",
    phase_seconds=0.0,
    progress=None,
    rows=(),
    generators=None,
    evaluators=None,
    memory=None,
    warning=None,
)
RUNNING = RunStatus(
    steps=120,
    completed=54,
    seconds_left=860.0,
    phase="generate",
    phase_seconds=3.2,
    progress=(123, 512),
    rows=[ROW] * 10,
    generators=PoolCounts(busy=2, idle=1, dead=1, starting=0, restarts=3),
    evaluators=PoolCounts(busy=3, idle=5, dead=0, starting=2, restarts=0, queue=12),
    memory=Memory(used=12 * 2**30, total=64 * 2**30, driver=2**30),
    warning=LastWarning("generator 0 was removed: it died; its log is in the run directory " * 3, 12, 4),
)
COUNTS = st.integers(0, 10**9)
POOLS = st.builds(PoolCounts, busy=COUNTS, idle=COUNTS, dead=COUNTS, starting=COUNTS, restarts=COUNTS, queue=COUNTS)
STATUSES = st.builds(
    RunStatus,
    steps=COUNTS,
    completed=COUNTS,
    seconds_left=st.none() | st.floats(0),
    phase=st.sampled_from(["update", "starting learner and engines", "a long name " * 20]),
    phase_seconds=st.floats(0),
    progress=st.none() | st.tuples(COUNTS, COUNTS),
    rows=st.lists(st.dictionaries(st.sampled_from([figure.key for figure in STEP_LINE]), st.floats()), max_size=3),
    generators=st.none() | POOLS,
    evaluators=st.none() | POOLS,
    memory=st.none() | st.builds(Memory, used=COUNTS, total=COUNTS, driver=COUNTS),
    warning=st.none() | st.builds(LastWarning, st.text("ab 中", max_size=300), COUNTS, COUNTS),
)


def draw(status, width, height=50):
    """Return the lines of the panel, printed as the driver's console prints."""
    output = io.StringIO()
    console = Console(
        file=output,
        width=width,
        height=height,
        force_terminal=True,
        color_system=None,
        soft_wrap=True,
        legacy_windows=False,
    )
    console.print(build_panel(status, width, height))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [1, 12, 20, 40, 60, 80, 100, 160, 250])
@pytest.mark.parametrize("status", [UNKNOWN, RUNNING])
def test_no_line_is_wider_than_the_window(width, status):
    lines = draw(status, width)
    assert lines
    assert max(map(cell_len, lines)) <= width


@given(STATUSES, st.integers(1, 200), st.integers(1, 60))
def test_panel_fits_whatever_the_values(status, width, height):
    lines = draw(status, width, height)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= height


def test_panel_at_80_columns_has_a_row_for_each_subject():
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in draw(RUNNING, 80)[1:]}
    assert rows["run"].endswith(" 54/120 14:20 left")
    assert rows["phase"].startswith("generate ━")
    assert rows["phase"].endswith(" 123/512 3 s")
    assert rows["last"] == "10 reward 0.671 D 0.15 length 1412 trunc 0.125 6.3 s/step"
    assert rows["generators"] == "2 busy 1 idle 1 dead 3 restarted"
    assert rows["evaluators"] == "3 busy 5 idle 0 dead 0 restarted queue 12 2 starting"
    assert rows["system"] == "1898 tok/s memory 12.0/64.0 GiB driver 1.0 GiB"
    assert rows["warning"].startswith("step 12 (4 so far): generator 0 was removed: it died")
    assert rows["warning"].endswith("…")


def test_panel_at_160_columns_has_two_blocks_beside_each_other():
    lines = draw(RUNNING, 160)
    assert len(lines) == 5
    assert [line.split()[0] for line in lines[1:]] == ["run", "phase", "last", "warning"]
    assert "left  generators  2 busy" in lines[1]
    assert "3 s  evaluators  3 busy" in lines[2]
    assert "6.3 s/step" in lines[3]
    assert "system      1898 tok/s" in lines[3]


def test_unknown_values_are_marked_as_missing():
    lines = draw(UNKNOWN, 80)
    assert lines[1].endswith(f" 0/120  {MISSING} left")
    averages = (
        f"averages reward {MISSING} D {MISSING} length {MISSING} trunc {MISSING} {MISSING} s/step entropy {MISSING}"
    )
    assert lines[3].split() == averages.split()
    assert [line.split() for line in lines[4:6]] == [["generators", MISSING], ["evaluators", MISSING]]
    assert lines[6].split() == ["system", MISSING, "tok/s", "memory", MISSING]
    assert lines[7].split() == ["warning", MISSING]


@pytest.mark.parametrize(
    ("height", "labels"),
    [
        (1, ["run"]),
        (6, ["run", "phase"]),
        (8, ["run", "phase", "last", "warning"]),
        (11, ["run", "phase", "last", "generators", "evaluators", "system", "warning"]),
    ],
)
def test_low_window_has_the_most_important_rows(height, labels):
    assert [line.split()[0] for line in draw(RUNNING, 80, height)] == labels


def test_bar_shows_the_share_of_the_steps():
    (line,) = draw(replace(RUNNING, completed=60), 80, 1)
    room = 80 - len("run         ") - len("  60/120  14:20 left")
    assert line.split()[1] == "━" * (room // 2)  # without colors only the completed part is drawn
