"""Loss aggregation: the weight of each token in the mini-batch's loss, by token mean, sequence mean or a constant.

The loss is sum_t weight_t * loss_t over all tokens of the mini-batch. Weights are computed from the whole mini-batch
before it is split over ranks and micro-batches, so the loss does not depend on the split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Aggregation = Literal["token_mean", "sequence_mean", "constant"]


def token_weights(counts: Sequence[int], aggregation: Aggregation, max_response_tokens: int) -> list[float]:
    """Weight of each token of sequence i in the mini-batch's loss.

    - ``token_mean`` (DAPO, arXiv 2503.14476 eq. 12; arXiv 2603.07777): 1 / sum_i count_i
    - ``sequence_mean`` (GRPO, arXiv 2402.03300 eq. 3): 1 / (n * count_i), the mean of each sequence's token mean
    - ``constant`` (Dr. GRPO, arXiv 2503.20783): 1 / (n * L), L = ``max_response_tokens``

    Args:
        counts: number of tokens of each sequence that count in the loss. A sequence with a count of 0 has weight 0 and
            is not among the n sequences.
        aggregation: formula to use.
        max_response_tokens: maximum response length L in tokens; used by ``constant`` only.

    Returns:
        One weight per sequence, shared by all of its tokens.

    >>> token_weights([1, 3, 0], "token_mean", 8)
    [0.25, 0.25, 0.0]
    >>> token_weights([1, 4, 0], "sequence_mean", 8)
    [0.5, 0.125, 0.0]
    >>> token_weights([1, 4, 0], "constant", 8)
    [0.0625, 0.0625, 0.0]
    """
    sequences = sum(count > 0 for count in counts)
    if aggregation == "token_mean":
        tokens = sum(counts)
        return [1.0 / tokens if count else 0.0 for count in counts]
    if aggregation == "sequence_mean":
        return [1.0 / (sequences * count) if count else 0.0 for count in counts]
    return [1.0 / (sequences * max_response_tokens) if count else 0.0 for count in counts]
