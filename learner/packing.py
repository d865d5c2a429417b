"""Packing: split a mini-batch over ranks and micro-batches, and concatenate each micro-batch without padding.

Linear layers see one row of tokens. Attention is confined to the sequences in the row
(``learner.attention_choice``), so no token attends to another sequence.
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


def plan_micro_batches(
    lengths: Sequence[int], ranks: int, max_tokens: int, attention_work: float
) -> list[list[list[int]]]:
    """Assign sequences to ranks and micro-batches.

    All ranks get the same number of micro-batches, since FSDP ranks gather parameters together and must run the same
    number of forward passes; a greedy assignment finds a small number. In each round the ranks get about the same
    work (``sequence_work``), because they wait for each other. A sequence longer than the budget gets a micro-batch of
    its own.

    Args:
        lengths: number of tokens of each sequence.
        ranks: number of ranks.
        max_tokens: budget of tokens per micro-batch.
        attention_work: as for ``sequence_work``; 0 for ranks with about the same number of tokens.

    Returns:
        For each rank, its micro-batches as lists of indices into ``lengths``. An empty list is a round in which the
        rank has no sequences.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    # As few rounds as the tokens need, but no more than give each rank a sequence in every round.
    rounds = min(-(-sum(lengths) // (ranks * max_tokens)), -(-len(lengths) // ranks))
    while (bins := _fill_evenly(lengths, order, ranks * rounds, max_tokens, attention_work)) is None:
        rounds += 1
    return [bins[rank::ranks] for rank in range(ranks)]


def sequence_work(length: int, attention_work: float) -> float:
    """Work of a sequence, in units of the work of one token without attention.

    Args:
        length: number of tokens.
        attention_work: work of one token's attention to one position of its sequence, in the same units
            (``learner.policy.attention_work``).
    """
    return length * (1.0 + attention_work * length)


def _fill_evenly(
    lengths: Sequence[int], order: Sequence[int], bins: int, max_tokens: int, attention_work: float
) -> list[list[int]] | None:
    """Add each index of ``order`` (longest sequence first) to the bin with the least work that has room for it.

    Returns:
        The indices in each bin, most work first; None if no bin has room for a sequence within ``max_tokens``.
    """
    filled: list[list[int]] = [[] for _ in range(bins)]
    tokens = [0] * bins
    by_work = [(0.0, place) for place in range(bins)]
    for index in order:
        without_room = []
        while by_work and tokens[by_work[0][1]] and tokens[by_work[0][1]] + lengths[index] > max_tokens:
            without_room.append(heapq.heappop(by_work))
        if not by_work:
            return None
        work, place = heapq.heappop(by_work)
        filled[place].append(index)
        tokens[place] += lengths[index]
        for entry in (*without_room, (work + sequence_work(lengths[index], attention_work), place)):
            heapq.heappush(by_work, entry)
    return [filled[place] for _, place in sorted(by_work, key=lambda item: (-item[0], item[1]))]


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
