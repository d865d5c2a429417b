"""Credit assignment, and the train batch made of credited groups."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.verdict import Status
from learner.advantage import group_advantages
from learner.credit import (
    NoTrainableCompletion,
    assign_credit,
    assign_group_credit,
    build_train_batch,
    build_train_sequences,
    split_evenly,
)
from learner.overlong_penalty import overlong_penalty
from learner.rollout import CompletionId, Group
from tests.factories import make_credit_settings, make_credited_group, make_group, make_rollout, make_truncated_rollout

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR
FRESH = tuple(range(10, 22))


def credit(*rollouts, **algorithm_changes):
    """Return the credited rollouts of a group, with mask probability 1."""
    settings = make_credit_settings(**({"mask_probability": 1.0} | algorithm_changes))
    return assign_group_credit(Group("q", "prompt", tuple(rollouts)), settings, 0).rollouts


def test_advantages_are_those_of_the_group():
    credited = make_credited_group(PASSED, WRONG, WRONG, WRONG).rollouts
    assert [item.advantage for item in credited] == group_advantages([1.0, 0.0, 0.0, 0.0])
    assert [item.rollout.completion.sample_index for item in credited] == [0, 1, 2, 3]


def test_a_masked_output_counts_in_mean_and_std_and_has_advantage_zero():
    rollouts = [
        make_truncated_rollout(PASSED, tokens=FRESH),
        make_truncated_rollout(WRONG, incomplete=True, tokens=FRESH),
        make_rollout(),
        make_rollout(WRONG),
    ]
    credited = credit(*rollouts)
    assert [item.mask.masked for item in credited] == [True, True, False, False]
    expected = group_advantages([1.0, 0.0, 1.0, 0.0])
    assert [item.advantage for item in credited] == [0.0, 0.0, *expected[2:]]
    assert [item.advantage for item in credit(*rollouts, mask_probability=0.0)] == expected


def test_an_excluded_completion_has_no_advantage_even_if_masked():
    credited = credit(make_rollout(), make_rollout(WRONG), make_truncated_rollout(OURS, incomplete=True, tokens=FRESH))
    assert [item.advantage for item in credited] == group_advantages([1.0, 0.0, None])


def test_the_mask_depends_on_seed_and_step():
    group = Group(
        "q", "", tuple(make_truncated_rollout(PASSED, tokens=FRESH, sample_index=index) for index in range(64))
    )
    masks = {
        (seed, step): [
            item.mask.masked
            for item in assign_group_credit(group, make_credit_settings(seed, mask_probability=0.5), step).rollouts
        ]
        for seed in (0, 1)
        for step in (0, 1)
    }
    assert all(16 < sum(mask) < 48 for mask in masks.values())
    assert len({tuple(mask) for mask in masks.values()}) == 4


def test_repeated_questions_draw_different_masks():
    again = Group(
        "q", "", tuple(make_truncated_rollout(PASSED, tokens=FRESH, sample_index=index) for index in range(64))
    )
    other = Group("r", "", tuple(make_truncated_rollout(PASSED, tokens=FRESH, question_id="r") for _ in range(2)))
    credited = assign_credit([again, other, again, again], [True] * 4, make_credit_settings(mask_probability=0.5), 3)
    first, second, third = (tuple(item.mask.masked for item in credited[place].rollouts) for place in (0, 2, 3))
    assert len({first, second, third}) == 3
    alone = assign_group_credit(again, make_credit_settings(mask_probability=0.5), 3)
    assert first == tuple(item.mask.masked for item in alone.rollouts)


@pytest.mark.parametrize(("mask", "masked"), [("none", [0, 0, 0]), ("failing", [0, 1, 0]), ("all", [1, 1, 0])])
def test_the_configured_mask_is_applied(mask, masked):
    rollouts = [
        make_truncated_rollout(PASSED, tokens=FRESH),
        make_truncated_rollout(WRONG, tokens=FRESH),
        make_rollout(WRONG),
    ]
    credited = credit(*rollouts, truncation_mask=mask)
    expected = group_advantages([1.0, 0.0, 0.0])
    assert [item.mask.masked for item in credited] == [bool(flag) for flag in masked]
    assert [item.advantage for item in credited] == [
        0.0 if is_masked else value for is_masked, value in zip(masked, expected, strict=True)
    ]


def test_the_overlong_penalty_changes_rewards_and_advantages():
    """L_max = 20, L_cache = 0.4 x 20: nothing up to 12 tokens, all at 20; an excluded completion stays excluded."""
    rollouts = [
        make_rollout(tokens=[7] * 12),
        make_rollout(tokens=[7] * 16),
        make_rollout(WRONG, tokens=[7] * 20),
        make_rollout(OURS),
    ]
    credited = credit(*rollouts, overlong_penalty=0.5, overlong_cache=0.4)
    assert [item.shaped_reward for item in credited] == [1.0, 0.75, -0.5, None]
    assert [item.advantage for item in credited] == group_advantages([1.0, 0.75, -0.5, None])
    whole = credit(*rollouts, overlong_penalty=1.0, overlong_cache=0.4)
    assert [item.shaped_reward for item in whole] == [1.0, 0.5, -1.0, None]
    assert [item.rollout.reward for item in credited] == [1.0, 1.0, 0.0, None]
    assert [item.shaped_reward for item in credit(*rollouts)] == [1.0, 1.0, 0.0, None]


def test_half_the_penalty_with_rewards_0_and_1_equals_dapos_with_rewards_minus_1_and_1():
    """Standardised advantages are the same."""
    rollouts = [
        make_rollout(tokens=[7] * 17),
        make_rollout(WRONG, tokens=[7] * 19),
        make_rollout(WRONG, tokens=[7] * 3),
    ]
    halved = [item.advantage for item in credit(*rollouts, overlong_penalty=0.5, overlong_cache=0.4)]
    papers = [reward + overlong_penalty(length, 20, 8) for reward, length in ((1, 17), (-1, 19), (-1, 3))]
    assert halved == pytest.approx(group_advantages(papers), rel=1e-5)


def test_the_configured_kind_of_advantage_is_used():
    rollouts = [make_rollout(), make_rollout(WRONG), make_rollout(WRONG)]
    for kind in ("standardised", "centred", "leave_one_out"):
        credited = credit(*rollouts, advantage=kind)
        assert [item.advantage for item in credited] == group_advantages([1.0, 0.0, 0.0], kind)


def test_groups_dropped_by_dynamic_sampling_are_not_trained():
    groups = [make_group(PASSED, WRONG, question_id=f"q{place}") for place in range(4)]
    credited = assign_credit(groups, [True, False, True, True], make_credit_settings(), 0)
    minis = build_train_batch(credited, 2, {}).mini_batches
    assert [[sequence.name for sequence in mini] for mini in minis] == [
        ["q0#0", "q0#1", "q2#0", "q2#1"],
        ["q3#0", "q3#1"],
    ]
    # All groups are dropped: no update, and no error, because nothing has failed.
    assert build_train_batch(assign_credit(groups, [False] * 4, make_credit_settings(), 0), 2, {}).mini_batches == ()


def test_mini_batches_hold_groups_in_order():
    groups = [make_credited_group(PASSED, WRONG, question_id=f"q{place}") for place in range(5)]
    minis = build_train_batch(groups, 2, {}).mini_batches
    assert [len(mini) for mini in minis] == [4, 4, 2]
    advantages = [sequence.advantage for mini in minis for sequence in mini]
    assert advantages == group_advantages([1.0, 0.0]) * 5


@given(st.integers(0, 200), st.integers(1, 40))
def test_mini_batches_are_even(count, size):
    items: list[Any] = list(range(count))
    parts = split_evenly(items, size)
    assert [item for part in parts for item in part] == items
    sizes = [len(part) for part in parts]
    assert len(parts) == -(-count // size)
    assert not sizes or (max(sizes) <= size and max(sizes) - min(sizes) <= 1)


def test_a_sequence_is_the_prompt_and_the_response():
    one = make_rollout(
        tokens=(11, 12, 2),
        prompt_token_ids=np.array([5, 6, 7, 8], dtype=np.int32),
        sampler_logprobs=np.array([-0.1, -0.2, -0.3], dtype=np.float32),
        temperature=0.7,
    )
    ((sequence, other),) = build_train_batch([credited(one, make_rollout(WRONG))], 1, {}).mini_batches
    assert sequence.token_ids.tolist() == [5, 6, 7, 8, 11, 12, 2]
    assert sequence.token_ids.dtype == np.int64
    assert (sequence.prompt_length, sequence.response_length, sequence.temperature) == (4, 3, 0.7)
    assert sequence.sampler_logprobs.tolist() == pytest.approx([-0.1, -0.2, -0.3])
    assert sequence.advantage == -other.advantage == pytest.approx(0.70711, abs=1e-4)


def credited(*rollouts):
    return assign_group_credit(Group("q", "prompt", rollouts), make_credit_settings(), 0)


def test_excluded_completions_are_not_in_the_batch():
    groups = [
        make_credited_group(PASSED, OURS, WRONG),
        make_credited_group(OURS, OURS, OURS),
        make_credited_group(OURS, WRONG, OURS),
    ]
    (first, second) = build_train_batch(groups, 2, {}).mini_batches
    assert [sequence.token_ids[2] for sequence in first] == [11, 13]  # samples 0 and 2
    assert [sequence.advantage for sequence in second] == [0.0]


def test_a_mini_batch_without_sequences_is_dropped():
    groups = [make_credited_group(OURS, OURS), make_credited_group(PASSED, WRONG)]
    assert [len(mini) for mini in build_train_batch(groups, 1, {}).mini_batches] == [2]


def test_a_batch_of_excluded_completions_is_an_error():
    with pytest.raises(NoTrainableCompletion, match="sandbox_error"):
        build_train_batch([make_credited_group(OURS, OURS), make_credited_group(OURS, OURS)], 1, {})


def test_a_step_without_groups_is_an_error_that_names_the_deadline():
    with pytest.raises(NoTrainableCompletion, match=r"generator\.deadline_s"):
        build_train_batch([], 1, {})


def test_masked_completions_and_equal_rewards_stay_in_the_batch():
    """They count in the token mean, so masking does not change the size of the step."""
    (mini,) = build_train_batch([make_credited_group(WRONG, WRONG)], 1, {}).mini_batches
    assert [sequence.advantage for sequence in mini] == [0.0, 0.0]


def test_existing_sequences_are_reused_by_identity():
    completions = [make_rollout(claim=claim, sample_index=index).completion for claim in (4, 7) for index in (0, 1)]
    sequences = build_train_sequences(completions)
    assert list(sequences) == [completion.id for completion in completions]
    group = Group("q", "prompt", (make_rollout(claim=7, sample_index=1), make_rollout(WRONG, claim=8, sample_index=0)))
    ((known, new),) = build_train_batch(
        [assign_group_credit(group, make_credit_settings(), 0)], 1, sequences
    ).mini_batches
    assert known.token_ids is sequences[CompletionId(7, 1)].token_ids
    assert (known.advantage, new.id) == (-new.advantage, CompletionId(8, 0))


def test_the_failing_mask_ignores_partial_rewards():
    """ "Failing" means that a test failed, whatever the reward is."""
    rollout = replace(make_truncated_rollout(WRONG, tokens=FRESH), reward=0.5)
    (first, second) = credit(rollout, make_rollout(), truncation_mask="failing")
    assert (first.mask.masked, second.mask.masked) == (True, False)
    assert first.advantage == 0.0
