"""Child process of ``benchmarks.scheduler``: calls of one async Ray actor that answers at once.

The request is ``{"calls", "in_flight"}``. The result has the fields of a ``RayCallMeasurement`` for each kind of call.
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
from benchmarks.tools.fake_actors import SyntheticAnswers
from benchmarks.tools.processes import serve
from benchmarks.tools.scheduler_report import RayCallMeasurement
from learner.rollout import Completion, Judgement

ANSWERS = 4096
MAX_RESPONSE_TOKENS = 4096
PROMPT_TOKENS = 400


class FakeActor:
    """Fake generator and evaluator in one."""

    def __init__(self) -> None:
        self.answers = SyntheticAnswers.draw(ANSWERS, MAX_RESPONSE_TOKENS, seed=0)

    async def generate(self, request: SampleRequest, number: int) -> Completion:
        return self.answers.make_completion(number, request, 0)

    async def judge(self, text: str, number: int) -> Judgement:
        return self.answers.make_judgement(number, text)

    async def do_nothing(self) -> None:
        return None


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Start Ray and the actor; the work is all calls."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        role: Any = ray.remote(FakeActor).options(max_concurrency=request["in_flight"])
        actor = role.remote()
        ray.get(actor.do_nothing.remote(), timeout=60)
        yield lambda: [asdict(calls) for calls in asyncio.run(measure(actor, request["calls"], request["in_flight"]))]
    finally:
        ray.shutdown()


async def measure(actor: Any, calls: int, in_flight: int) -> list[RayCallMeasurement]:
    """Measure the three kinds of call in turn."""
    prompt = np.arange(PROMPT_TOKENS, dtype=np.int32)
    request = SampleRequest(
        claim=0,
        question_id="problem",
        sample_index=0,
        prompt_token_ids=prompt,
        max_tokens=MAX_RESPONSE_TOKENS,
        temperature=1.0,
        top_p=1.0,
    )
    completion = await actor.generate.remote(request, 0)
    methods: dict[str, Callable[[int], Awaitable[object]]] = {
        "empty": lambda number: actor.do_nothing.remote(),
        "generate": lambda number: actor.generate.remote(request, number),
        "judge": lambda number: actor.judge.remote(completion.text, number),
    }
    return [await measure_calls(name, call, calls, in_flight) for name, call in methods.items()]


async def measure_calls(
    name: str, call: Callable[[int], Awaitable[object]], calls: int, in_flight: int
) -> RayCallMeasurement:
    """Make ``calls`` calls, ``in_flight`` at a time.

    Args:
        name: kind of call.
        call: function that starts the call for one answer number.
        calls: number of calls.
        in_flight: calls in flight at a time.
    """
    semaphore = asyncio.Semaphore(in_flight)

    async def call_when_free(number: int) -> None:
        async with semaphore:
            await call(number % ANSWERS)

    wall = time.perf_counter()
    cpu = time.process_time()
    await asyncio.gather(*(call_when_free(number) for number in range(calls)))
    return RayCallMeasurement(
        method=name,
        calls=calls,
        in_flight=in_flight,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
    )


if __name__ == "__main__":
    serve(open_session)
