"""Two ranks compute what one rank computes: gradients and metrics do not depend on the world size."""

import dataclasses
from pathlib import Path

import pytest
import torch

from learner.checkpoint import load_checkpoint, save_checkpoint
from learner.clipped_surrogate import Clip
from learner.learner import Learner
from learner.rollout import TrainBatch
from tests.tiny_learner import gradients, learner_settings, objective, sequences_of, tiny_model
from tests.two_ranks import on_two_ranks

pytestmark = pytest.mark.timeout(120)
# The second mini-batch has one sequence with an advantage: one of two ranks gets only a stand-in.
MINI_BATCHES = ((1.0, -0.5, 0.0, 2.0, -1.5, 0.25, 0.0), (0.0, -2.0, 0.0), (0.0, 0.0))
# The second objective needs a reference model, and its first updates move the policy away from it.
OBJECTIVES = {
    "tied": objective(),
    "untied": objective(aggregation="constant", clip=Clip(0.2, 0.28, 3.0)),
    "penalised": objective(aggregation="sequence_mean", kl_weight=0.5),
}


def learner_of(models, name, **changes):
    constants = {"grad_clip": 0.1, "micro_batch_tokens": 30, "objective": OBJECTIVES[name]} | changes
    return Learner(learner_settings(models[name], **constants))


def compute(learner):
    """Gradients of every mini-batch, the metrics of a step of all of them, and log-probs after it.

    One token's sampler log-prob is not finite: it must not count on any rank.
    """
    minis = [sequences_of(advantages, seed=seed) for seed, advantages in enumerate(MINI_BATCHES)]
    minis[0][0].sampler_logprobs[0] = float("nan")
    return {
        "gradients": [gradients(learner, mini) for mini in minis],
        "metrics": dataclasses.asdict(learner.update(TrainBatch(tuple(tuple(mini) for mini in minis)))),
        "logprobs": torch.cat(learner.logprobs(minis[0]).logprobs),
    }


def run_rank(rank, models, folder):
    for name in models:
        late = learner_of(models, name, sync_every_micro_batch=False)
        torch.save(compute(late), f"{folder}/{name}_{rank}_late.pt")
        learner = learner_of(models, name)
        torch.save(compute(learner), f"{folder}/{name}_{rank}_first.pt")
        save_checkpoint(learner, Path(folder) / name, {})
        torch.save(compute(learner), f"{folder}/{name}_{rank}_second.pt")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {name: tiny_model(tmp_path_factory.mktemp(name), tied=name != "untied") for name in OBJECTIVES}


@pytest.fixture(scope="module")
def of_two(models, tmp_path_factory):
    """Folder of what two ranks, each a process of its own, computed and saved."""
    folder = tmp_path_factory.mktemp("ranks")
    on_two_ranks(run_rank, tmp_path_factory.mktemp("results"), models, str(folder))
    return folder


def assert_equal(found, expected):
    for ours, one in zip(found["gradients"], expected["gradients"], strict=True):
        torch.testing.assert_close(ours, one, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found["logprobs"], expected["logprobs"], rtol=1e-4, atol=1e-4)
    for name, value in expected["metrics"].items():
        if not name.endswith("_seconds"):
            assert found["metrics"][name] == pytest.approx(value, rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("name", list(OBJECTIVES))
@pytest.mark.usefixtures("process_group")
def test_two_ranks_equal_one(models, of_two, name):
    expected = compute(learner_of(models, name))
    assert expected["metrics"]["mismatch_non_finite"] == 1
    assert (expected["metrics"]["kl_loss"] > 0) is (name == "penalised")
    for rank in range(2):
        assert_equal(torch.load(of_two / f"{name}_{rank}_first.pt"), expected)
        assert_equal(torch.load(of_two / f"{name}_{rank}_late.pt"), expected)


@pytest.mark.parametrize("name", list(OBJECTIVES))
@pytest.mark.usefixtures("process_group")
def test_one_rank_goes_on_from_the_checkpoint_of_two(models, of_two, name):
    learner = learner_of(models, name)
    load_checkpoint(learner, of_two / name)
    assert_equal(compute(learner), torch.load(of_two / f"{name}_0_second.pt"))
