"""How a mini-batch is split over ranks and micro-batches, and how one micro-batch is padded."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.micro_batch import micro_batches_of_rank, pad, split_over_ranks
from tests.tiny_learner import sequence, sequences_of

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=25)


def of_lengths(lengths):
    return [sequence(response=[7] * length, prompt=(5,)) for length in lengths]


@given(LENGTHS, st.integers(1, 5), st.integers(1, 100))
def test_every_sequence_exactly_once(lengths, ranks, tokens):
    plans = [micro_batches_of_rank(of_lengths(lengths), rank, ranks, tokens) for rank in range(ranks)]
    dealt = [index for plan in plans for micro in plan for index in micro]
    assert sorted(dealt) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 5), st.integers(1, 100))
def test_padded_tokens_are_bounded(lengths, ranks, tokens):
    sequences = of_lengths(lengths)
    for rank in range(ranks):
        for micro in micro_batches_of_rank(sequences, rank, ranks, tokens):
            assert len(micro) <= 1 or pad(sequences, micro, CPU).input_ids.numel() <= tokens


@given(LENGTHS, st.integers(1, 5), st.integers(1, 100))
def test_all_ranks_run_as_many_forward_passes(lengths, ranks, tokens):
    rounds = {len(micro_batches_of_rank(of_lengths(lengths), rank, ranks, tokens)) for rank in range(ranks)}
    assert len(rounds) == 1
    assert rounds.pop() >= 1


@given(LENGTHS, st.integers(1, 5))
def test_ranks_get_like_amounts(lengths, ranks):
    shares = split_over_ranks(of_lengths(lengths), ranks)
    counts = [len(share) for share in shares]
    assert max(counts) - min(counts) <= 1
    totals = [sum(lengths[index] for index in share) for share in shares]
    assert max(totals) - min(totals) <= max(lengths) + 1


def test_micro_batches_by_hand():
    # Lengths with the prompt: 10, 8, 4, 4, 2. A budget of 16 holds 10 | 8 + 4 (2 x 8) | 4 + 2 (2 x 4).
    sequences = of_lengths([3, 9, 1, 7, 3])
    assert micro_batches_of_rank(sequences, 0, 1, 16) == [[1], [3, 0], [4, 2]]
    assert micro_batches_of_rank(sequences, 0, 2, 16) == [[1], [4, 2]]
    assert micro_batches_of_rank(sequences, 1, 2, 16) == [[3, 0], []]


def test_padding_by_hand():
    first = sequence(response=(7, 8, 9), prompt=(5,), advantage=2.0, temperature=0.5, sampler=-1.0)
    second = sequence(response=(3,), prompt=(5, 6), advantage=-1.0, temperature=1.5, sampler=-2.0)
    micro = pad([first, second], [1, 0], CPU)
    assert micro.input_ids.tolist() == [[5, 6, 3, 0], [5, 7, 8, 9]]
    assert micro.rows.tolist() == [1, 4, 5, 6]
    assert micro.targets.tolist() == [3, 7, 8, 9]
    assert micro.temperatures.tolist() == [1.5, 0.5, 0.5, 0.5]
    assert micro.advantages.tolist() == [-1.0, 2.0, 2.0, 2.0]
    assert micro.sampler_logprobs.tolist() == [-2.0, -1.0, -1.0, -1.0]
    assert micro.weight == 1.0


@given(st.integers(0, 2**31), st.integers(1, 6), st.data())
def test_padding_against_a_naive_loop(seed, count, data):
    sequences = sequences_of([1.0] * count, seed=seed)
    indices = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    micro = pad(sequences, indices, CPU)
    width = max(len(sequences[index].token_ids) for index in indices)
    rows, targets = [], []
    for place, index in enumerate(indices):
        for position in range(sequences[index].prompt_length, len(sequences[index].token_ids)):
            rows.append(place * width + position - 1)  # the state before a token predicts it
            targets.append(sequences[index].token_ids[position])
    assert micro.input_ids.shape == (len(indices), width)
    assert micro.rows.tolist() == rows
    assert micro.targets.tolist() == targets
    assert torch.equal(micro.input_ids.flatten()[micro.rows + 1], micro.targets)


def test_a_stand_in_weighs_nothing():
    sequences = of_lengths([5, 2, 9])
    micro = pad(sequences, [], CPU)
    assert micro.weight == 0.0
    np.testing.assert_array_equal(micro.input_ids[0], sequences[1].token_ids)
