"""Control over the functions that run in forked processes. Imported first, before any module can register one.

Modules register functions to run after each fork: ``threading`` to forget threads, ``random`` to reseed. They cost a
third of the time of a short test, and neither cell nor template has threads or needs new seeds. Therefore only
processes forked by a candidate run them.
"""

from __future__ import annotations

import os
import sys

_register = os.register_at_fork
os.register_at_fork = lambda **_: None


class _AfterFork:
    """After-fork function that skips the candidate itself.

    Its first call is in a candidate that was just forked by its template, where it does nothing. Later calls are in
    processes forked by the candidate.
    """

    def __init__(self) -> None:
        self._in_candidate = False

    def __call__(self) -> None:
        if self._in_candidate:
            sys.modules["threading"]._after_fork()
            if "random" in sys.modules:
                sys.modules["random"].seed()
        self._in_candidate = True


def enable_for_candidates() -> None:
    """Let modules register again, and register what ``threading`` and ``random`` could not. Called in the template."""
    os.register_at_fork = _register
    _register(after_in_child=_AfterFork())
