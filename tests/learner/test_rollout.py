"""What a completion must be, and what a rollout says of it."""

import numpy as np
import pytest

from evaluator.verdict import Status
from tests.factories import completion, rollout, truncated
from tests.tiny_learner import sequence


def test_a_completion_without_tokens():
    with pytest.raises(ValueError, match=r"q7#3 has no tokens"):
        completion(tokens=(), question_id="q7", sample_index=3)


@pytest.mark.parametrize("logprobs", [1, 3])
def test_a_log_prob_for_each_token(logprobs):
    with pytest.raises(ValueError, match=rf"q#0: 2 tokens but {logprobs} sampler log-probs"):
        completion(tokens=(3, 2), sampler_logprobs=np.zeros(logprobs, dtype=np.float32))


@pytest.mark.parametrize("status", list(Status))
def test_the_reward_is_whether_all_tests_passed(status):
    expected = {Status.PASSED: 1.0, Status.SANDBOX_ERROR: None}.get(status, 0.0)
    assert rollout(status).reward == expected


def test_truncated():
    assert truncated().truncated
    assert not rollout().truncated


def test_response_length():
    assert sequence(response=(3, 4, 5), prompt=(1, 2)).response_length == 3
