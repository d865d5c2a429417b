"""The same batch from the same state gives the same bits in processes that share nothing: exact resume rests on it."""

import dataclasses

import pytest
import torch
import torch.distributed as dist

from learner.learner import Learner
from learner.policy import full_parameters
from learner.rollout import TrainBatch
from tests.tiny_learner import learner_settings, sequences_of, tiny_model
from tests.two_ranks import on_two_ranks

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]
ADVANTAGES = (1.0, -0.5, 0.0, 2.0) * 20  # some 700 tokens: enough that torch shares them out to its threads


def updated(model):
    """Parameters, moments and metrics after a step of two updates, with two threads."""
    torch.set_num_threads(2)
    learner = Learner(learner_settings(model, micro_batch_tokens=10_000, warmup_steps=2))
    minis = tuple(tuple(sequences_of(ADVANTAGES, seed=seed)) for seed in range(2))
    metrics = dataclasses.asdict(learner.update(TrainBatch(minis)))
    moments = [state["exp_avg_sq"].full_tensor() for state in learner.optimizer.state.values()]
    return {
        "parameters": list(full_parameters(learner.policy).values()),
        "moments": moments,
        "metrics": {name: value for name, value in metrics.items() if not name.endswith("_seconds")},
    }


def run(rank, model, folder):
    """Both ranks together, then each by itself in a group of its own."""
    together = updated(model)
    dist.destroy_process_group()
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/{rank}", 1), rank=0, world_size=1)
    return {"two ranks": together, "one rank": updated(model)}


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def runs(tmp_path_factory, monkeypatch_module):
    """What two pairs of processes computed, four processes in all."""
    monkeypatch_module.setenv("OMP_WAIT_POLICY", "PASSIVE")  # four threads that spin on two cores would wait for ever
    model = tiny_model(tmp_path_factory.mktemp("model"))
    found = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("ranks")
        alone = tmp_path_factory.mktemp("alone")
        found += on_two_ranks(run, folder, model, str(alone), start_method="spawn")
    return found


def assert_same(one, other):
    assert one["metrics"] == other["metrics"]
    for kind in ("parameters", "moments"):
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(one[kind], other[kind], strict=True))


@pytest.mark.parametrize("ranks", ["one rank", "two ranks"])
def test_every_process_computes_the_same_bits(runs, ranks):
    for other in runs[1:]:
        assert_same(other[ranks], runs[0][ranks])
    assert runs[0][ranks]["metrics"]["updates"] == 2


def test_the_comparison_sees_another_order_of_summation(runs):
    """One and two ranks sum in another order: close, and not the same bits."""
    one = runs[0]["one rank"]["parameters"]
    two = runs[0]["two ranks"]["parameters"]
    assert any(not torch.equal(ours, theirs) for ours, theirs in zip(one, two, strict=True))
