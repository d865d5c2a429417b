"""Autoscaling of an evaluator pool: its target size as a pure function of its load, with hysteresis.

    more calls than the actors can hold (CALLS_PER_SANDBOX each) ──► grow at once, until they can hold all calls
    one actor fewer could run all calls, for IDLE_S seconds ───────► shrink by one, and restart the clock

Hysteresis: when a pool has shrunk, twice its calls would still fit, so it does not grow again at once. A pause shorter
than IDLE_S, as between two sampling phases, does not change the size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

IDLE_S = 60.0
"""Seconds for which an actor must be unneeded before the pool shrinks: starting an actor takes seconds."""
CALLS_PER_SANDBOX = 2
"""Calls assigned to an actor per sandbox: the one that runs, and the next, so that the sandbox never waits for it."""


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest number of actors; equal for a pool of fixed size."""

    minimum: int
    maximum: int


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """Load and size of a pool at one moment.

    Attributes:
        queue: calls that wait in the pool's queue.
        busy: calls that are assigned to actors.
        actors: actors that run or are starting.
        idle_s: seconds since the pool last needed all its actors (see ``has_spare_actor``) or changed its size.
    """

    queue: int
    busy: int
    actors: int
    idle_s: float


def has_spare_actor(state: PoolState, sandboxes: int) -> bool:
    """Return True if one actor fewer could run all calls, each in its own sandbox (``sandboxes`` per actor)."""
    return state.queue == 0 and state.busy <= (state.actors - 1) * sandboxes


def compute_target_size(state: PoolState, bounds: Bounds, sandboxes: int) -> int:
    """Return the number of actors that the pool should have, within ``bounds``; ``sandboxes`` is per actor."""
    target = state.actors
    if state.queue > 0:
        target = max(target, math.ceil((state.queue + state.busy) / (CALLS_PER_SANDBOX * sandboxes)))
    elif has_spare_actor(state, sandboxes) and state.idle_s >= IDLE_S:
        target -= 1
    return min(max(target, bounds.minimum), bounds.maximum)
