"""Calls of one async Ray actor that answers at once; a child of ``benchmarks.scheduler``.

The request is ``{"calls", "in_flight"}``, the result a list of a ``RoundTrips``' fields.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import ray

from actors.generators.actor import SampleRequest
from benchmarks.tools.actor_stand_ins import Drawn
from benchmarks.tools.processes import serve
from benchmarks.tools.scheduler_report import RoundTrips
from learner.rollout import Completion, Judgement

ANSWERS = 4096
LONGEST = 4096
PROMPT_TOKENS = 400


class Answering:
    """Generator and evaluator in one."""

    def __init__(self) -> None:
        self.drawn = Drawn.for_run(ANSWERS, LONGEST, seed=0)

    async def generate(self, request: SampleRequest, number: int) -> Completion:
        return self.drawn.completion(number, request, 0)

    async def judge(self, text: str, number: int) -> Judgement:
        return self.drawn.judgement(number, text)

    async def nothing(self) -> None:
        return None


@contextmanager
def session(request: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """An actor that has answered once."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        role: Any = ray.remote(Answering).options(max_concurrency=request["in_flight"])
        actor = role.remote()
        ray.get(actor.nothing.remote(), timeout=60)
        yield lambda: [asdict(one) for one in asyncio.run(measure(actor, request["calls"], request["in_flight"]))]
    finally:
        ray.shutdown()


async def measure(actor: Any, calls: int, in_flight: int) -> list[RoundTrips]:
    """The three kinds of call in turn."""
    prompt = np.arange(PROMPT_TOKENS, dtype=np.int32)
    asked = SampleRequest(
        question_id="problem", sample_index=0, prompt_token_ids=prompt, max_tokens=LONGEST, temperature=1.0, top_p=1.0
    )
    completion = await actor.generate.remote(asked, 0)
    kinds: dict[str, Callable[[int], Awaitable[object]]] = {
        "empty": lambda number: actor.nothing.remote(),
        "generate": lambda number: actor.generate.remote(asked, number),
        "judge": lambda number: actor.judge.remote(completion.text, number),
    }
    return [await round_trips(name, call, calls, in_flight) for name, call in kinds.items()]


async def round_trips(name: str, call: Callable[[int], Awaitable[object]], calls: int, in_flight: int) -> RoundTrips:
    """``calls`` of them, ``in_flight`` at once."""
    free = asyncio.Semaphore(in_flight)

    async def one(number: int) -> None:
        async with free:
            await call(number % ANSWERS)

    wall = time.perf_counter()
    cpu = time.process_time()
    await asyncio.gather(*(one(number) for number in range(calls)))
    return RoundTrips(
        what=name, calls=calls, in_flight=in_flight, wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu
    )


if __name__ == "__main__":
    serve(session)
