"""Child processes that start with torch and transformers imported, which takes seconds in a fresh interpreter."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

# Imported by the fork server, once. None of them starts a thread, so that a fork of the server is safe.
MODULES = ["tests.tiny_learner", "actors.weights.receiver", "actors.weights.sender"]


def warm_context() -> ForkServerContext:
    """Return the multiprocessing context whose children are forked from a server with ``MODULES`` imported.

    Children share the server's memory layout and environment. A test that needs independent processes uses "spawn".
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context
