"""Evaluator role: a Ray actor on CPU that judges completions in sandboxes, and the driver's handle to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from actors.evaluators.autoscaling import CALLS_PER_SANDBOX
from actors.log_files import redirect_output
from evaluator.comparison import Policy
from evaluator.evaluator import Evaluator
from evaluator.extraction import extract_code
from evaluator.problem import Problem
from evaluator.sandbox import Limits, SandboxError
from evaluator.verdict import Status, build_verdict_without_tests
from learner.rollout import Judgement

EVALUATOR_RESOURCE = "evaluator"
"""Custom Ray resource, of which each actor takes 1: nodes that may run evaluators declare how many."""


@dataclass(frozen=True, kw_only=True)
class EvaluatorSettings:
    """Settings of one evaluator actor; ``evaluator.Evaluator`` documents each field."""

    limits: Limits
    workers: int
    policy: Policy
    adaptive_timeout: bool
    strict: bool
    all_tests: bool


class EvaluatorActor:
    """Extracts the program from a completion's text and judges it.

    Ray runs ``judge`` concurrently on one event loop; at most ``workers`` programs run at once, the rest queue here.
    """

    def __init__(self, settings: EvaluatorSettings, log_path: Path | None = None) -> None:
        redirect_output(log_path)
        self.all_tests = settings.all_tests
        self.evaluator = Evaluator(
            settings.limits,
            settings.workers,
            policy=settings.policy,
            strict=settings.strict,
            adaptive_timeout=settings.adaptive_timeout,
        )

    async def start(self) -> tuple[str, ...]:
        """Warm a sandbox; return the names of the isolation mechanisms that this host does not support."""
        return await asyncio.get_running_loop().run_in_executor(None, lambda: self.evaluator.missing)

    async def judge(self, problem: Problem, text: str) -> Judgement:
        """Judge the program in ``text``. If a sandbox or the parser fails twice, the status is ``sandbox_error``."""
        # In a thread: it waits for the process that parses, and other calls must go on meanwhile.
        try:
            extraction = await asyncio.to_thread(extract_code, text, problem.func_name)
        except SandboxError as error:
            verdict = build_verdict_without_tests(Status.SANDBOX_ERROR, str(error), len(problem.tests))
            return Judgement(verdict=verdict, code=None, incomplete=False, seconds=0.0)
        verdict = await asyncio.wrap_future(self.evaluator.submit(problem, extraction.code, all_tests=self.all_tests))
        return Judgement(
            verdict=verdict, code=extraction.code, incomplete=extraction.is_incomplete, seconds=verdict.seconds
        )

    async def ping(self) -> None:
        """Return at once, which shows that the event loop is running."""

    async def process_ids(self) -> list[int]:
        """Return this actor's process id, in a list as for all roles; its sandboxes end with this process."""
        return [os.getpid()]

    async def stop(self) -> None:
        """Stop the sandboxes."""
        await asyncio.get_running_loop().run_in_executor(None, self.evaluator.close)


class EvaluatorHandle:
    """Driver's handle to one actor, which is pending until a node has ``cpus`` CPUs and one ``evaluator`` free."""

    def __init__(self, settings: EvaluatorSettings, cpus: float, log_path: Path | None = None) -> None:
        role: Any = ray.remote(EvaluatorActor).options(
            num_cpus=cpus,
            resources={EVALUATOR_RESOURCE: 1},
            scheduling_strategy="SPREAD",
            # Room for the pool's calls, for as many cancelled ones that have not ended yet, and for pings.
            max_concurrency=2 * CALLS_PER_SANDBOX * settings.workers + 4,
        )
        self.actor: Any = role.remote(settings, log_path)

    def start(self) -> Awaitable[tuple[str, ...]]:
        """Call ``EvaluatorActor.start``."""
        reference: Awaitable[tuple[str, ...]] = self.actor.start.remote()
        return reference

    async def judge(self, problem: Any, text: str) -> Judgement:
        """Call ``EvaluatorActor.judge``; ``problem`` is an object reference. Cancelling it cancels the call."""
        reference: Any = self.actor.judge.remote(problem, text)
        try:
            judgement: Judgement = await reference
        except asyncio.CancelledError:
            ray.cancel(reference)
            raise
        return judgement

    def ping(self) -> Awaitable[None]:
        """Call ``EvaluatorActor.ping``, to which a live actor answers at once."""
        reference: Awaitable[None] = self.actor.ping.remote()
        return reference

    def stop(self) -> Awaitable[None]:
        """Call ``EvaluatorActor.stop``."""
        reference: Awaitable[None] = self.actor.stop.remote()
        return reference

    def kill(self) -> None:
        """End the actor's process, and its sandboxes with it. No effect if it is dead already."""

        ray.kill(self.actor)
