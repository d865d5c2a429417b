"""Splitting a mini-batch over ranks and into micro-batches, and packing one micro-batch end to end without padding.

Linear layers see one row of tokens; attention keeps to the segments of the row (``learner.segment_attention``, or
flash-attn's variable-length kernels), so no token sees another sequence.
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
    """Sequences one after the other, T tokens in all, N of them response tokens, in sequence order.

    ``input_ids``, ``position_ids`` [T] int64, positions from 0 in each sequence; ``lengths``: tokens of each sequence;
    ``rows`` [N] int64 indexes the positions (of T) that predict the response tokens; ``targets`` [N] int64;
    ``temperatures`` [N] float32.
    """

    input_ids: Tensor
    position_ids: Tensor
    lengths: tuple[int, ...]
    rows: Tensor
    targets: Tensor
    temperatures: Tensor


def plan_micro_batches(lengths: Sequence[int], ranks: int, tokens: int) -> list[list[list[int]]]:
    """Micro-batches of at most ``tokens`` tokens each, for each rank, as lists of indices into ``lengths``.

    Every rank gets as few micro-batches as the budget allows, and equally many: FSDP ranks gather parameters together,
    so they must run the same number of forward passes. An empty list stands where a rank has nothing left. A sequence
    longer than the budget has a micro-batch of its own. In each round the ranks get about the same number of tokens.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    # As few as the tokens need, but no more than have a sequence each.
    rounds = min(-(-sum(lengths) // (ranks * tokens)), -(-len(lengths) // ranks))
    while (bins := _fill_evenly(lengths, order, ranks * rounds, tokens)) is None:
        rounds += 1
    return [bins[rank::ranks] for rank in range(ranks)]


def _fill_evenly(lengths: Sequence[int], order: Sequence[int], bins: int, tokens: int) -> list[list[int]] | None:
    """Each index of ``order`` (longest first) to the bin with the fewest tokens; fullest bin first.

    None if several sequences together exceed ``tokens``.
    """
    filled: list[list[int]] = [[] for _ in range(bins)]
    loads = [(0, place) for place in range(bins)]
    for index in order:
        load, place = heapq.heappop(loads)
        if filled[place] and load + lengths[index] > tokens:
            return None
        filled[place].append(index)
        heapq.heappush(loads, (load + lengths[index], place))
    return [filled[place] for _, place in sorted(loads, key=lambda item: (-item[0], item[1]))]


def pack(sequences: Sequence[TrainSequence], indices: Sequence[int], device: torch.device) -> MicroBatch:
    """Build the micro-batch of ``sequences[indices]``; without indices, a stand-in that keeps ranks in step."""
    chosen = [sequences[index] for index in indices] or [min(sequences, key=lambda item: len(item.token_ids))]
    lengths = tuple(len(sequence.token_ids) for sequence in chosen)
    starts = np.cumsum((0, *lengths[:-1]))

    def join(parts: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(device)

    return MicroBatch(
        input_ids=join([sequence.token_ids.astype(np.int64) for sequence in chosen]),
        position_ids=join([np.arange(length) for length in lengths]),
        lengths=lengths,
        rows=join(
            [
                start + np.arange(sequence.prompt_length - 1, length - 1)
                for start, sequence, length in zip(starts, chosen, lengths, strict=True)
            ]
        ),
        targets=join([sequence.token_ids[sequence.prompt_length :].astype(np.int64) for sequence in chosen]),
        temperatures=join(
            [np.repeat(np.float32(sequence.temperature), sequence.response_length) for sequence in chosen]
        ),
    )
