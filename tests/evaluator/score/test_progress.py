"""Progress bar: its text and width, and when it is drawn."""

import sys

import pytest

from evaluator import Status
from evaluator.score.progress import ProgressBar
from tests.evaluator.score.fakes import make_verdict


class FakeClock:
    """Clock that the test sets."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


def make_bar(total, seconds, **counts):
    """Return a bar after ``seconds``, with as many verdicts of each status as ``counts`` says."""
    clock = FakeClock()
    bar = ProgressBar(total, clock)
    clock.seconds += seconds
    for status, count in counts.items():
        for _ in range(count):
            bar.count(make_verdict(Status(status)))
    return bar


@pytest.mark.parametrize(
    ("bar", "text"),
    [
        (make_bar(8, 0), "[........................] 0/8 programs, 0.0/s, 0 failed, -:-- left"),
        (make_bar(8, 4, passed=2, no_code=2), "[############............] 4/8 programs, 1.0/s, 2 failed, 0:04 left"),
        (make_bar(90, 5, passed=1), "[........................] 1/90 programs, 0.2/s, 0 failed, 7:25 left"),
        (make_bar(2000, 5, time_limit=1), "[........................] 1/2000 programs, 0.2/s, 1 failed, 2:46:35 left"),
        (
            make_bar(3, 1, sandbox_error=2, passed=1),
            "[########################] 3/3 programs, 3.0/s, 0 failed, 2 sandbox errors, 0:00 left",
        ),
    ],
)
def test_bar_shows_counts_rate_and_time_left(bar, text):
    assert bar.format_bar(100) == text


@pytest.mark.parametrize("width", [0, 1, 20, 40, 60, 79])
def test_bar_fits_the_terminal(width):
    bar = make_bar(10**6, 3, passed=7, wrong_answer=5)
    assert len(bar.format_bar(width)) <= width
    assert "12/1000000 programs, 4.0/s, 5 failed".startswith(bar.format_bar(width)[:20].lstrip("[.] "))


@pytest.mark.parametrize("stream", ["file", "dumb terminal", "closed"])
def test_bar_is_drawn_on_a_terminal_only(stream, capsys, monkeypatch):
    if stream == "dumb terminal":
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "dumb")
    if stream == "closed":
        monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar(1) as bar:
        bar.count(make_verdict(Status.PASSED))
    monkeypatch.undo()
    assert capsys.readouterr().err == ""
