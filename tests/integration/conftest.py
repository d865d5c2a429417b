"""Fixtures of the integration tests: small checkpoints and a shared local Ray cluster."""

from __future__ import annotations

import argparse
import fcntl
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from launch.cluster.ray_cluster import start_local_cluster
from launch.models.starter_model import build_untrained_model, train_tokenizer
from launch.models.starter_policy import load_warm_start_defaults
from launch.models.supervised_training import make_program_example, train_supervised
from launch.problems.starter import draw_warm_start_problems
from tests.factories import CHECKPOINT_VOCABULARY


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Create untrained checkpoints of 2.7M and 3.0M parameters, "tied" and "untied" (input and output embeddings).

    The tokenizer is trained on a module's source, not on the starter's problems, so that its size stays the same.
    """
    tokenizer = train_tokenizer([inspect.getsource(argparse)], CHECKPOINT_VOCABULARY)
    assert len(tokenizer) == CHECKPOINT_VOCABULARY
    paths = {}
    for name, tied in (("tied", True), ("untied", False)):
        path = tmp_path_factory.mktemp(name)
        build_untrained_model(len(tokenizer), seed=1, tied=tied).save_pretrained(path)
        tokenizer.save_pretrained(path)
        paths[name] = path
    return paths


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Warm-start the starter model for some seconds, enough for some of its answers to be programs.

    Training uses one thread: two threads busy-wait for each other, which takes minutes when other processes use the
    cores.
    """
    if os.environ.get("PYTEST_XDIST_WORKER") is None:
        path = tmp_path_factory.mktemp("model") / "small"
    else:
        path = tmp_path_factory.getbasetemp().parent / "model" / "small"
    path.parent.mkdir(exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:  # the workers of pytest-xdist share the checkpoint
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            sizes = {"steps": 60, "decay_steps": 60, "short_steps": 60, "batch_size": 8, "threads": 1}
            config = load_warm_start_defaults(output=str(path), **sizes)
            examples = [
                make_program_example(starter.problem, starter.reference)
                for starter in draw_warm_start_problems(400, seed=1)
            ]
            train_supervised(config, examples, lambda step, steps, loss, seconds: None)
    return path


@pytest.fixture(scope="session")
def ray_shutdown() -> Iterator[None]:
    """Shut down the cluster that the last module left running."""
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def cluster(ray_shutdown: None) -> None:
    """Start a local Ray cluster with 4 logical CPUs and room for three evaluators, unless one is running.

    Modules share it, because starting a cluster takes seconds. Modules and tests with other clusters call
    ``ray.shutdown`` before and after.
    """
    if not ray.is_initialized():
        start_local_cluster(num_cpus=4, evaluator_slots=3, object_store_bytes=2**28)
