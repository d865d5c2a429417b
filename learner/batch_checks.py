"""What a train batch must be for this model; refused before it can turn into NaN or read beyond the embedding."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from evaluator.errors import RunFailed
from learner.rollout import TrainSequence


class BadBatch(RunFailed, ValueError):
    """A batch cannot be trained on; the message names the completion and says why."""


def refuse_foreign_tokens(sequences: Sequence[TrainSequence], vocabulary: int) -> None:
    """Raises BadBatch for the first token id outside the model's vocabulary of ``vocabulary`` ids."""
    for sequence in sequences:
        outside = (sequence.token_ids < 0) | (sequence.token_ids >= vocabulary)
        if outside.any():
            position = int(outside.argmax())
            raise BadBatch(
                f"completion {sequence.name}: token {int(sequence.token_ids[position])} at position {position} is not "
                f"in the model's vocabulary of {vocabulary}: generator and learner must load the same checkpoint, with "
                "the tokenizer it was made with"
            )


def refuse_broken_policy(sequences: Sequence[TrainSequence], logprobs: Sequence[Tensor], policy: str) -> None:
    """Raises BadBatch when ``policy`` gives a log-prob that is not finite. ``logprobs``: per sequence [R_i]."""
    for sequence, values in zip(sequences, logprobs, strict=True):
        broken = ~values.isfinite()
        if broken.any():
            place = int(broken.int().argmax())
            raise BadBatch(
                f"completion {sequence.name}: the {policy} gives response token {place} the log-prob "
                f"{float(values[place])}: its weights are broken; go on from an earlier checkpoint, with a lower "
                "learner.learning_rate or learner.grad_clip"
            )
