"""The mailbox between ``launch.scale`` and a live run: requested pool sizes one way, the pool's reports the other."""

from __future__ import annotations

from dataclasses import dataclass

from actors.evaluators.autoscaling import Bounds


@dataclass(frozen=True)
class PoolReport:
    """``actors``: those that run now; ``bounds``: fewest and most that the pool keeps; ``cpus``: what each takes."""

    actors: int
    bounds: Bounds
    cpus: float


class ScalingMailbox:
    """A small Ray actor with a name, so that other processes find it; it ends with the driver that started it."""

    def __init__(self) -> None:
        self._report: PoolReport | None = None
        self._requested: int | None = None

    def exchange(self, report: PoolReport) -> int | None:
        """Called by the pool: leave its report, return the last requested size (None: none yet)."""
        self._report = report
        return self._requested

    def request(self, size: int) -> None:
        """Called by a command: the pool is to have ``size`` actors from its next exchange on."""
        self._requested = size

    def report(self) -> PoolReport | None:
        """Called by a command: the pool's last report (None: none yet)."""
        return self._report
