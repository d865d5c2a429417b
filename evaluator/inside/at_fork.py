"""Control over the functions that run in forked processes. Imported first, before any module can register one.

Modules register functions to run after each fork: ``threading`` to forget threads, ``random`` to reseed. They cost a
third of the time of a short test, and neither cell nor template has threads or needs new seeds. Therefore only
processes forked by a candidate run them.
"""

from __future__ import annotations

import contextlib
import os
import sys

_register = os.register_at_fork
os.register_at_fork = lambda **_: None


def allow_registration() -> None:
    """Let modules register again. Called in the template, when it has imported all that it needs."""
    os.register_at_fork = _register
    with contextlib.suppress(TypeError):
        _register(after_in_child=None)  # prepares the call that each candidate makes


def register_for_candidate() -> None:
    """Register what ``threading`` and ``random`` could not. Called in each candidate."""
    _register(after_in_child=_forget_threads_and_reseed)


def _forget_threads_and_reseed() -> None:
    sys.modules["threading"]._after_fork()
    if "random" in sys.modules:
        sys.modules["random"].seed()
