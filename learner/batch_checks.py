"""Checks of a train batch against the model, made before it can produce NaN or index beyond the embedding matrix."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from evaluator.errors import RunFailed
from learner.rollout import TrainSequence


class BadBatch(RunFailed, ValueError):
    """A batch cannot be trained on; the message names the completion and the reason."""


def check_token_ids(sequences: Sequence[TrainSequence], vocabulary: int) -> None:
    """Raise BadBatch at the first token id outside the model's vocabulary of ``vocabulary`` ids."""
    for sequence in sequences:
        outside = (sequence.token_ids < 0) | (sequence.token_ids >= vocabulary)
        if outside.any():
            position = int(outside.argmax())
            raise BadBatch(
                f"completion {sequence.name}: token {int(sequence.token_ids[position])} at position {position} is not "
                f"in the model's vocabulary of {vocabulary}: generator and learner must load the same checkpoint, with "
                "its own tokenizer"
            )


def check_logprobs_finite(sequences: Sequence[TrainSequence], logprobs: Sequence[Tensor], policy: str) -> None:
    """Raise BadBatch at the first response token whose log-prob is not finite.

    Args:
        sequences: sequences of the batch.
        logprobs: log-probs [R_i] of each sequence's response tokens.
        policy: name of the policy that computed them, for the message.
    """
    for sequence, values in zip(sequences, logprobs, strict=True):
        non_finite = ~values.isfinite()
        if non_finite.any():
            place = int(non_finite.int().argmax())
            raise BadBatch(
                f"completion {sequence.name}: the {policy} gives response token {place} the log-prob "
                f"{float(values[place])}: its weights are corrupt; resume from an earlier checkpoint, with a lower "
                "learner.learning_rate or learner.grad_clip"
            )
