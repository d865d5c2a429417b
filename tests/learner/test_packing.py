"""How a mini-batch is split over ranks and into micro-batches, and how one micro-batch is packed."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.packing import pack, plan_micro_batches
from tests.tiny_learner import sequence, sequences_of

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=25)
RANKS = st.integers(1, 5)
BUDGET = st.integers(1, 100)


def loads(lengths, plan):
    """Tokens of each micro-batch [ranks][rounds]."""
    return [[sum(lengths[index] for index in micro) for micro in share] for share in plan]


@given(LENGTHS, RANKS, BUDGET)
def test_every_sequence_exactly_once(lengths, ranks, tokens):
    plan = plan_micro_batches(lengths, ranks, tokens)
    dealt = [index for share in plan for micro in share for index in micro]
    assert sorted(dealt) == list(range(len(lengths)))


@given(LENGTHS, RANKS, BUDGET)
def test_the_budget_is_kept_unless_one_sequence_is_longer(lengths, ranks, tokens):
    for share in plan_micro_batches(lengths, ranks, tokens):
        for micro in share:
            assert len(micro) <= 1 or sum(lengths[index] for index in micro) <= tokens


@given(LENGTHS, RANKS, BUDGET)
def test_all_ranks_run_as_many_forward_passes_and_no_round_is_empty(lengths, ranks, tokens):
    plan = plan_micro_batches(lengths, ranks, tokens)
    assert len(plan) == ranks
    (rounds,) = {len(share) for share in plan}
    assert rounds >= 1
    assert all(any(share[number] for share in plan) for number in range(rounds))


@given(LENGTHS, RANKS, BUDGET)
def test_ranks_get_like_amounts(lengths, ranks, tokens):
    """In every round but for what one sequence makes, and so also in all."""
    found = loads(lengths, plan_micro_batches(lengths, ranks, tokens))
    assert max(map(max, found)) - min(map(min, found)) <= max(lengths)
    totals = [sum(share) for share in found]
    assert max(totals) - min(totals) <= max(lengths)


@given(LENGTHS, RANKS)
def test_a_large_budget_makes_one_round(lengths, ranks):
    assert {len(share) for share in plan_micro_batches(lengths, ranks, sum(lengths))} == {1}


def test_micro_batches_by_hand():
    lengths = [4, 10, 2, 8, 4]
    # 28 tokens need two of 16: 10, then 8, then 4 beside 8, 4 beside 10, 2 beside 12.
    assert plan_micro_batches(lengths, 1, 16) == [[[1, 4], [3, 0, 2]]]
    assert plan_micro_batches(lengths, 2, 16) == [[[1, 4]], [[3, 0, 2]]]
    # Nothing fits beside 10 or 8: six places of two ranks, one left empty.
    assert plan_micro_batches(lengths, 2, 5) == [[[1], [0], [2]], [[3], [4], []]]


def test_packing_by_hand():
    first = sequence(response=(7, 8, 9), prompt=(5,), advantage=2.0, temperature=0.5, sampler=-1.0)
    second = sequence(response=(3,), prompt=(5, 6), advantage=-1.0, temperature=1.5, sampler=-2.0)
    micro = pack([first, second], [1, 0], CPU)
    assert micro.input_ids.tolist() == [5, 6, 3, 5, 7, 8, 9]
    assert micro.position_ids.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert micro.lengths == (3, 4)
    assert micro.rows.tolist() == [1, 3, 4, 5]
    assert micro.targets.tolist() == [3, 7, 8, 9]
    assert micro.temperatures.tolist() == [1.5, 0.5, 0.5, 0.5]


@given(st.integers(0, 2**31), st.integers(1, 6), st.data())
def test_packing_against_a_naive_loop(seed, count, data):
    sequences = sequences_of([1.0] * count, seed=seed)
    indices = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    micro = pack(sequences, indices, CPU)
    tokens = []
    rows = []
    targets = []
    for index in indices:
        for position, token in enumerate(sequences[index].token_ids):
            if position >= sequences[index].prompt_length:
                rows.append(len(tokens) - 1)  # the state before a token predicts it
                targets.append(token)
            tokens.append(token)
    assert micro.input_ids.tolist() == tokens
    assert micro.rows.tolist() == rows
    assert micro.targets.tolist() == targets


def test_a_stand_in_is_the_shortest_sequence():
    sequences = [sequence(response=[7] * length, prompt=(5,)) for length in (5, 2, 9)]
    micro = pack(sequences, [], CPU)
    np.testing.assert_array_equal(micro.input_ids, sequences[1].token_ids)
