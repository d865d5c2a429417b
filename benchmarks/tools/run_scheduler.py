"""Child process of ``benchmarks.scheduler``: the training loop on the fake actors of ``fake_actors``.

The request has the fields of a ``LoopSettings``, the result those of a ``LoopMeasurement``.
"""

from __future__ import annotations

import asyncio
import functools
import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console

import launch.training.metrics
import launch.training.step_outcome
import launch.training.train
from benchmarks.tools.fake_actors import (
    DEADLINE_S,
    EOS_TOKEN_ID,
    FakeActorState,
    FakeLearner,
    FakeTransfer,
    SyntheticAnswers,
    build_evaluator_pool,
    build_generator_pool,
)
from benchmarks.tools.memory import trim_heap
from benchmarks.tools.problems import build_problem
from benchmarks.tools.processes import serve
from benchmarks.tools.scheduler_report import FAKE_ACTORS, LoopMeasurement, LoopSettings
from conf.schema import Config
from evaluator.problem import ProblemTest
from launch.composition import compose_config
from launch.problems.prompts import PromptedProblem
from launch.records.display import Display
from launch.records.run_directory import RunDirectory
from launch.records.run_records import RunRecords
from launch.records.timeline import Timeline
from launch.training.learner_client import LearnerClient
from launch.training.run import Run
from launch.training.start import make_sampler

PROBLEMS = 24_000
PROMPT_TOKENS = 400
UPDATE_S = 2.0  # of an update, if the fake actors take time
TIMER_INTERVAL_S = 0.01


