"""From judged groups to the sequences of a train batch."""

import numpy as np
import pytest

from evaluator.verdict import Status
from learner.advantage import group_advantages
from learner.credit import EmptyBatch, assign_credit, credit_step, train_batch
from learner.overlong_penalty import overlong_penalty
from learner.rollout import Group
from tests.factories import credited_group, crediting, group_of, rollout, truncated

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR
FRESH = tuple(range(10, 22))


def credit(*rollouts, **of_algorithm):
    settings = crediting(**({"mask_probability": 1.0} | of_algorithm))
    return assign_credit(Group("q", "prompt", tuple(rollouts)), settings, 0).credited


def test_credit_is_the_advantage():
    credited = credited_group(PASSED, WRONG, WRONG, WRONG).credited
    assert [item.advantage for item in credited] == group_advantages([1.0, 0.0, 0.0, 0.0])
    assert [item.rollout.completion.sample_index for item in credited] == [0, 1, 2, 3]


def test_a_masked_output_counts_in_mean_and_std_and_gets_nothing():
    rollouts = [
        truncated(PASSED, tokens=FRESH),
        truncated(WRONG, incomplete=True, tokens=FRESH),
        rollout(),
        rollout(WRONG),
    ]
    credited = credit(*rollouts)
    assert [item.mask.masked for item in credited] == [True, True, False, False]
    expected = group_advantages([1.0, 0.0, 1.0, 0.0])
    assert [item.advantage for item in credited] == [0.0, 0.0, *expected[2:]]
    assert [item.advantage for item in credit(*rollouts, mask_probability=0.0)] == expected


def test_an_excluded_completion_has_no_advantage_even_where_it_would_be_masked():
    credited = credit(rollout(), rollout(WRONG), truncated(OURS, incomplete=True, tokens=FRESH))
    assert [item.advantage for item in credited] == group_advantages([1.0, 0.0, None])


def test_the_mask_depends_on_seed_and_step():
    group = Group("q", "", tuple(truncated(PASSED, tokens=FRESH, sample_index=index) for index in range(64)))
    masks = {
        (seed, step): [
            item.mask.masked for item in assign_credit(group, crediting(seed, mask_probability=0.5), step).credited
        ]
        for seed in (0, 1)
        for step in (0, 1)
    }
    assert all(16 < sum(mask) < 48 for mask in masks.values())
    assert len({tuple(mask) for mask in masks.values()}) == 4


def test_a_question_that_comes_again_draws_anew():
    again = Group("q", "", tuple(truncated(PASSED, tokens=FRESH, sample_index=index) for index in range(64)))
    other = Group("r", "", tuple(truncated(PASSED, tokens=FRESH, question_id="r") for _ in range(2)))
    credited = credit_step([again, other, again, again], [True] * 4, crediting(mask_probability=0.5), 3)
    first, second, third = (tuple(item.mask.masked for item in credited[place].credited) for place in (0, 2, 3))
    assert len({first, second, third}) == 3
    alone = assign_credit(again, crediting(mask_probability=0.5), 3)
    assert first == tuple(item.mask.masked for item in alone.credited)


@pytest.mark.parametrize(("mask", "masked"), [("none", [0, 0, 0]), ("failing", [0, 1, 0]), ("all", [1, 1, 0])])
def test_the_mask_that_is_on_decides(mask, masked):
    rollouts = [truncated(PASSED, tokens=FRESH), truncated(WRONG, tokens=FRESH), rollout(WRONG)]
    credited = credit(*rollouts, truncation_mask=mask)
    expected = group_advantages([1.0, 0.0, 0.0])
    assert [item.mask.masked for item in credited] == [bool(one) for one in masked]
    assert [item.advantage for item in credited] == [
        0.0 if one else value for one, value in zip(masked, expected, strict=True)
    ]


def test_the_overlong_penalty_shapes_the_reward_that_advantages_are_made_of():
    """L_max = 20, L_cache = 0.4 x 20: nothing up to 12 tokens, all at 20; an excluded completion stays excluded."""
    rollouts = [rollout(tokens=[7] * 12), rollout(tokens=[7] * 16), rollout(WRONG, tokens=[7] * 20), rollout(OURS)]
    credited = credit(*rollouts, overlong_penalty=0.5, overlong_cache=0.4)
    assert [item.shaped_reward for item in credited] == [1.0, 0.75, -0.5, None]
    assert [item.advantage for item in credited] == group_advantages([1.0, 0.75, -0.5, None])
    whole = credit(*rollouts, overlong_penalty=1.0, overlong_cache=0.4)
    assert [item.shaped_reward for item in whole] == [1.0, 0.5, -1.0, None]
    assert [item.rollout.reward for item in credited] == [1.0, 1.0, 0.0, None]
    assert [item.shaped_reward for item in credit(*rollouts)] == [1.0, 1.0, 0.0, None]


