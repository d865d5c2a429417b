"""Determinism: separate processes compute bitwise equal updates from the same state, as exact resume requires."""

import dataclasses

import pytest
import torch
import torch.distributed as dist

from learner.learner import Learner
from learner.policy import gather_parameters
from learner.rollout import TrainBatch
from tests.tiny_learner import make_learner_settings, make_sequences, save_tiny_model
from tests.two_ranks import run_on_two_ranks

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
ADVANTAGES = (1.0, -0.5, 0.0, 2.0) * 20  # about 700 tokens, enough for torch to use several threads


def train_one_step(model):
    """Make a step of two updates with two threads; return parameters, moments and metrics."""
    torch.set_num_threads(2)
    learner = Learner(make_learner_settings(model, micro_batch_tokens=10_000, warmup_updates=2))
    mini_batches = tuple(tuple(make_sequences(ADVANTAGES, seed=seed)) for seed in range(2))
    metrics = dataclasses.asdict(learner.update(TrainBatch(mini_batches)).metrics)
    moments = [state["exp_avg_sq"].full_tensor() for state in learner.optimizer.state.values()]
    return {
        "parameters": list(gather_parameters(learner.policy).values()),
        "moments": moments,
        "metrics": {name: value for name, value in metrics.items() if not name.endswith("_seconds")},
    }


def train_on_two_ranks_and_on_one(rank, model, folder):
    """Train a step on both ranks together, then on each rank alone in its own process group."""
    together = train_one_step(model)
    dist.destroy_process_group()
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/{rank}", 1), rank=0, world_size=1)
    return {"two ranks": together, "one rank": train_one_step(model)}


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def runs(tmp_path_factory, monkeypatch_module):
    """Results of two pairs of processes, four processes in all."""
    monkeypatch_module.setenv("OMP_WAIT_POLICY", "PASSIVE")  # four spinning threads on two cores would make no progress
    model = save_tiny_model(tmp_path_factory.mktemp("model"))
    results = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("ranks")
        alone = tmp_path_factory.mktemp("alone")
        results += run_on_two_ranks(train_on_two_ranks_and_on_one, folder, model, str(alone), start_method="spawn")
    return results


def assert_same_result(actual, expected):
    assert actual["metrics"] == expected["metrics"]
    for kind in ("parameters", "moments"):
        assert all(torch.equal(value, other) for value, other in zip(actual[kind], expected[kind], strict=True))


@pytest.mark.parametrize("ranks", ["one rank", "two ranks"])
def test_all_processes_compute_bitwise_equal_results(runs, ranks):
    for other in runs[1:]:
        assert_same_result(other[ranks], runs[0][ranks])
    assert runs[0][ranks]["metrics"]["updates"] == 2


def test_comparison_detects_another_order_of_summation(runs):
    """A single rank and two ranks sum in different orders, so their results are close but not bitwise equal."""
    one_rank = runs[0]["one rank"]["parameters"]
    two_ranks = runs[0]["two ranks"]["parameters"]
    assert any(not torch.equal(value, other) for value, other in zip(one_rank, two_ranks, strict=True))
