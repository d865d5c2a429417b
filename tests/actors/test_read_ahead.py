"""Items made ahead: all of them, in order, one at a time; errors where they belong."""

import threading

import pytest

from actors.read_ahead import read_ahead

DEADLINE_S = 20.0


def test_all_items_come_in_order():
    assert list(read_ahead(iter(range(7)), "test")) == list(range(7))
    assert list(read_ahead(iter([None, 0, ""]), "test")) == [None, 0, ""]
    assert list(read_ahead(iter([]), "test")) == []


def test_the_next_item_is_made_while_the_present_one_is_used_and_no_further():
    made = [threading.Event() for _ in range(4)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in read_ahead(items(), "test"):
        if number < 3:
            assert made[number + 1].wait(DEADLINE_S)
        assert not any(event.is_set() for event in made[number + 2 :])


def test_an_error_comes_in_place_of_its_item():
    def items():
        yield 1
        raise OSError("gone")

    found = read_ahead(items(), "test")
    assert next(found) == 1
    with pytest.raises(OSError, match="gone"):
        next(found)


def test_who_leaves_early_does_not_wait_for_the_item_under_way():
    going_on, ended = threading.Event(), threading.Event()

    def items():
        yield 1
        going_on.wait(DEADLINE_S)
        ended.set()

    found = read_ahead(items(), "test")
    next(found)
    found.close()
    assert not ended.is_set()
    going_on.set()
    assert ended.wait(DEADLINE_S)
