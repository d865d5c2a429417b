"""Methods that run inside vLLM's workers, as far as they need no engine."""

import random
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch

from actors.weights.vllm_worker import WorkerExtension


@pytest.mark.heavy
def test_seed_reaches_every_random_state_that_a_sampler_uses():
    def draw():
        WorkerExtension().seed_sampler(7)
        return random.random(), np.random.randint(2**31), torch.rand(1).item()  # noqa: NPY002 - as vLLM draws

    assert draw() == draw()


@pytest.mark.heavy
@pytest.mark.faults
@pytest.mark.parametrize("killed", ["actor", "engine"])
def test_engine_and_workers_end_with_the_actor(killed):
    command = [sys.executable, "-m", "tests.actors.weights.process_chain"]
    actor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert actor.stdout is not None
    pids = [int(pid) for pid in actor.stdout.readline().split()]
    processes = [psutil.Process(pid) for pid in pids]
    victim = 0 if killed == "actor" else 1
    processes[victim].kill()
    rest = processes[1:] if killed == "actor" else processes[2:]
    _, alive = psutil.wait_procs(rest, timeout=60)
    actor.kill()
    actor.wait()
    assert alive == []
