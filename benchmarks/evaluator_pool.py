"""Compare the evaluator pool with direct actor calls, sent all at once and each with its own copy of the problem.

    python -m benchmarks.evaluator_pool [--rounds N]

Both sides judge with one actor of 2 sandboxes, alternating, in one run. There are two workloads:

- *short*: 400 programs that take no time, for one small problem. Measures the cost of the pool's queue in the driver.
- *large*: 48 such programs for one problem with 8 MB of tests. Measures the gain of one shared copy of the problem.

The first test of the large problem fails on purpose (its expected output is wrong), so that the time is that of sending
the problem and not of running its tests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Annotated, Any

import ray
import typer
from rich.console import Console
from rich.table import Table

from actors.evaluators.actor import EVALUATOR_RESOURCE, EvaluatorActor, EvaluatorHandle, EvaluatorSettings
from actors.evaluators.autoscaling import Bounds
from actors.evaluators.members import PoolTimeouts
from actors.evaluators.pool import EvaluatorPool, compute_call_deadline
from actors.lifecycle import stop_all
from actors.waiting import gather
from benchmarks.tools.problems import build_problem
from evaluator.problem import Problem, ProblemTest
from evaluator.sandbox import Limits
from learner.rollout import Judgement

SETTINGS = EvaluatorSettings(
    limits=Limits(), workers=2, policy="judge", adaptive_timeout=False, strict=False, all_tests=False
)
DEADLINE_S = 600.0
SHORT_CALLS = 400
LARGE_CALLS = 48
PROGRAM = "```python\nprint(sum(map(int, input().split())))\n```"
Judge = Callable[[Problem, str], Awaitable[Judgement]]


SHORT_PROBLEM = build_problem("sum", *(ProblemTest(f"{number} 1\n", f"{number + 1}\n") for number in range(3)))
LARGE_PROBLEM = build_problem(
    "sum", ProblemTest("1 1\n", "3\n"), *(ProblemTest("0 " * 500_000, "0\n") for _ in range(8))
)


async def time_judging(judge: Judge, problem: Problem, calls: int) -> tuple[float, list[str]]:
    """Judge the program ``calls`` times; return the total wall time in seconds and the status of each verdict."""
    began = time.monotonic()
    awaitables = {str(number): judge(problem, PROGRAM) for number in range(calls)}
    judgements = await gather(awaitables, "judging", DEADLINE_S)
    return time.monotonic() - began, [str(judgement.verdict.status) for judgement in judgements]


async def compare_sides(sides: dict[str, Judge], problem: Problem, calls: int, rounds: int) -> dict[str, list[float]]:
    """Time both sides on a workload; the side that starts alternates.

    Args:
        sides: judging functions by name.
        problem: problem to judge for.
        calls: programs per round.
        rounds: rounds.

    Returns:
        Wall seconds of each round, by side.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    verdicts: set[tuple[str, ...]] = set()
    for round_number in range(rounds):
        for name in sorted(sides, reverse=bool(round_number % 2)):
            round_seconds, statuses = await time_judging(sides[name], problem, calls)
            seconds[name].append(round_seconds)
            verdicts.add(tuple(statuses))
    assert len(verdicts) == 1, "the pool and direct calls gave different verdicts"
    return seconds


async def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Time both workloads; each side has its own actor, which is idle while the other side runs.

    Returns:
        Wall seconds of each round, by workload and side.
    """
    actor_class: Any = ray.remote(EvaluatorActor).options(num_cpus=1, max_concurrency=1000)
    actor = actor_class.remote(SETTINGS)
    pool = EvaluatorPool(
        lambda name: EvaluatorHandle(SETTINGS, 1),
        sandboxes=SETTINGS.workers,
        cpus=1,
        bounds=Bounds(1, 1),
        timeouts=PoolTimeouts(call_s=compute_call_deadline(SETTINGS), start_s=DEADLINE_S),
    )
    try:
        await pool.start(DEADLINE_S)
        await gather({"direct actor": actor.start.remote()}, "starting", DEADLINE_S)

        async def judge_directly(problem: Problem, text: str) -> Judgement:
            judgement: Judgement = await actor.judge.remote(problem, text)
            return judgement

        sides: dict[str, Judge] = {"pool": pool.judge, "at once": judge_directly}
        for judge in sides.values():
            await time_judging(judge, SHORT_PROBLEM, 50)  # warm-up
        return {
            "short": await compare_sides(sides, SHORT_PROBLEM, SHORT_CALLS, rounds),
            "large": await compare_sides(sides, LARGE_PROBLEM, LARGE_CALLS, rounds),
        }
    finally:
        await pool.stop()
        stop_all([actor, *pool.actors])


def main(rounds: Annotated[int, typer.Option(help="rounds of each workload")] = 5) -> None:
    """Compare the evaluator pool with direct actor calls."""
    ray.init(
        address="local", num_cpus=2, resources={EVALUATOR_RESOURCE: 1}, object_store_memory=2**29, log_to_driver=False
    )
    logging.basicConfig(level=logging.WARNING)
    try:
        seconds = asyncio.run(measure(rounds))
    finally:
        ray.shutdown()
    report: dict[str, Any] = {}
    table = Table(
        *("workload", "direct calls s", "pool s", "direct calls / pool", "direct calls / pool by round"),
        title="Evaluator pool against direct actor calls sent at once: median seconds",
    )
    for workload, sides in seconds.items():
        ratios = [direct / pool for direct, pool in zip(sides["at once"], sides["pool"], strict=True)]
        medians = {name: round(median(values), 3) for name, values in sides.items()}
        rounded_ratios = [round(ratio, 3) for ratio in ratios]
        report[workload] = medians | {"ratio": round(median(ratios), 3), "ratios": rounded_ratios}
        table.add_row(
            *(workload, str(medians["at once"]), str(medians["pool"]), f"{median(ratios):.2f}", str(rounded_ratios))
        )
    Console().print(table)
    print(json.dumps(report))


if __name__ == "__main__":
    typer.run(main)
