"""Splitting a mini-batch over ranks and into micro-batches, and padding one micro-batch.

Sequences are sorted by length so that little is padded. Padding goes to the right: under a causal mask no real token
sees it, so no attention mask is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from learner.rollout import TrainSequence


@dataclass(frozen=True)
class MicroBatch:
    """B padded sequences of length S with N response tokens in all, response tokens in sequence order.

    ``input_ids`` [B, S] int64; ``rows`` [N] int64 indexes the flattened [B * S] positions that predict the response
    tokens; ``targets`` [N] int64; ``temperatures``, ``advantages``, ``sampler_logprobs`` [N] float32; ``weight`` is 1,
    or 0 for a stand-in that only keeps ranks in step.
    """

    input_ids: Tensor
    rows: Tensor
    targets: Tensor
    temperatures: Tensor
    advantages: Tensor
    sampler_logprobs: Tensor
    weight: float


def split_over_ranks(sequences: Sequence[TrainSequence], ranks: int) -> list[list[int]]:
    """Indices of the sequences of each rank: dealt in turn from the longest to the shortest, there and back."""
    order = sorted(
        range(len(sequences)),
        key=lambda index: (-len(sequences[index].token_ids), index),
    )
    shares: list[list[int]] = [[] for _ in range(ranks)]
    for position, index in enumerate(order):
        lap, place = divmod(position, ranks)
        shares[place if lap % 2 == 0 else ranks - 1 - place].append(index)
    return shares


def plan_micro_batches(sequences: Sequence[TrainSequence], indices: Sequence[int], tokens: int) -> list[list[int]]:
    """Cut ``indices`` (longest first) into micro-batches of at most ``tokens`` padded tokens each."""
    plan: list[list[int]] = []
    for index in indices:
        longest = len(sequences[plan[-1][0]].token_ids) if plan else 0
        if not plan or (len(plan[-1]) + 1) * longest > tokens:
            plan.append([])
        plan[-1].append(index)
    return plan


def micro_batches_of_rank(sequences: Sequence[TrainSequence], rank: int, ranks: int, tokens: int) -> list[list[int]]:
    """The rank's micro-batches as lists of indices; an empty list stands where another rank has one more.

    FSDP ranks gather parameters together, so every rank must run the same number of forward passes.
    """
    plans = [plan_micro_batches(sequences, share, tokens) for share in split_over_ranks(sequences, ranks)]
    rounds = max(len(plan) for plan in plans)
    return plans[rank] + [[]] * (rounds - len(plans[rank]))


def pad(sequences: Sequence[TrainSequence], indices: Sequence[int], device: torch.device) -> MicroBatch:
    """Build the micro-batch of ``sequences[indices]``; without indices, a stand-in of weight 0."""
    chosen = [sequences[index] for index in indices] or [min(sequences, key=lambda item: len(item.token_ids))]
    width = max(len(sequence.token_ids) for sequence in chosen)
    input_ids = np.zeros((len(chosen), width), dtype=np.int64)
    rows = []
    for place, sequence in enumerate(chosen):
        length = len(sequence.token_ids)
        input_ids[place, :length] = sequence.token_ids
        rows.append(place * width + np.arange(sequence.prompt_length - 1, length - 1))
    counts = [sequence.response_length for sequence in chosen]

    def per_token(values: Sequence[float]) -> Tensor:
        return torch.from_numpy(np.repeat(np.asarray(values, dtype=np.float32), counts)).to(device)

    def join(parts: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(device)

    return MicroBatch(
        input_ids=torch.from_numpy(input_ids).to(device),
        rows=join(rows),
        targets=join([sequence.token_ids[sequence.prompt_length :].astype(np.int64) for sequence in chosen]),
        temperatures=per_token([sequence.temperature for sequence in chosen]),
        advantages=per_token([sequence.advantage for sequence in chosen]),
        sampler_logprobs=join([sequence.sampler_logprobs.astype(np.float32) for sequence in chosen]),
        weight=1.0 if indices else 0.0,
    )
