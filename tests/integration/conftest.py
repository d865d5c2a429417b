"""Shared by the integration tests: small checkpoints and one local Ray cluster."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from actors.evaluators.actor import RESOURCE
from launch.models.starter_model import train_tokenizer, untrained_model
from launch.models.starter_policy import default_warm_start
from launch.models.supervised_training import train
from launch.problems.prompts import answer, instruction
from launch.problems.starter import warm_start_pairs


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained 3.6M-parameter checkpoints, one with tied and one with untied embeddings."""
    texts = [f"{instruction(problem)}\n{answer(program)}" for problem, program in warm_start_pairs(300, seed=1)]
    tokenizer = train_tokenizer(texts, 2048)
    found = {}
    for name, tied in (("tied", True), ("untied", False)):
        path = tmp_path_factory.mktemp(name)
        untrained_model(len(tokenizer), seed=1, tied=tied).save_pretrained(path)
        tokenizer.save_pretrained(path)
        found[name] = path
    return found


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter model warm-started for seconds, enough for some answers to be programs.

    With one thread: two wait for each other while spinning, which takes minutes where other processes use the cores.
    """
    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        path = tmp_path_factory.mktemp("model") / "small"
    else:
        path = tmp_path_factory.getbasetemp().parent / "model" / "small"
    path.parent.mkdir(exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:  # the workers of pytest-xdist share one
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            sizes = {"steps": 60, "decay_steps": 60, "short_steps": 60, "batch_size": 8, "threads": 1}
            config = default_warm_start(output=str(path), **sizes)
            train(config, warm_start_pairs(400, seed=1), lambda step, steps, loss, seconds: None)
    return path


@pytest.fixture(scope="session")
def ray_ended() -> Iterator[None]:
    """End the cluster that the last module has left."""
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def cluster(ray_ended: None) -> None:
    """A local Ray cluster of 4 logical CPUs with room for three evaluators, shared by the modules that use it.

    Starting one takes seconds. Modules and tests with clusters of their own call ``ray.shutdown`` before and after.
    """
    if not ray.is_initialized():
        ray.init(
            address="local",
            num_cpus=4,
            resources={RESOURCE: 3},
            object_store_memory=2**28,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
