"""Configuration of all tests: hypothesis profiles, one torch thread, and a torch.distributed group of one rank."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import torch

# No deadline per example and no health check for slow data generation: on a busy machine they fail tests at random.
# `make test-slow` runs the property tests with --hypothesis-profile=thorough.
NO_TIME_LIMITS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", NO_TIME_LIMITS, max_examples=25, stateful_step_count=30)
settings.register_profile("thorough", NO_TIME_LIMITS, max_examples=100, stateful_step_count=50)
settings.load_profile("quick")

# A shell starts background jobs with SIGINT ignored, and child processes inherit that: without this line, the tests of
# Ctrl-C would fail when the suite itself runs as a background job.
signal.signal(signal.SIGINT, signal.default_int_handler)


# The cyclic collector would scan all that is being imported again and again.
gc.disable()


def pytest_collection_finish() -> None:
    """Let the cyclic collector skip what has been imported, and limit torch to one thread.

    The models in the tests are tiny, and several runs of the suite may share the cores.
    """
    gc.freeze()
    gc.enable()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Initialise a gloo process group whose only rank is this process."""
    from tests.tiny_learner import one_rank_group

    with one_rank_group(tmp_path_factory.mktemp("group")):
        yield


@pytest.fixture
def cuda() -> torch.device:
    """Return the first GPU; skip the test if there is none."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a GPU, and torch sees none here" + ("" if torch.version.cuda else " (make venv-gpu)"))
    return torch.device("cuda", 0)


@pytest.fixture
def failing_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process that parses answers end as soon as it starts, as if something outside killed it each time."""
    from evaluator import parser_process

    parser_process.shared_parser.close()
    monkeypatch.setattr(parser_process, "SCRIPT", Path("/nonexistent"))
