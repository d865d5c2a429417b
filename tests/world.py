"""The training loop on actors that are none: in one process, without engines, sandboxes or a model."""

import asyncio
import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
from rich.console import Console

from actors.activity import Activity
from actors.evaluators.load import EvaluatorLoad
from actors.weights.transfer import Publication
from evaluator.verdict import Status
from launch.problems.prompts import PromptedProblem
from launch.records.display import Display
from launch.records.run_directory import RunDirectory
from launch.records.timeline import Timeline
from launch.training.driver_state import resumed_state
from launch.training.policy import Weights
from launch.training.run import Run
from launch.training.train import train
from learner.checkpoint import TRAINER
from learner.rollout import Judgement
from tests.factories import completion, config, problem, update_result, verdict

SMALL = (
    "run.name=r",
    "run.tensorboard=false",
    "run.checkpoint_every=10",
    "evaluation.samples=0",
    "algorithm.group_size=4",
    "algorithm.train_batch_size=2",
    "algorithm.mini_batch_size=2",
)


class Killed(BaseException):
    """Stands for kill -9: nothing of the run may handle it."""


class World:
    """Generators, evaluators, learner and weight transfer in one.

    Of the four answers to a problem ``distinct(temperature, version)`` are different: D is a fourth of that, a 4-gram
    each. An answer is right at temperatures up to 1.2.
    """

    def __init__(self, distinct, kill_at=None):
        self.distinct = distinct
        self.kill_at = kill_at
        self.version = 0
        self.temperatures = []
        self.names = ["learner rank 0"]
        self.live = {"generator 0": self}
        self.activity = Activity()
        self.restarts = self.retried = 0

    async def publish(self, version):
        self.version = version
        return Publication(version=version, bytes=1000, write_seconds=0.0, load_seconds=0.0, dropped={})

    async def generate(self, request):
        self.temperatures.append(request.temperature)
        kind = min(request.sample_index, self.distinct(request.temperature, self.version) - 1)
        return completion(
            (11 + kind, 12, 13, 14, 2),
            question_id=request.question_id,
            sample_index=request.sample_index,
            temperature=request.temperature,
            policy_versions=np.full(5, self.version, dtype=np.int32),
            text="right" if request.temperature <= 1.2 else "wrong",
        )

    async def judge(self, problem, text):
        return Judgement(
            verdict=verdict(Status.PASSED if text == "right" else Status.WRONG_ANSWER),
            code=text,
            incomplete=False,
            seconds=0.0,
        )

    def load(self):
        return EvaluatorLoad(queue_max=0, busy_share=0.0, actors=1, retried=0, lost=0, repeated=0)

    async def prepare(self, sequences, deadline_s):
        self.prepared = sequences
        return 0.0

    async def update(self, batch, deadline_s):
        if self.version == self.kill_at:
            raise Killed
        return update_result()

    async def save(self, path, driver_files, deadline_s):
        (Path(path) / TRAINER).mkdir(parents=True)
        for name, content in driver_files.items():
            (Path(path) / TRAINER / name).write_bytes(content)


def run(root, world, *overrides):
    """Trains in ``root``; returns the run's directory and what was printed."""
    settings = config(f"run.root={root}", *SMALL, *overrides)
    directory = RunDirectory(settings)
    printed = io.StringIO()
    display = Display(Console(file=printed, width=200), settings.run.steps, directory.first_step)
    prompts = tuple(
        PromptedProblem(problem(name), np.array([5, 6], np.int32), (("user", name),)) for name in "abcdefgh"
    )
    parts = Run(
        config=settings,
        generators=world,
        evaluators=world,
        learner=world,
        weights=Weights(world, world, world, display, directory.first_step),
        training=prompts,
        held_out=(),
        directory=directory,
        display=display,
        tokenizer=SimpleNamespace(eos_token_id=2),
        resumed=resumed_state(directory.checkpoint),
        timeline=Timeline(directory.path),
        writer=None,
    )
    # A run begins with a collection of all objects: of everything the tests have imported, longer than the run itself.
    with contextlib.suppress(Killed), mock.patch("gc.collect"):
        asyncio.run(train(parts))
    return directory, printed.getvalue()


def rows(directory, name):
    return [json.loads(line) for line in (directory.path / name).read_text().splitlines()]


def column(directory, name):
    return [row[name] for row in rows(directory, "metrics.jsonl")]
