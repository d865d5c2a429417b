"""Background threads yield to the other threads of the process; ``read_ahead`` keeps items, order and errors."""

import os
import threading
from typing import Any

import pytest

from actors.weights.idle_thread import make_idle_executor, read_ahead

DEADLINE_S = 20.0


def test_thread_is_scheduled_as_idle_and_the_caller_is_not():
    with make_idle_executor("test") as thread:
        assert thread.submit(os.sched_getscheduler, 0).result(20.0) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_thread_works_where_the_idle_policy_is_forbidden(monkeypatch):
    def forbid(*arguments):
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", forbid)
    with make_idle_executor("test") as thread:
        assert thread.submit(lambda: 7).result(20.0) == 7


@pytest.mark.parametrize("count", [1, 2, 9])
def test_read_ahead_yields_all_items_in_order(count):
    assert list(read_ahead(iter(range(7)), count, "test")) == list(range(7))
    assert list(read_ahead(iter([None, 0, ""]), count, "test")) == [None, 0, ""]
    assert list(read_ahead(iter([]), count, "test")) == []


@pytest.mark.parametrize("count", [1, 2])
def test_read_ahead_computes_exactly_count_items_ahead(count):
    computed = [threading.Event() for _ in range(5)]

    def items():
        for number, event in enumerate(computed):
            event.set()
            yield number

    for number in read_ahead(items(), count, "test"):
        ahead = number + count
        assert all(event.wait(DEADLINE_S) for event in computed[: ahead + 1])
        assert not any(event.is_set() for event in computed[ahead + 1 :])


@pytest.mark.parametrize("count", [1, 2])
def test_read_ahead_raises_an_error_in_place_of_its_item(count):
    def items():
        yield 1
        raise OSError("gone")

    iterator = read_ahead(items(), count, "test")
    assert next(iterator) == 1
    with pytest.raises(OSError, match="gone"):
        next(iterator)


@pytest.mark.parametrize("count", [1, 2])
def test_closing_read_ahead_does_not_wait_for_the_item_in_progress(count):
    started = threading.Event()
    may_finish = threading.Event()
    finished = threading.Event()

    def items():
        yield 1
        started.set()
        may_finish.wait(DEADLINE_S)
        finished.set()

    iterator: Any = read_ahead(items(), count, "test")
    next(iterator)
    assert started.wait(DEADLINE_S)
    iterator.close()
    assert not finished.is_set()
    may_finish.set()
    assert finished.wait(DEADLINE_S)
