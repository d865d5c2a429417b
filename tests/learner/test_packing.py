"""Splitting a mini-batch over ranks and micro-batches, and packing one micro-batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.packing import pack, plan_micro_batches, sequence_work
from tests.tiny_learner import make_sequence, make_sequences

CPU = torch.device("cpu")
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=25)
RANKS = st.integers(1, 5)
BUDGET = st.integers(1, 100)


def token_counts(lengths, plan):
    """Return the number of tokens of each micro-batch, [ranks][rounds]."""
    return [[sum(lengths[index] for index in micro_batch) for micro_batch in rank_plan] for rank_plan in plan]


@given(LENGTHS, RANKS, BUDGET)
def test_plan_contains_every_sequence_exactly_once(lengths, ranks, tokens):
    plan = plan_micro_batches(lengths, ranks, tokens, 0.0)
    planned = [index for rank_plan in plan for micro_batch in rank_plan for index in micro_batch]
    assert sorted(planned) == list(range(len(lengths)))


@given(LENGTHS, RANKS, BUDGET)
def test_micro_batches_of_several_sequences_stay_within_the_budget(lengths, ranks, tokens):
    for rank_plan in plan_micro_batches(lengths, ranks, tokens, 0.0):
        for micro_batch in rank_plan:
            assert len(micro_batch) <= 1 or sum(lengths[index] for index in micro_batch) <= tokens


@given(LENGTHS, RANKS, BUDGET)
def test_all_ranks_have_equally_many_rounds_and_no_round_is_empty(lengths, ranks, tokens):
    plan = plan_micro_batches(lengths, ranks, tokens, 0.0)
    assert len(plan) == ranks
    (rounds,) = {len(rank_plan) for rank_plan in plan}
    assert rounds >= 1
    assert all(any(rank_plan[number] for rank_plan in plan) for number in range(rounds))


@given(LENGTHS, RANKS, BUDGET)
def test_tokens_of_ranks_differ_by_at_most_one_sequence(lengths, ranks, tokens):
    """The difference is at most one sequence in every round, and also in the sum over rounds."""
    counts = token_counts(lengths, plan_micro_batches(lengths, ranks, tokens, 0.0))
    assert max(map(max, counts)) - min(map(min, counts)) <= max(lengths)
    totals = [sum(rank_counts) for rank_counts in counts]
    assert max(totals) - min(totals) <= max(lengths)


@given(LENGTHS, RANKS, BUDGET, st.floats(0.0, 1.0))
def test_work_of_ranks_differs_by_at_most_one_sequence(lengths, ranks, tokens, attention_work):
    """In every round where the budget of tokens does not decide, and with a budget for one round."""
    plan = plan_micro_batches(lengths, ranks, sum(lengths), attention_work)
    works = [
        sum(sequence_work(lengths[index], attention_work) for micro_batch in rank_plan for index in micro_batch)
        for rank_plan in plan
    ]
    assert max(works) - min(works) <= sequence_work(max(lengths), attention_work) * (1 + 1e-9)
    limited = plan_micro_batches(lengths, ranks, tokens, attention_work)
    assert all(
        len(micro_batch) <= 1 or sum(lengths[index] for index in micro_batch) <= tokens
        for rank_plan in limited
        for micro_batch in rank_plan
    )
    assert sorted(index for rank_plan in limited for part in rank_plan for index in part) == list(range(len(lengths)))


def test_a_long_sequence_is_balanced_by_its_work():
    lengths = [32, 8, 8, 8, 8]
    assert plan_micro_batches(lengths, 2, 64, 0.0) == [[[0]], [[1, 2, 3, 4]]]
    # With attention, 32 tokens are more work than 4 times 8: 32 * (1 + 32 / 8) = 160 against 4 * 8 * (1 + 8 / 8) = 64.
    assert sequence_work(32, 1 / 8) == 160
    assert sequence_work(8, 1 / 8) == 16
    lengths = [32, *[8] * 14]
    assert plan_micro_batches(lengths, 2, 200, 1 / 8) == [[[0, 11, 13]], [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14]]]


@given(LENGTHS, RANKS)
def test_a_large_budget_gives_one_round(lengths, ranks):
    assert {len(rank_plan) for rank_plan in plan_micro_batches(lengths, ranks, sum(lengths), 0.0)} == {1}


def test_plan_matches_hand_computed_micro_batches():
    lengths = [4, 10, 2, 8, 4]
    # 28 tokens need two micro-batches of 16. Longest first: 10 and 8, then 4 to 8, 4 to 10, 2 to 12.
    assert plan_micro_batches(lengths, 1, 16, 0.0) == [[[1, 4], [3, 0, 2]]]
    assert plan_micro_batches(lengths, 2, 16, 0.0) == [[[1, 4]], [[3, 0, 2]]]
    # Each sequence needs a micro-batch of its own: three rounds of two ranks, one micro-batch is empty.
    assert plan_micro_batches(lengths, 2, 5, 0.0) == [[[1], [0], [2]], [[3], [4], []]]


def test_pack_matches_hand_computed_tensors():
    first = make_sequence(response=(7, 8, 9), prompt=(5,), advantage=2.0, temperature=0.5, sampler_logprob=-1.0)
    second = make_sequence(response=(3,), prompt=(5, 6), advantage=-1.0, temperature=1.5, sampler_logprob=-2.0)
    micro = pack([first, second], [1, 0], CPU)
    assert micro.input_ids.tolist() == [5, 6, 3, 5, 7, 8, 9]
    assert micro.position_ids.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert micro.lengths == (3, 4)
    assert micro.rows.tolist() == [1, 3, 4, 5]
    assert micro.targets.tolist() == [3, 7, 8, 9]
    assert micro.temperatures.tolist() == [1.5, 0.5, 0.5, 0.5]


@given(st.integers(0, 2**31), st.integers(1, 6), st.data())
def test_pack_matches_a_naive_loop(seed, count, data):
    sequences = make_sequences([1.0] * count, seed=seed)
    indices = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    micro = pack(sequences, indices, CPU)
    tokens = []
    rows = []
    targets = []
    for index in indices:
        for position, token in enumerate(sequences[index].token_ids):
            if position >= sequences[index].prompt_length:
                rows.append(len(tokens) - 1)  # the hidden state before a token predicts it
                targets.append(token)
            tokens.append(token)
    assert micro.input_ids.tolist() == tokens
    assert micro.rows.tolist() == rows
    assert micro.targets.tolist() == targets


def test_pack_without_indices_packs_the_shortest_sequence():
    sequences = [make_sequence(response=[7] * length, prompt=(5,)) for length in (5, 2, 9)]
    micro = pack(sequences, [], CPU)
    np.testing.assert_array_equal(micro.input_ids, sequences[1].token_ids)


@pytest.mark.gpu
def test_pack_on_a_gpu_equals_that_on_the_cpu(cuda):
    sequences = make_sequences([1.0] * 5, seed=3)
    ours = pack(sequences, [4, 0, 2], cuda)
    expected = pack(sequences, [4, 0, 2], CPU)
    for name in ("input_ids", "position_ids", "rows", "targets", "temperatures"):
        value = getattr(ours, name)
        assert value.device == cuda and torch.equal(value.cpu(), getattr(expected, name))
    assert ours.lengths == expected.lengths