class FunctionProfiler:
    """Self time of functions by component: wall seconds, and CPU seconds of their thread.

    ``seconds`` has [wall, CPU] seconds by component, without the time of other profiled functions called inside.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.local = threading.local()

    def wrap(self, owner: Any, name: str, component: str) -> None:
        """Replace the plain function ``owner.name`` by one that adds its time to ``component``.

        The functions of a component must not run in several threads at a time.

        Raises:
            AttributeError: there is no such function.
        """
        function = getattr(owner, name)
        component_seconds = self.seconds.setdefault(component, [0.0, 0.0])

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            # A stack per thread: the [wall, CPU] seconds of profiled functions called inside each running one.
            nested: list[list[float]] = self.local.__dict__.setdefault("nested", [[0.0, 0.0]])
            nested.append([0.0, 0.0])
            wall = time.perf_counter()
            cpu = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                total = [time.perf_counter() - wall, time.thread_time() - cpu]
                inner = nested.pop()
                outer = nested[-1]
                for clock in (0, 1):
                    component_seconds[clock] += total[clock] - inner[clock]
                    outer[clock] += total[clock]

        setattr(owner, name, timed)


def profile_driver() -> FunctionProfiler:
    """Profile the driver's per-step work, and separately the fake actors' share."""
    profiler = FunctionProfiler()
    for owner, name, component in (
        (launch.training.step_outcome, "assign_credit", "crediting"),
        (launch.training.step_outcome, "build_train_batch", "train batch"),
        (launch.training.metrics, "rollout_metrics", "metrics"),
        (launch.training.step_outcome, "distinct_ngram_ratio", "diversity"),
        (RunDirectory, "write_rollouts", "rollout file"),
        (SyntheticAnswers, "make_completion", FAKE_ACTORS),
        (SyntheticAnswers, "make_judgement", FAKE_ACTORS),
    ):
        profiler.wrap(owner, name, component)
    return profiler


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """Build a run and its fake actors; the work is the training loop."""
    settings = LoopSettings(**request)
    with tempfile.TemporaryDirectory(prefix="bench-run-") as root:
        config = build_config(settings, root)
        count = settings.groups * config.algorithm.group_size * settings.steps
        answers = SyntheticAnswers.draw(count, config.generator.max_response_tokens, seed=0)
        state = FakeActorState(answers=answers, timed=settings.timed)
        transfer = FakeTransfer(state)
        run = build_run(config, settings, state, transfer)
        yield lambda: asdict(asyncio.run(measure_loop(run, state, transfer)))


def build_config(settings: LoopSettings, root: str) -> Config:
    """Build the configuration of the ``lcb_v6`` run at the size of ``settings``, with its files in ``root``."""
    overrides = [
        "+experiment=lcb_v6",
        f"run.root={root}",
        "run.name=scheduler",
        "run.checkpoint_every=1000000",
        f"run.steps={settings.steps}",
        "temperature.kind=fixed",
        "evaluation.samples=0",
        "evaluation.every=0",
        "evaluator.workers=1",
        f"algorithm.train_batch_size={settings.groups}",
        f"algorithm.mini_batch_size={settings.groups}",
        f"algorithm.max_staleness={settings.max_staleness}",
    ]
    return compose_config(*overrides)


def build_run(config: Config, settings: LoopSettings, state: FakeActorState, transfer: Any) -> Run:
    """Build a run for ``launch.training.train`` with the real pools and fake actors.

    Args:
        config: configuration.
        settings: size of the run.
        state: state of the fake actors.
        transfer: fake weight transfer.
    """
    directory = RunDirectory(config)
    display = Display(Console(file=io.StringIO()), config.run.steps, 0)
    learner: Any = FakeLearner(UPDATE_S if settings.timed else 0.0)
    generators = build_generator_pool(settings.generators, state)
    return Run(
        config=config,
        sampler=make_sampler(
            config, generators, build_evaluator_pool(settings.evaluators, config.evaluator.workers, state)
        ),
        learner=LearnerClient(
            learner=learner,
            transfer=transfer,
            generators=generators,
            display=display,
            version=0,
            deadline_s=config.learner.deadline_s,
        ),
        training=[build_prompted_problem(index) for index in range(PROBLEMS)],
        held_out=(),
        end_token_ids=frozenset({EOS_TOKEN_ID}),
        records=RunRecords(
            directory=directory,
            display=display,
            timeline=Timeline(directory.path),
            tensorboard=None,
            report=None,
        ),
        resumed=None,
    )


def build_prompted_problem(index: int) -> PromptedProblem:
    """Build a problem with a prompt of ``PROMPT_TOKENS`` tokens and a trivial test."""
    problem = build_problem(f"problem-{index}", ProblemTest("1\n", "1\n"))
    text = f"Question {index}: " + "what is asked for, " * 80
    return PromptedProblem(problem, np.arange(PROMPT_TOKENS, dtype=np.int32), (("user", text),))


async def measure_loop(run: Run, state: FakeActorState, transfer: FakeTransfer) -> LoopMeasurement:
    """Measure the training loop, from the first claim to the last step's metrics.

    Starting and stopping the pools is not measured.

    Args:
        run: run with fake actors.
        state: state of the fake actors.
        transfer: fake weight transfer of the run.
    """
    await run.sampler.generators.start(DEADLINE_S)
    await run.sampler.evaluators.start(DEADLINE_S)
    profiler = profile_driver()
    trim_heap()
    lateness: list[float] = []
    timer = asyncio.create_task(record_lateness(lateness))
    wall = time.perf_counter()
    cpu = time.process_time()
    await launch.training.train.train(run)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    timer.cancel()
    run.sampler.generators.close()
    await run.sampler.evaluators.stop()
    rows = run.records.directory.read_metrics()
    return LoopMeasurement(
        completions=round(sum(row["group/trained"] for row in rows)) * run.config.algorithm.group_size,
        tokens=round(sum(row["perf/throughput"] * row["timing_s/step"] for row in rows)),
        wall_s=wall,
        cpu_s=cpu,
        component_wall_s={component: seconds[0] for component, seconds in profiler.seconds.items()},
        component_cpu_s={component: seconds[1] for component, seconds in profiler.seconds.items()},
        peaks=transfer.peaks[1:],
        handovers=np.percentile(state.handovers, [50, 99, 100]).tolist() if state.timed else [],
        lateness=np.percentile(lateness, [50, 99, 100]).tolist(),
    )


async def record_lateness(lateness: list[float]) -> None:
    """Append, again and again, the seconds by which the event loop is late for a timer."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(TIMER_INTERVAL_S)
        lateness.append(time.monotonic() - began - TIMER_INTERVAL_S)


if __name__ == "__main__":
    serve(open_session)
