"""Mailbox between ``launch.scale`` and a live run: it carries requested pool sizes one way, the pool's reports back.

    launch.scale ──request, report──► ScalingMailbox ◄──exchange── EvaluatorPool, once per tick

Neither side waits for the other: both read what the mailbox has at the moment.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.evaluators.autoscaling import Bounds


@dataclass(frozen=True)
class PoolReport:
    """State of an evaluator pool.

    Attributes:
        actors: actors that accept calls now.
        bounds: fewest and most actors that the pool keeps.
        cpus: CPUs that each actor reserves.
    """

    actors: int
    bounds: Bounds
    cpus: float


class ScalingMailbox:
    """Small named Ray actor that other processes can look up. It ends with the driver that started it."""

    def __init__(self) -> None:
        self._report: PoolReport | None = None
        self._requested: int | None = None

    def exchange(self, report: PoolReport) -> int | None:
        """Store the pool's report and return the requested size, None if there is none yet. The pool calls this."""
        self._report = report
        return self._requested

    def request(self, size: int) -> None:
        """Request a pool of ``size`` actors, from the pool's next exchange on. ``launch.scale`` calls this."""
        self._requested = size

    def report(self) -> PoolReport | None:
        """Return the pool's last report, None if there is none yet. ``launch.scale`` calls this."""
        return self._report
