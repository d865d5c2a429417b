"""Where a command leaves the size that it wants a live run's evaluator pool to have, and reads the size it has."""

from __future__ import annotations

from dataclasses import dataclass

from actors.evaluators.autoscaling import Bounds


@dataclass(frozen=True)
class PoolReport:
    """``actors``: those that run now; ``bounds``: between which the pool keeps them; ``cpus``: what each takes."""

    actors: int
    bounds: Bounds
    cpus: float


class ScalingDesk:
    """A small Ray actor with a name, so that other processes find it; it ends with the driver that started it."""

    def __init__(self) -> None:
        self._report: PoolReport | None = None
        self._wish: int | None = None

    def exchange(self, report: PoolReport) -> int | None:
        """For the pool: leave its report, take the last size that was asked for (None: none yet)."""
        self._report = report
        return self._wish

    def ask(self, evaluators: int) -> None:
        """For a command: the pool is to have so many actors from its next exchange on."""
        self._wish = evaluators

    def report(self) -> PoolReport | None:
        """For a command: the pool's last report (None: none yet)."""
        return self._report
