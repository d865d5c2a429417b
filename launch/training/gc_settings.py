"""Settings of the cyclic garbage collector during training.

Each completion is some dozens of short-lived objects. With the interpreter's own settings they would make the collector
scan all objects, libraries and problems included, many times per step: most of the driver's CPU (docs/scheduler.md).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 10, 10)  # allocations before a collection; cycles are rare here, so little memory waits for it


@contextmanager
def gc_frozen() -> Iterator[None]:
    """Freeze existing objects so that the cyclic collector skips them inside the block.

    Objects in no cycle are freed at once, as always.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
