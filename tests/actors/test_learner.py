"""A learner rank whose sender fails does not leave the other ranks waiting."""

import pytest
import torch

from actors.learner import LearnerActor
from learner.learner import Learner
from tests.tiny_learner import make_learner_settings, save_tiny_model
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
