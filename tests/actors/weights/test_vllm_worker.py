"""Methods that run inside vLLM's workers, as far as they need no engine."""

import random

import numpy as np
import pytest
import torch

from actors.weights.vllm_worker import WorkerExtension


@pytest.mark.heavy
def test_seed_reaches_every_random_state_that_a_sampler_uses():
    def draw():
        WorkerExtension().seed_sampler(7)
        return random.random(), np.random.randint(2**31), torch.rand(1).item()  # noqa: NPY002 - as vLLM draws

    assert draw() == draw()
