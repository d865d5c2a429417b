"""Time limits that adapt to each problem, so that a looping program costs about a second instead of the full limit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from evaluator.sandbox import Limits

MIN_LIMIT_S = 1.0
SLOWEST_TEST_FACTOR = 10.0
MAX_PROBLEMS = 100_000


def cap_time(limits: Limits, seconds: float) -> Limits:
    """Return ``limits`` with wall and CPU time capped at ``seconds``."""
    return replace(limits, wall_s=min(limits.wall_s, seconds), cpu_s=min(limits.cpu_s, seconds))


class AdaptiveLimits:
    """Time limits derived from the slowest accepted test of each problem solved so far.

    The time limit of a solved problem becomes max(1 s, 10 x the wall time of its slowest accepted test), and never
    exceeds the configured limit. A correct program more than ten times slower than every correct program before it is
    therefore judged ``time_limit``. The 100,000 most recently solved problems are kept. Thread-safe.
    """

    def __init__(self) -> None:
        self._slowest: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def lower(self, question_id: str, limits: Limits) -> Limits:
        """Return ``limits``, with lower times if the problem has been solved before."""
        with self._lock:
            slowest_s = self._slowest.get(question_id)
        if slowest_s is None:
            return limits
        return cap_time(limits, max(MIN_LIMIT_S, SLOWEST_TEST_FACTOR * slowest_s))

    def mark_solved(self, question_id: str, slowest_s: float) -> None:
        """Record that a program passed. ``slowest_s`` is the wall time of its slowest test in seconds."""
        with self._lock:
            self._slowest[question_id] = max(slowest_s, self._slowest.get(question_id, 0.0))
            self._slowest.move_to_end(question_id)
            if len(self._slowest) > MAX_PROBLEMS:
                self._slowest.popitem(last=False)
