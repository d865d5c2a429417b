"""The garbage collector of a run: it looks at what comes and goes, and not again and again at what stays.

Each completion is some dozens of objects that live for a moment. With the interpreter's own settings they have it go
through all there is, libraries and problems included, many times a step: most of the driver's CPU (docs/scheduler.md).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 10, 10)  # objects more than at the last look; cycles are rare here, so little waits for it


@contextmanager
def only_the_new() -> Iterator[None]:
    """Inside, what was there before is not looked at. What is in no cycle is freed at once, as ever."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
