"""Validation of completions, sequences and batches, and properties of rollouts."""

import dataclasses

import numpy as np
import pytest

from evaluator.verdict import Status
from learner.rollout import CompletionId, TrainBatch
from tests.factories import make_completion, make_rollout, make_truncated_rollout
from tests.tiny_learner import make_sequence


def test_a_completion_without_tokens_is_refused():
    with pytest.raises(ValueError, match=r"q7#3 has no tokens"):
        make_completion(tokens=(), question_id="q7", sample_index=3)


@pytest.mark.parametrize("logprobs", [0, 1, 3])
def test_a_completion_needs_a_log_prob_per_token(logprobs):
    with pytest.raises(ValueError, match=rf"q#0: 2 tokens but {logprobs} sampler log-probs"):
        make_completion(tokens=(3, 2), sampler_logprobs=np.zeros(logprobs, dtype=np.float32))


def test_a_completion_needs_a_policy_version_per_token():
    with pytest.raises(ValueError, match=r"q#0: 2 tokens but 3 policy versions"):
        make_completion(tokens=(3, 2), policy_versions=np.zeros(3, dtype=np.int32))


def test_smallest_and_largest_policy_version():
    mixed = make_completion(tokens=(3, 4, 2), policy_versions=np.array([4, 4, 6], dtype=np.int32))
    assert (mixed.policy_version_min, mixed.policy_version_max) == (4, 6)


def test_identity_is_claim_and_sample_index():
    completions = [make_completion(claim=claim, sample_index=index) for claim in (3, 10) for index in (0, 2)]
    assert sorted(completion.id for completion in reversed(completions)) == [
        CompletionId(3, 0),
        CompletionId(3, 2),
        CompletionId(10, 0),
        CompletionId(10, 2),
    ]


@pytest.mark.parametrize("status", list(Status))
def test_a_rollout_is_correct_if_all_tests_passed(status):
    assert make_rollout(status).passed is (status is Status.PASSED)


def test_a_rollout_is_truncated_at_the_length_limit():
    assert make_truncated_rollout().truncated
    assert not make_rollout().truncated


def test_response_length_excludes_the_prompt():
    assert make_sequence(response=(3, 4, 5), prompt=(1, 2)).response_length == 3


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
def test_an_invalid_sequence_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=rf"^completion q7#3: {message}"):
        dataclasses.replace(make_sequence(response=(3, 4, 5), prompt=(1, 2)), name="q7#3", **changes)


def test_a_mini_batch_without_sequences_is_refused():
    assert TrainBatch(()).mini_batches == ()
    with pytest.raises(ValueError, match=r"^mini-batch 1 of 2 has no sequences"):
        TrainBatch(((make_sequence(),), ()))
