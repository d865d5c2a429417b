"""A thread for work beside somebody who is waited for: it computes where a core would be idle."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor


def spare_thread(name: str) -> ThreadPoolExecutor:
    """One thread of Linux's policy for background work: a thread of another policy that wakes takes its core at once.

    Niceness would not do: Ray's workers have 15, engines 19, and there is nothing above. The hazard is a machine whose
    cores are all busy with something else: such a thread then gets a twelfth of what a Ray worker gets, a fifth of what
    an engine gets. So use it for work that is small beside the work that is waited for.
    """
    return ThreadPoolExecutor(1, name, _give_way)


def _give_way() -> None:
    with contextlib.suppress(PermissionError):  # a container may forbid it; then the thread is one like others
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # 0: this thread
