"""Gradients, metrics and log-probs do not depend on the world size: two ranks compute the same as one."""

import dataclasses
from pathlib import Path

import pytest
import torch

from learner.checkpoint import load_checkpoint, save_checkpoint
from learner.clipped_surrogate import Clip
from learner.learner import Learner
from learner.rollout import TrainBatch
from tests.tiny_learner import compute_gradients, make_learner_settings, make_objective, make_sequences, save_tiny_model
from tests.two_ranks import run_on_two_ranks

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]
# The second mini-batch has a single sequence with an advantage, so one of two ranks gets only a dummy sequence.
MINI_BATCHES = ((1.0, -0.5, 0.0, 2.0, -1.5, 0.25, 0.0), (0.0, -2.0, 0.0), (0.0, 0.0))
# The "penalised" objective needs a reference model, and its first updates move the policy away from it.
OBJECTIVES = {
    "tied": make_objective(),
    "untied": make_objective(aggregation="constant", clip=Clip(0.2, 0.28, 3.0)),
    "penalised": make_objective(aggregation="sequence_mean", kl_weight=0.5),
}


def make_learner(models, name, **changes):
    settings = {"grad_clip": 0.1, "micro_batch_tokens": 30, "objective": OBJECTIVES[name]} | changes
    return Learner(make_learner_settings(models[name], **settings))


def compute_step(learner):
    """Return the gradients of each mini-batch, the metrics of a step with all of them, and the log-probs after it.

    The sampler log-prob of one token is not finite; no rank may include it in the mismatch metrics.
    """
    mini_batches = [make_sequences(advantages, seed=seed) for seed, advantages in enumerate(MINI_BATCHES)]
    mini_batches[0][0].sampler_logprobs[0] = float("nan")
    return {
        "gradients": [compute_gradients(learner, mini_batch) for mini_batch in mini_batches],
        "metrics": dataclasses.asdict(
            learner.update(TrainBatch(tuple(tuple(mini_batch) for mini_batch in mini_batches))).metrics
        ),
        "logprobs": torch.cat(learner.compute_logprobs(mini_batches[0]).logprobs),
    }


def run_rank(rank, models, folder):
    """Compute two steps with each objective and save the results and a checkpoint between the steps in ``folder``.

    The file `*_late.pt` has the first step with gradients synchronised only after the last micro-batch.
    """
    for name in models:
        late = make_learner(models, name, sync_every_micro_batch=False)
        torch.save(compute_step(late), f"{folder}/{name}_{rank}_late.pt")
        learner = make_learner(models, name)
        torch.save(compute_step(learner), f"{folder}/{name}_{rank}_first.pt")
        save_checkpoint(learner, Path(folder) / name, {})
        torch.save(compute_step(learner), f"{folder}/{name}_{rank}_second.pt")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {name: save_tiny_model(tmp_path_factory.mktemp(name), tied=name != "untied") for name in OBJECTIVES}


@pytest.fixture(scope="module")
def two_rank_results(models, tmp_path_factory):
    """Run ``run_rank`` on two ranks, each in its own process; return the folder of the results."""
    folder = tmp_path_factory.mktemp("ranks")
    run_on_two_ranks(run_rank, tmp_path_factory.mktemp("results"), models, str(folder))
    return folder


def assert_equal(actual, expected):
    for gradients, expected_gradients in zip(actual["gradients"], expected["gradients"], strict=True):
        torch.testing.assert_close(gradients, expected_gradients, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(actual["logprobs"], expected["logprobs"], rtol=1e-4, atol=1e-4)
    for name, value in expected["metrics"].items():
        if not name.endswith("_seconds"):
            assert actual["metrics"][name] == pytest.approx(value, rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("name", list(OBJECTIVES))
@pytest.mark.usefixtures("process_group")
def test_two_ranks_compute_the_same_as_one(models, two_rank_results, name):
    expected = compute_step(make_learner(models, name))
    assert expected["metrics"]["mismatch_non_finite"] == 1
    assert (expected["metrics"]["kl_loss"] > 0) is (name == "penalised")
    for rank in range(2):
        assert_equal(torch.load(two_rank_results / f"{name}_{rank}_first.pt"), expected)
        assert_equal(torch.load(two_rank_results / f"{name}_{rank}_late.pt"), expected)


@pytest.mark.parametrize("name", list(OBJECTIVES))
@pytest.mark.usefixtures("process_group")
def test_one_rank_resumes_from_the_checkpoint_of_two(models, two_rank_results, name):
    learner = make_learner(models, name)
    load_checkpoint(learner, two_rank_results / name)
    assert_equal(compute_step(learner), torch.load(two_rank_results / f"{name}_0_second.pt"))
