"""What a completion must be, and what a rollout says of it."""

import dataclasses

import numpy as np
import pytest

from evaluator.verdict import Status
from learner.rollout import TrainBatch
from tests.factories import completion, rollout, truncated
from tests.tiny_learner import sequence


def test_a_completion_without_tokens():
    with pytest.raises(ValueError, match=r"q7#3 has no tokens"):
        completion(tokens=(), question_id="q7", sample_index=3)


@pytest.mark.parametrize("logprobs", [0, 1, 3])
def test_a_log_prob_for_each_token(logprobs):
    with pytest.raises(ValueError, match=rf"q#0: 2 tokens but {logprobs} sampler log-probs"):
        completion(tokens=(3, 2), sampler_logprobs=np.zeros(logprobs, dtype=np.float32))


def test_a_policy_version_for_each_token():
    with pytest.raises(ValueError, match=r"q#0: 2 tokens but 3 policy versions"):
        completion(tokens=(3, 2), policy_versions=np.zeros(3, dtype=np.int32))


def test_policy_versions_of_the_oldest_and_the_newest_token():
    mixed = completion(tokens=(3, 4, 2), policy_versions=np.array([4, 4, 6], dtype=np.int32))
    assert (mixed.policy_version_min, mixed.policy_version_max) == (4, 6)


@pytest.mark.parametrize("status", list(Status))
def test_the_reward_is_whether_all_tests_passed(status):
    expected = {Status.PASSED: 1.0, Status.SANDBOX_ERROR: None}.get(status, 0.0)
    assert rollout(status).reward == expected


def test_truncated():
    assert truncated().truncated
    assert not rollout().truncated


def test_response_length():
    assert sequence(response=(3, 4, 5), prompt=(1, 2)).response_length == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler_logprobs": np.zeros(2, np.float32)}, "3 tokens but 2 sampler log-probs"),
        ({"sampler_logprobs": np.zeros(0, np.float32)}, "3 tokens but 0 sampler log-probs"),
        ({"prompt_length": 5}, "5 tokens of which 5 are the prompt"),
        ({"prompt_length": 0, "sampler_logprobs": np.zeros(5, np.float32)}, "5 tokens of which 0 are the prompt"),
        ({"advantage": float("nan")}, "its advantage is nan"),
        ({"advantage": float("inf")}, "its advantage is inf"),
        ({"temperature": 0.0}, "sampled at temperature 0.0"),
        ({"temperature": float("nan")}, "sampled at temperature nan"),
    ],
)
def test_a_sequence_that_cannot_be_trained_on_is_named(changes, message):
    with pytest.raises(ValueError, match=rf"^completion q7#3: {message}"):
        dataclasses.replace(sequence(response=(3, 4, 5), prompt=(1, 2)), name="q7#3", **changes)


def test_a_mini_batch_without_sequences_is_refused():
    assert TrainBatch(()).mini_batches == ()
    with pytest.raises(ValueError, match=r"^mini-batch 1 of 2 has no sequences"):
        TrainBatch(((sequence(),), ()))
