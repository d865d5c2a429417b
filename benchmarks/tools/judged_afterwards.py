"""What judging a run's programs takes when nothing else runs: what would follow generation if it were not streamed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from benchmarks.tools.trainer_run import TrainerRun
from evaluator import Evaluator, Limits, Problem


def judged_afterwards(run: TrainerRun, problems: Mapping[str, Problem]) -> list[float]:
    """Seconds for each step's programs but the first step's, with the run's own limits and number of workers.

    The steps are judged in order by one evaluator, so that adaptive limits are known as they were in the run.
    """
    seconds = []
    adaptive = run.config["evaluator"]["adaptive_timeout"]
    with Evaluator(Limits(**run.limits), run.workers, adaptive_timeout=adaptive) as evaluator:
        for rows in run.rollouts:
            began = time.monotonic()
            asyncio.run(evaluator.evaluate_many([(problems[row["question_id"]], row["code"]) for row in rows]))
            seconds.append(time.monotonic() - began)
    return seconds[1:]
