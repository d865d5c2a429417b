"""A process that starts with the learner's environment gets huge pages, and gives them back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.learner_group import LearnerGroup
from learner.huge_pages import HUGE_PAGES, LEAST_PARAMETERS, allocator_environment
from tests.tiny_learner import learner_settings

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# torch's allocator is malloc: 64 MiB, written once.
SCRIPT = """
import torch
from pathlib import Path

def huge():
    (line,) = [line for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if "AnonHugePages" in line]
    return int(line.split()[1])

before = huge()
values = torch.ones(2**24)
held = huge() - before
del values
print(held, huge() - before)
"""


def huge_kilobytes(environment):
    """Of one tensor of 64 MiB: while it is held, and after."""
    lines = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    ).stdout
    return tuple(map(int, lines.split()))


@pytest.mark.skipif(
    not ENABLED.exists() or "[madvise]" not in ENABLED.read_text(), reason="this kernel gives huge pages to all or none"
)
def test_large_tensors_are_on_huge_pages_and_given_back():
    held, after = huge_kilobytes(HUGE_PAGES)
    assert held >= 48 * 1024
    assert after <= 8 * 1024
    assert huge_kilobytes({})[0] == 0


def test_learner_actors_start_with_it(monkeypatch, tmp_path):
    """Ray starts a worker's process anew for this environment, before glibc reads it."""
    asked = {}

    class Role:
        def options(self, **options):
            asked.update(options)
            return self

        def remote(self, *_):
            return self

    monkeypatch.setattr("actors.learner_group.ray.remote", lambda _: Role())
    LearnerGroup(["DEFAULT"], 1.0, 1, learner_settings(tmp_path), allocator_environment(LEAST_PARAMETERS))
    assert HUGE_PAGES.items() <= asked["runtime_env"]["env_vars"].items()


def test_a_small_model_has_the_pages_it_has():
    assert allocator_environment(LEAST_PARAMETERS - 1) == {}
