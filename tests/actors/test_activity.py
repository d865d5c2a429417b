"""Activity spans of pool members, measured on a fake clock."""

import pytest

from actors import activity
from actors.activity import Activity, Span


@pytest.fixture
def clock(monkeypatch):
    class FakeClock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = FakeClock()
    monkeypatch.setattr(activity, "time", clock)
    return clock


def test_overlapping_calls_form_a_single_span(clock):
    busy = Activity()
    busy.begin("a")
    clock.now = 1.0
    busy.begin("a")
    clock.now = 2.0
    busy.end("a")
    clock.now = 5.0
    busy.end("a")
    assert busy.take() == [Span(member="a", started=0.0, ended=5.0, calls=2)]
    assert busy.take() == []


def test_only_a_long_pause_ends_a_span(clock):
    busy = Activity()
    for begin, end in ((0.0, 1.0), (1.05, 2.0), (3.0, 4.0)):
        clock.now = begin
        busy.begin("a")
        clock.now = end
        busy.end("a")
    assert busy.take() == [
        Span(member="a", started=0.0, ended=2.0, calls=2),
        Span(member="a", started=3.0, ended=4.0, calls=1),
    ]


def test_take_splits_an_open_span(clock):
    busy = Activity()
    busy.begin("a")
    clock.now = 1.0
    assert busy.take() == [Span(member="a", started=0.0, ended=1.0, calls=1)]
    clock.now = 3.0
    busy.end("a")
    assert busy.take() == [Span(member="a", started=1.0, ended=3.0, calls=0)]


def test_each_member_has_its_own_spans(clock):
    busy = Activity()
    busy.begin("a")
    clock.now = 1.0
    busy.begin("b")
    clock.now = 2.0
    busy.end("a")
    busy.end("b")
    assert sorted(busy.take(), key=lambda span: span.member) == [
        Span(member="a", started=0.0, ended=2.0, calls=1),
        Span(member="b", started=1.0, ended=2.0, calls=1),
    ]
