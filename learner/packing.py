"""Packing: split a mini-batch over ranks and micro-batches, and concatenate each micro-batch without padding.

Linear layers see one row of tokens. Attention is confined to the sequences in the row (``learner.segment_attention``,
or flash-attn's variable-length kernels), so no token attends to another sequence.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learner.rollout import TrainSequence


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """Sequences concatenated into one row of T tokens, N of which are response tokens.

    Attributes:
        input_ids: [T] int64.
        position_ids: [T] int64, starting from 0 in each sequence.
        lengths: number of tokens of each sequence; they sum to T.
        rows: [N] int64, indices into T of the positions that predict the response tokens.
        targets: [N] int64, the response tokens.
        temperatures: [N] float32, sampling temperature of each response token.
    """

    input_ids: Tensor
    position_ids: Tensor
    lengths: tuple[int, ...]
    rows: Tensor
    targets: Tensor
    temperatures: Tensor


def plan_micro_batches(lengths: Sequence[int], ranks: int, max_tokens: int) -> list[list[list[int]]]:
    """Assign sequences to ranks and micro-batches.

    All ranks get the same number of micro-batches, since FSDP ranks gather parameters together and must run the same
    number of forward passes; that number is as small as the budget allows. In each round the ranks get about the same
    number of tokens. A sequence longer than the budget gets a micro-batch of its own.

    Args:
        lengths: number of tokens of each sequence.
        ranks: number of ranks.
        max_tokens: budget of tokens per micro-batch.

    Returns:
        For each rank, its micro-batches as lists of indices into ``lengths``. An empty list is a round in which the
        rank has no sequences.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    # As few rounds as the tokens need, but no more than give each rank a sequence in every round.
    rounds = min(-(-sum(lengths) // (ranks * max_tokens)), -(-len(lengths) // ranks))
    while (bins := _fill_evenly(lengths, order, ranks * rounds, max_tokens)) is None:
        rounds += 1
    return [bins[rank::ranks] for rank in range(ranks)]


def _fill_evenly(lengths: Sequence[int], order: Sequence[int], bins: int, max_tokens: int) -> list[list[int]] | None:
    """Add each index of ``order`` (longest sequence first) to the bin with the fewest tokens.

    Returns:
        The indices in each bin, fullest bin first; None if a bin with several sequences would exceed ``max_tokens``.
    """
    filled: list[list[int]] = [[] for _ in range(bins)]
    loads = [(0, place) for place in range(bins)]
    for index in order:
        load, place = heapq.heappop(loads)
        if filled[place] and load + lengths[index] > max_tokens:
            return None
        filled[place].append(index)
        heapq.heappush(loads, (load + lengths[index], place))
    return [filled[place] for _, place in sorted(loads, key=lambda item: (-item[0], item[1]))]


def pack(sequences: Sequence[TrainSequence], indices: Sequence[int], device: torch.device) -> MicroBatch:
    """Build the micro-batch of ``sequences[indices]`` on ``device``.

    Without indices, the shortest sequence is packed as a placeholder: a rank that has no sequences in a round must
    still run a forward pass, in step with the other ranks.
    """
    chosen = [sequences[index] for index in indices] or [min(sequences, key=lambda item: len(item.token_ids))]
    lengths = tuple(len(sequence.token_ids) for sequence in chosen)
    starts = np.cumsum((0, *lengths[:-1]))

    def concatenate(parts: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(device)

    return MicroBatch(
        input_ids=concatenate([sequence.token_ids.astype(np.int64) for sequence in chosen]),
        position_ids=concatenate([np.arange(length) for length in lengths]),
        lengths=lengths,
        rows=concatenate(
            [
                start + np.arange(sequence.prompt_length - 1, length - 1)
                for start, sequence, length in zip(starts, chosen, lengths, strict=True)
            ]
        ),
        targets=concatenate([sequence.token_ids[sequence.prompt_length :].astype(np.int64) for sequence in chosen]),
        temperatures=concatenate(
            [np.repeat(np.float32(sequence.temperature), sequence.response_length) for sequence in chosen]
        ),
    )
