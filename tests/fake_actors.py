"""Run the training loop on fake actors, in one process, without engines, sandboxes or a model."""

import asyncio
import contextlib
import io
import json
from pathlib import Path
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
from launch.records.run_records import RunRecords
from launch.records.timeline import Timeline
from launch.training.driver_state import resumed_state
from launch.training.learner_client import LearnerClient
from launch.training.run import Run
from launch.training.start import make_sampler
from launch.training.train import train
from learner.checkpoint import TRAINER_FOLDER
from learner.rollout import Judgement
from tests.factories import make_completion, make_config, make_problem, make_update_result, make_verdict

SMALL_RUN = (
    "run.name=r",
    "run.tensorboard=false",
    "run.checkpoint_every=10",
    "evaluation.samples=0",
    "algorithm.group_size=4",
    "algorithm.train_batch_size=2",
    "algorithm.mini_batch_size=2",
)


class SimulatedKill(BaseException):
    """Stands in for kill -9. A BaseException, so that no handler of the run catches it."""


class FakeActors:
    """Fake generators, evaluators, learner and weight transfer, all in one object.

    A group has four answers of one 4-gram each, so its diversity D is ``count_distinct(...) / 4``. Answers sampled at
    temperatures up to 1.2 pass.

    Args:
        count_distinct: function (temperature, version) -> number of distinct answers in a group of four.
        kill_at: weight version at which ``update`` raises ``SimulatedKill``; None for never.
    """

    def __init__(self, count_distinct, kill_at=None):
        self.count_distinct = count_distinct
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
        answer = min(request.sample_index, self.count_distinct(request.temperature, self.version) - 1)
        return make_completion(
            (11 + answer, 12, 13, 14, 2),
            claim=request.claim,
            question_id=request.question_id,
            sample_index=request.sample_index,
            temperature=request.temperature,
            policy_versions=np.full(5, self.version, dtype=np.int32),
            text="right" if request.temperature <= 1.2 else "wrong",
        )

    async def judge(self, problem, text):
        return Judgement(
            verdict=make_verdict(Status.PASSED if text == "right" else Status.WRONG_ANSWER),
            code=text,
            incomplete=False,
            seconds=0.0,
        )

    def load(self):
        return EvaluatorLoad(queue_max=0, busy_share=0.0, actors=1, retried=0, unjudged=0, repeated=0)

    async def prepare(self, sequences, deadline_s):
        self.prepared = sequences
        return 0.0

    async def update(self, batch, deadline_s):
        if self.version == self.kill_at:
            raise SimulatedKill
        return make_update_result(batch)

    async def save(self, path, driver_files, deadline_s):
        (Path(path) / TRAINER_FOLDER).mkdir(parents=True)
        for name, content in driver_files.items():
            (Path(path) / TRAINER_FOLDER / name).write_bytes(content)


def run_training(root, actors, *overrides):
    """Run the training loop in ``root`` until it ends or is killed; return the run directory and the printed output."""
    config = make_config(f"run.root={root}", *SMALL_RUN, *overrides)
    directory = RunDirectory(config)
    output = io.StringIO()
    display = Display(Console(file=output, width=200), config.run.steps, directory.first_step)
    prompts = tuple(
        PromptedProblem(make_problem(name), np.array([5, 6], np.int32), (("user", name),)) for name in "abcdefgh"
    )
    run = Run(
        config=config,
        sampler=make_sampler(config, actors, actors),
        learner=LearnerClient(
            learner=actors,
            transfer=actors,
            generators=actors,
            display=display,
            version=directory.first_step,
            deadline_s=config.learner.deadline_s,
        ),
        training=prompts,
        held_out=(),
        end_token_ids=frozenset({2}),
        records=RunRecords(
            directory=directory,
            display=display,
            timeline=Timeline(directory.path),
            tensorboard=None,
            report=None,
        ),
        resumed=resumed_state(directory.checkpoint),
    )
    # A run starts with a full garbage collection. With everything that the tests have imported, that would take longer
    # than the run itself.
    with contextlib.suppress(SimulatedKill), mock.patch("gc.collect"):
        asyncio.run(train(run))
    return directory, output.getvalue()


def read_rows(directory, name):
    """Return the rows of the JSON-lines file ``name`` in a run directory."""
    return [json.loads(line) for line in (directory.path / name).read_text().splitlines()]


def read_column(directory, name):
    """Return the values of metric ``name``, one per row of metrics.jsonl."""
    return [row[name] for row in read_rows(directory, "metrics.jsonl")]
