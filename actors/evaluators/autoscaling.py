"""How many evaluator actors a pool is to have: a pure function of its load, with hysteresis.

    in hand, at most 2 x sandboxes an actor ──► more waits: grow, at once, to what has it all in hand
    fewer busy than one actor fewer could run, for IDLE_S ──► shrink by one; then the clock starts again

Between the two lies the hysteresis: what one actor fewer has in its sandboxes would not make it grow again, even twice
that would not. And a pool keeps its size through a pause shorter than IDLE_S, as between two samplings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

IDLE_S = 60.0
"""Seconds a pool must have had an actor to spare before it gives one up: starting one takes seconds."""
IN_HAND = 2
"""Calls per sandbox that an actor is given at once: the one that runs, and the next, at hand when that ends."""


@dataclass(frozen=True)
class Bounds:
    """Fewest and most actors; equal for a fixed pool."""

    least: int
    most: int


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """``queue``: calls that wait in the pool; ``busy``: calls with actors; ``actors``: those that run or are starting.

    ``idle_s``: seconds since the pool last had no actor to spare (``has_spare``), or last changed its size.
    """

    queue: int
    busy: int
    actors: int
    idle_s: float


def has_spare(state: PoolState, sandboxes: int) -> bool:
    """Could one actor fewer run all there is, each call in a sandbox of its own?"""
    return state.queue == 0 and state.busy <= (state.actors - 1) * sandboxes


def wanted_actors(state: PoolState, bounds: Bounds, sandboxes: int) -> int:
    """How many actors the pool is to have, of ``sandboxes`` each; always within ``bounds``."""
    wanted = state.actors
    if state.queue > 0:
        wanted = max(wanted, math.ceil((state.queue + state.busy) / (IN_HAND * sandboxes)))
    elif has_spare(state, sandboxes) and state.idle_s >= IDLE_S:
        wanted -= 1
    return min(max(wanted, bounds.least), bounds.most)
