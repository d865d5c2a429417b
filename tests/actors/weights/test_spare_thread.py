"""Spare threads yield to the other threads of the process; read_ahead keeps items, order and errors."""

import os
import threading
from typing import Any

import pytest

from actors.weights.spare_thread import read_ahead, spare_thread

DEADLINE_S = 20.0


def test_a_spare_thread_has_the_policy_of_background_work_and_the_caller_keeps_its_own():
    with spare_thread("test") as thread:
        assert thread.submit(os.sched_getscheduler, 0).result(20.0) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_where_the_policy_is_forbidden_the_thread_works_all_the_same(monkeypatch):
    def refuse(*arguments):
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with spare_thread("test") as thread:
        assert thread.submit(lambda: 7).result(20.0) == 7


@pytest.mark.parametrize("count", [1, 2, 9])
def test_all_items_come_in_order(count):
    assert list(read_ahead(iter(range(7)), count, "test")) == list(range(7))
    assert list(read_ahead(iter([None, 0, ""]), count, "test")) == [None, 0, ""]
    assert list(read_ahead(iter([]), count, "test")) == []


@pytest.mark.parametrize("count", [1, 2])
def test_the_next_items_are_made_while_the_present_one_is_used_and_no_further(count):
    made = [threading.Event() for _ in range(5)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in read_ahead(items(), count, "test"):
        ahead = number + count
        assert all(event.wait(DEADLINE_S) for event in made[: ahead + 1])
        assert not any(event.is_set() for event in made[ahead + 1 :])


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_comes_in_place_of_its_item(count):
    def items():
        yield 1
        raise OSError("gone")

    found = read_ahead(items(), count, "test")
    assert next(found) == 1
    with pytest.raises(OSError, match="gone"):
        next(found)


@pytest.mark.parametrize("count", [1, 2])
def test_who_leaves_early_does_not_wait_for_the_item_under_way(count):
    begun = threading.Event()
    going_on = threading.Event()
    ended = threading.Event()

    def items():
        yield 1
        begun.set()
        going_on.wait(DEADLINE_S)
        ended.set()

    found: Any = read_ahead(items(), count, "test")
    next(found)
    assert begun.wait(DEADLINE_S)
    found.close()
    assert not ended.is_set()
    going_on.set()
    assert ended.wait(DEADLINE_S)
