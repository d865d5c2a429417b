"""The end of actors: asked to stop, then killed."""

from __future__ import annotations

from collections.abc import Sequence

import ray
from ray.actor import ActorHandle

STOP_DEADLINE_S = 20.0


def stop_all(actors: Sequence[ActorHandle]) -> None:
    """Ask every actor to stop, then end whatever has not, after a deadline. Never raises for a dead actor."""
    references: list[ray.ObjectRef] = [actor.stop.remote() for actor in actors]
    ray.wait(references, num_returns=len(references), timeout=STOP_DEADLINE_S)
    for actor in actors:
        ray.kill(actor)