def test_the_penalty_beside_rewards_of_0_and_1_is_dapos_beside_minus_1_and_1():
    """Of half its size: standardised advantages are the same."""
    rollouts = [rollout(tokens=[7] * 17), rollout(WRONG, tokens=[7] * 19), rollout(WRONG, tokens=[7] * 3)]
    found = [item.advantage for item in credit(*rollouts, overlong_penalty=0.5, overlong_cache=0.4)]
    papers = [reward + overlong_penalty(length, 20, 8) for reward, length in ((1, 17), (-1, 19), (-1, 3))]
    assert found == pytest.approx(group_advantages(papers), rel=1e-5)


def test_the_kind_of_advantage_that_is_chosen():
    rollouts = [rollout(), rollout(WRONG), rollout(WRONG)]
    for kind in ("standardised", "centred", "leave_one_out"):
        credited = credit(*rollouts, advantage=kind)
        assert [item.advantage for item in credited] == group_advantages([1.0, 0.0, 0.0], kind)


def test_groups_left_out_are_not_trained():
    groups = [group_of(PASSED, WRONG, question_id=f"q{place}") for place in range(4)]
    credited = credit_step(groups, [True, False, True, True], crediting(), 0)
    minis = train_batch(credited, 2).mini_batches
    assert [[sequence.name for sequence in mini] for mini in minis] == [
        ["q0#0", "q0#1", "q2#0", "q2#1"],
        ["q3#0", "q3#1"],
    ]
    # All are left out: no update, and no error, for nothing has failed.
    assert train_batch(credit_step(groups, [False] * 4, crediting(), 0), 2).mini_batches == ()


def test_mini_batches_are_groups_in_order():
    groups = [credited_group(PASSED, WRONG, question_id=f"q{place}") for place in range(5)]
    minis = train_batch(groups, 2).mini_batches
    assert [len(mini) for mini in minis] == [4, 4, 2]
    advantages = [sequence.advantage for mini in minis for sequence in mini]
    assert advantages == group_advantages([1.0, 0.0]) * 5


def test_a_sequence_is_prompt_and_response():
    one = rollout(
        tokens=(11, 12, 2),
        prompt_token_ids=np.array([5, 6, 7, 8], dtype=np.int32),
        sampler_logprobs=np.array([-0.1, -0.2, -0.3], dtype=np.float32),
        temperature=0.7,
    )
    ((sequence, other),) = train_batch([credited(one, rollout(WRONG))], 1).mini_batches
    assert sequence.token_ids.tolist() == [5, 6, 7, 8, 11, 12, 2]
    assert sequence.token_ids.dtype == np.int64
    assert (sequence.prompt_length, sequence.response_length, sequence.temperature) == (4, 3, 0.7)
    assert sequence.sampler_logprobs.tolist() == pytest.approx([-0.1, -0.2, -0.3])
    assert sequence.advantage == -other.advantage == pytest.approx(0.70711, abs=1e-4)


def credited(*rollouts):
    return assign_credit(Group("q", "prompt", rollouts), crediting(), 0)


def test_excluded_completions_are_left_out():
    groups = [credited_group(PASSED, OURS, WRONG), credited_group(OURS, OURS, OURS), credited_group(OURS, WRONG, OURS)]
    (first, second) = train_batch(groups, 2).mini_batches
    assert [sequence.token_ids[2] for sequence in first] == [11, 13]  # samples 0 and 2
    assert [sequence.advantage for sequence in second] == [0.0]


def test_a_mini_batch_without_sequences_is_no_update():
    groups = [credited_group(OURS, OURS), credited_group(PASSED, WRONG)]
    assert [len(mini) for mini in train_batch(groups, 1).mini_batches] == [2]


def test_nothing_to_train_on():
    with pytest.raises(EmptyBatch, match="sandbox_error"):
        train_batch([credited_group(OURS, OURS), credited_group(OURS, OURS)], 1)


def test_masked_and_equal_completions_stay_in_the_batch():
    """They count in the token mean, so masking does not change the size of the step."""
    (mini,) = train_batch([credited_group(WRONG, WRONG)], 1).mini_batches
    assert [sequence.advantage for sequence in mini] == [0.0, 0.0]
