"""Spans in which a member of a pool had something to do, with a clock set by hand."""

import pytest

from actors import activity
from actors.activity import Activity, Span


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(activity, "time", clock)
    return clock


def test_overlapping_calls_are_one_span(clock):
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


def test_a_short_pause_does_not_end_a_span_and_a_long_one_does(clock):
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


def test_what_goes_on_is_cut_where_it_is_taken(clock):
    busy = Activity()
    busy.begin("a")
    clock.now = 1.0
    assert busy.take() == [Span(member="a", started=0.0, ended=1.0, calls=1)]
    clock.now = 3.0
    busy.end("a")
    assert busy.take() == [Span(member="a", started=1.0, ended=3.0, calls=0)]


def test_members_are_apart(clock):
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
