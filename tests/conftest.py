"""Shared by all tests: hypothesis profiles, one torch thread, and a torch.distributed group of one rank."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# No deadline per example, no health check by the clock: on a loaded machine they would fail tests at random.
# `make test-slow` runs the property tests with --hypothesis-profile=thorough.
WITHOUT_CLOCK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", WITHOUT_CLOCK, max_examples=25, stateful_step_count=30)
settings.register_profile("thorough", WITHOUT_CLOCK, max_examples=100, stateful_step_count=50)
settings.load_profile("quick")

# A shell starts background jobs with this signal ignored, and their children inherit that: none could be interrupted.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Give torch one thread: the tests' models are tiny, and two runs of the suite may share the cores."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A gloo group whose only rank is this process."""
    from tests.tiny_learner import one_rank_group

    with one_rank_group(tmp_path_factory.mktemp("group")):
        yield
