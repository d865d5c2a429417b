"""Settings of the garbage collector inside ``gc_frozen``, and after it."""

import gc
import weakref

import pytest

from launch.training.gc_settings import THRESHOLDS, gc_frozen


@pytest.fixture(autouse=True)
def nothing_frozen():
    """Start without frozen objects, and let the collector skip what exists again afterwards (tests/conftest.py)."""
    gc.unfreeze()
    yield
    gc.freeze()


class Cycle:
    """An object that refers to itself, which only the cyclic collector can free."""

    def __init__(self):
        self.itself = self


@pytest.mark.heavy
def test_gc_skips_objects_that_existed_before():
    old = Cycle()
    thresholds = gc.get_threshold()
    old_reference = weakref.ref(old)
    with gc_frozen():
        del old
        new_reference = weakref.ref(Cycle())
        gc.collect()
        assert old_reference() is not None
        assert new_reference() is None
        assert gc.get_threshold() == THRESHOLDS
    gc.collect()
    assert old_reference() is None
    assert gc.get_threshold() == thresholds


def test_gc_settings_are_restored_after_an_error():
    before = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(ValueError), gc_frozen():
        raise ValueError
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
