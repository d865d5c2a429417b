"""The collector's settings in a run, and that cycles still go."""

import gc
import weakref

import pytest

from launch.training.gc_settings import THRESHOLDS, only_the_new


class Knot:
    """Refers to itself."""

    def __init__(self):
        self.knot = self


def test_what_was_there_is_not_looked_at():
    old = Knot()
    before = gc.get_threshold()
    there = weakref.ref(old)
    with only_the_new():
        del old
        new = weakref.ref(Knot())
        gc.collect()
        assert (there() is None, new() is None) == (False, True)
        assert gc.get_threshold() == THRESHOLDS
    gc.collect()
    assert there() is None
    assert gc.get_threshold() == before


def test_settings_come_back_after_an_error():
    before = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(ValueError), only_the_new():
        raise ValueError
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
