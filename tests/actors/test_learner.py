"""Learner ranks: old log-probs come from rank 0 only, and a sender that fails does not leave other ranks waiting."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from actors.learner import LearnerActor
from learner.learner import Learner
from learner.rollout import CompletionId, TrainBatch
from tests.tiny_learner import make_learner_settings, make_sequences, save_tiny_model
from tests.two_ranks import run_on_two_ranks


class FailingSender:
    """Weight sender that takes one tensor and fails."""

    def send(self, tensors, version, recipients, connected):
        next(tensors)
        raise RuntimeError("no room in the buckets")


def send_with_a_failing_sender(rank, path):
    """Send on both ranks; return the error of this rank, and the sum of both ranks of a tensor after it."""
    actor = LearnerActor(rank, 2, 1)
    actor.learner = Learner(make_learner_settings(path))
    if rank == 0:
        actor.sender = FailingSender()  # type: ignore[assignment]
    error = ""
    try:
        actor.send_weights(1, "float32", [], [])
    except RuntimeError as raised:
        error = str(raised)
    value = torch.ones(1)
    torch.distributed.all_reduce(value)
    return error, value.item()


@pytest.mark.heavy
@pytest.mark.faults
def test_other_ranks_finish_when_the_sender_fails(tmp_path):
    path = save_tiny_model(tmp_path / "model")
    (tmp_path / "ranks").mkdir()
    results = run_on_two_ranks(send_with_a_failing_sender, tmp_path / "ranks", path)
    assert results == [("no room in the buckets", 2.0), ("", 2.0)]


def update_on_a_rank(rank, path):
    """Run an update on both ranks; return this rank's old log-probs by completion, and those computed before."""
    actor = LearnerActor(rank, 2, 1)
    actor.learner = Learner(make_learner_settings(path))
    sequences = [
        replace(sequence, id=CompletionId(5, number))
        for number, sequence in enumerate(make_sequences((1.0, -1.0, 0.5)))
    ]
    computed = dict(zip((sequence.id for sequence in sequences), actor.compute_logprobs(sequences), strict=True))
    return actor.update(TrainBatch((tuple(sequences),))).old_logprobs, computed


@pytest.mark.heavy
def test_old_log_probs_are_returned_by_rank_0_only(tmp_path):
    path = save_tiny_model(tmp_path / "model")
    (tmp_path / "ranks").mkdir()
    (first, computed), (second, _) = run_on_two_ranks(update_on_a_rank, tmp_path / "ranks", path)
    assert first.keys() == computed.keys()
    assert all(np.allclose(first[name], values, atol=1e-5) for name, values in computed.items())
    assert second == {}
