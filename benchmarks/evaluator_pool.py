"""What the pool costs or saves against handing everything to the actors at once, each call with a copy of its problem.

    python -m benchmarks.evaluator_pool [--rounds N]

Both sides judge with one actor of 2 sandboxes, alternating, in one run:

- *short*: 400 programs that take no time, for one small problem: what queueing in the driver costs.
- *large*: 48 of them for one problem with tests of 8 MB: what one shared copy saves.

On the large problem the first test decides (its expected output is wrong), so that the problem's way is measured.
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

from actors.evaluators.actor import RESOURCE, EvaluatorActor, EvaluatorHandle, EvaluatorSettings
from actors.evaluators.autoscaling import Bounds
from actors.evaluators.pool import EvaluatorPool, call_deadline_s
from actors.evaluators.roster import PoolTimeouts
from actors.lifecycle import stop_all
from actors.waiting import gather
from evaluator.problem import Problem, ProblemTest
from evaluator.sandbox import Limits
from learner.rollout import Judgement

SETTINGS = EvaluatorSettings(limits=Limits(), workers=2, policy="judge", adaptive_timeout=False, strict=False)
DEADLINE_S = 600.0
PROGRAM = "```python\nprint(sum(map(int, input().split())))\n```"
Judge = Callable[[Problem, str], Awaitable[Judgement]]


def problem(*tests: ProblemTest) -> Problem:
    return Problem(
        question_id="sum",
        question_title="Sum",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=tests,
        private_tests=(),
    )


SHORT = problem(*(ProblemTest(f"{number} 1\n", f"{number + 1}\n") for number in range(3)))
LARGE = problem(ProblemTest("1 1\n", "3\n"), *(ProblemTest("0 " * 500_000, "0\n") for _ in range(8)))


async def seconds(judge: Judge, one: Problem, calls: int) -> tuple[float, list[str]]:
    """Wall seconds until all are judged, and the verdicts' statuses."""
    began = time.monotonic()
    waits = {str(number): judge(one, PROGRAM) for number in range(calls)}
    judgements = await gather(waits, "judging", DEADLINE_S)
    return time.monotonic() - began, [str(judgement.verdict.status) for judgement in judgements]


async def compare(sides: dict[str, Judge], one: Problem, calls: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, by round; the sides alternate in who is first."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    verdicts: set[tuple[str, ...]] = set()
    for each in range(rounds):
        for name in sorted(sides, reverse=bool(each % 2)):
            took, statuses = await seconds(sides[name], one, calls)
            found[name].append(took)
            verdicts.add(tuple(statuses))
    assert len(verdicts) == 1, "the two sides judged differently"
    return found


async def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Both parts, each side on an actor of its own that rests meanwhile."""
    role: Any = ray.remote(EvaluatorActor).options(num_cpus=1, max_concurrency=1000)
    actor = role.remote(SETTINGS)
    pool = EvaluatorPool(
        lambda: EvaluatorHandle(SETTINGS, 1),
        sandboxes=SETTINGS.workers,
        cpus=1,
        bounds=Bounds(1, 1),
        timeouts=PoolTimeouts(call_s=call_deadline_s(SETTINGS), start_s=DEADLINE_S),
    )
    try:
        await pool.start(DEADLINE_S)
        await gather({"the other": actor.start.remote()}, "starting", DEADLINE_S)

        async def at_once(one: Problem, text: str) -> Judgement:
            judgement: Judgement = await actor.judge.remote(one, text)
            return judgement

        sides: dict[str, Judge] = {"pool": pool.judge, "at once": at_once}
        for judge in sides.values():
            await seconds(judge, SHORT, 50)
        return {
            "short": await compare(sides, SHORT, 400, rounds),
            "large": await compare(sides, LARGE, 48, rounds),
        }
    finally:
        await pool.stop()
        stop_all([actor, *pool.actors])


def main(rounds: Annotated[int, typer.Option(help="rounds of each part")] = 5) -> None:
    """Print the table, then the figures as JSON."""
    ray.init(address="local", num_cpus=2, resources={RESOURCE: 1}, object_store_memory=2**29, log_to_driver=False)
    logging.basicConfig(level=logging.WARNING)
    try:
        found = asyncio.run(measure(rounds))
    finally:
        ray.shutdown()
    report: dict[str, Any] = {}
    table = Table("part", "at once, s", "pool, s", "at once / pool", "by round")
    for part, sides in found.items():
        ratios = [other / ours for other, ours in zip(sides["at once"], sides["pool"], strict=True)]
        row = {name: round(median(values), 3) for name, values in sides.items()}
        report[part] = row | {"ratio": round(median(ratios), 3), "ratios": [round(ratio, 3) for ratio in ratios]}
        table.add_row(part, str(row["at once"]), str(row["pool"]), f"{median(ratios):.2f}", str(report[part]["ratios"]))
    Console().print(table)
    print(json.dumps(report))


if __name__ == "__main__":
    typer.run(main)
