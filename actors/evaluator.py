"""The evaluator role: judges completions in sandboxes, several at a time, in a Ray actor on CPU resources."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

from evaluator.evaluate import Evaluator
from evaluator.extraction import extract_code
from evaluator.problem import Problem
from evaluator.sandbox import Limits
from learner.rollout import Judgement


class EvaluatorActor:
    """Extracts the program from a completion's text and judges it.

    Ray runs ``judge`` concurrently on one event loop; at most ``workers`` programs run at once, the rest queue here.
    """

    def __init__(self, limits: Limits, workers: int) -> None:
        self.evaluator = Evaluator(limits, workers=workers)
        self.threads = ThreadPoolExecutor(workers, thread_name_prefix="judge")

    async def judge(self, problem: Problem, text: str) -> Judgement:
        """Judge the program in ``text``; a sandbox that fails twice gives status ``sandbox_error``."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, self._judge, problem, text)

    def _judge(self, problem: Problem, text: str) -> Judgement:
        extraction = extract_code(text, problem.func_name)
        started = time.monotonic()
        verdict = self.evaluator.evaluate(problem, extraction.code)
        return Judgement(verdict, extraction.code, extraction.incomplete, time.monotonic() - started)

    async def processes(self) -> list[int]:
        """Process id of this actor; its sandboxes end with it."""
        return [os.getpid()]

    async def stop(self) -> None:
        """End the sandboxes."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.evaluator.close()
