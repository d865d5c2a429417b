"""Child processes that start with torch and transformers already imported, saving seconds per process."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

# Imported once by the fork server. They must not start threads: forking a process with threads is unsafe.
PRELOADED_MODULES = ["tests.tiny_learner", "actors.weights.receiver", "actors.weights.sender"]


def get_warm_context() -> ForkServerContext:
    """Return a multiprocessing context that forks children from a server with ``PRELOADED_MODULES`` imported.

    Children share the server's memory layout and environment. Use "spawn" in tests that need independent processes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED_MODULES)
    return context
