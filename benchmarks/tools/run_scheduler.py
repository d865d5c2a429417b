"""The training loop on ``actor_stand_ins``; a child of ``benchmarks.scheduler``.

The request is a ``Setting``'s fields, the result those of a ``DriverRun``.
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
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console

import launch.training.run
import launch.training.train
from benchmarks.tools.actor_stand_ins import (
    DEADLINE_S,
    END,
    Drawn,
    Learner,
    Play,
    Transfer,
    evaluator_pool,
    generator_pool,
)
from benchmarks.tools.memory import give_back
from benchmarks.tools.processes import serve
from benchmarks.tools.scheduler_report import STAND_INS, DriverRun, Setting
from conf.schema import Config
from evaluator.problem import Problem, ProblemTest
from launch.composition import compose_config
from launch.problems.prompts import PromptedProblem
from launch.records.display import Display
from launch.records.run_directory import RunDirectory
from launch.records.timeline import Timeline
from launch.training.policy import Weights
from launch.training.run import Run

PROBLEMS = 24_000
PROMPT_TOKENS = 400
UPDATE_S = 2.0  # where times are drawn
NAP_S = 0.01


class Stopwatch:
    """Wall seconds, and CPU seconds of their thread, spent in functions, by part, without those of parts inside."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.local = threading.local()

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count what ``owner.name``, a plain function, takes. Raises AttributeError where there is none.

        The functions of a part must all run in one thread at a time.
        """
        function = getattr(owner, name)
        spent = self.spent.setdefault(part, [0.0, 0.0])

        @functools.wraps(function)
        def watched(*arguments: Any, **options: Any) -> Any:
            inner: list[list[float]] = self.local.__dict__.setdefault("inner", [[0.0, 0.0]])
            inner.append([0.0, 0.0])
            wall = time.perf_counter()
            cpu = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                took = [time.perf_counter() - wall, time.thread_time() - cpu]
                within = inner.pop()
                outer = inner[-1]
                for place in (0, 1):
                    spent[place] += took[place] - within[place]
                    outer[place] += took[place]

        setattr(owner, name, watched)


def watch_driver() -> Stopwatch:
    """A watch over what the loop does with the completions of a step, and over the stand-ins."""
    stopwatch = Stopwatch()
    for owner, name, part in (
        (launch.training.run, "credit_step", "crediting"),
        (launch.training.train, "train_batch", "train batch"),
        (launch.training.train, "rollout_metrics", "metrics"),
        (launch.training.train, "distinct_ngrams", "diversity"),
        (RunDirectory, "write_rollouts", "rollout file"),
        (Drawn, "completion", STAND_INS),
        (Drawn, "judgement", STAND_INS),
    ):
        stopwatch.watch(owner, name, part)
    return stopwatch


@contextmanager
def session(request: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """All that a run needs but the loop."""
    setting = Setting(**request)
    with tempfile.TemporaryDirectory(prefix="bench-run-") as root:
        config = configuration(setting, root)
        count = setting.groups * config.algorithm.group_size * setting.steps
        play = Play(drawn=Drawn.for_run(count, config.generator.max_response_tokens, seed=0), timed=setting.timed)
        transfer = Transfer(play)
        run = build_run(config, setting, play, transfer)
        yield lambda: asdict(asyncio.run(measure(run, play, transfer)))


def configuration(setting: Setting, root: str) -> Config:
    """The reference run's, at the size of ``setting``."""
    overrides = [
        "+experiment=lcb_v6",
        f"run.root={root}",
        "run.name=scheduler",
        "run.checkpoint_every=1000000",
        f"run.steps={setting.steps}",
        "temperature.kind=fixed",
        "evaluation.samples=0",
        "evaluation.every=0",
        "evaluator.workers=1",
        f"algorithm.train_batch_size={setting.groups}",
        f"algorithm.mini_batch_size={setting.groups}",
        f"algorithm.max_staleness={setting.max_staleness}",
    ]
    return compose_config(*overrides)


def build_run(config: Config, setting: Setting, play: Play, transfer: Any) -> Run:
    """A run of ``launch.training.train`` whose actors are stand-ins, in the real pools."""
    directory = RunDirectory(config)
    display = Display(Console(file=io.StringIO()), config.run.steps, 0)
    learner: Any = Learner(UPDATE_S if setting.timed else 0.0)
    generators = generator_pool(setting.generators, play)
    return Run(
        config=config,
        generators=generators,
        evaluators=evaluator_pool(setting.evaluators, config.evaluator.workers, play),
        learner=learner,
        weights=Weights(learner, transfer, generators, display, 0),
        training=[prompted(index) for index in range(PROBLEMS)],
        held_out=(),
        directory=directory,
        display=display,
        tokenizer=SimpleNamespace(eos_token_id=END),
        resumed=None,
        timeline=Timeline(directory.path),
        writer=None,
    )


def prompted(index: int) -> PromptedProblem:
    """A problem of which the driver needs no more than its prompt."""
    tests = (ProblemTest("1\n", "1\n"),)
    problem = Problem(
        question_id=f"problem-{index}",
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=tests,
        private_tests=(),
    )
    text = f"Question {index}: " + "what is asked for, " * 80
    return PromptedProblem(problem, np.arange(PROMPT_TOKENS, dtype=np.int32), (("user", text),))


async def measure(run: Run, play: Play, transfer: Transfer) -> DriverRun:
    """The whole loop: from the first claim to the last step's metrics. The pools start before, and stop after."""
    await run.generators.start(DEADLINE_S)
    await run.evaluators.start(DEADLINE_S)
    stopwatch = watch_driver()
    give_back()
    lateness: list[float] = []
    napping = asyncio.create_task(nap(lateness))
    wall = time.perf_counter()
    cpu = time.process_time()
    await launch.training.train.train(run)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    napping.cancel()
    run.generators.close()
    await run.evaluators.stop()
    rows = run.directory.metrics()
    return DriverRun(
        completions=round(sum(row["group/trained"] for row in rows)) * run.config.algorithm.group_size,
        tokens=round(sum(row["perf/throughput"] * row["timing_s/step"] for row in rows)),
        wall_s=wall,
        cpu_s=cpu,
        parts_wall={part: spent[0] for part, spent in stopwatch.spent.items()},
        parts_cpu={part: spent[1] for part, spent in stopwatch.spent.items()},
        peaks=transfer.peaks[1:],
        handovers=np.percentile(play.handovers, [50, 99, 100]).tolist() if play.timed else [],
        lateness=np.percentile(lateness, [50, 99, 100]).tolist(),
    )


async def nap(lateness: list[float]) -> None:
    """By how many seconds the loop is late for whoever has something to do."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(NAP_S)
        lateness.append(time.monotonic() - began - NAP_S)


if __name__ == "__main__":
    serve(session)
