"""Time to judge a run's programs when nothing else runs.

This is the time that a step would spend after generation if judging were not streamed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from benchmarks.tools.trainer_run import TrainerRun
from evaluator import Evaluator, Limits, Problem


def time_judging_afterwards(run: TrainerRun, problems: Mapping[str, Problem]) -> list[float]:
    """Judge a run's programs again and return the seconds of each step but the first.

    The run's limits and number of workers apply. One evaluator judges all steps in order, so that its adaptive limits
    develop as they did in the run.
    """
    seconds = []
    adaptive = run.config["evaluator"]["adaptive_timeout"]
    with Evaluator(Limits(**run.limits), run.workers, adaptive_timeout=adaptive) as evaluator:
        for rows in run.rollouts:
            began = time.monotonic()
            asyncio.run(evaluator.evaluate_many([(problems[row["question_id"]], row["code"]) for row in rows]))
            seconds.append(time.monotonic() - began)
    return seconds[1:]
