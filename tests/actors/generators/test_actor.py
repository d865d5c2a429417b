"""Conversion of an engine's final output into a completion."""

from types import SimpleNamespace

import numpy as np
import pytest

from actors.generators.actor import EngineFailed, QueuedRequest, SampleRequest, make_completion


class FakeTokenizer:
    def decode(self, ids, skip_special_tokens):
        return " ".join(str(token) for token in ids if token != 2 or not skip_special_tokens)


def make_output(finish_reason="stop", spans=(("3", 0, 2), ("5", 2, 3))):
    ids = [7, 8, 2]
    return SimpleNamespace(
        token_ids=ids,
        logprobs=[{token: SimpleNamespace(logprob=-0.5 * index)} for index, token in enumerate(ids)],
        finish_reason=finish_reason,
        weight_versions=[SimpleNamespace(version=version, start=start, end=end) for version, start, end in spans],
    )


def make_queued_request():
    return QueuedRequest(
        SampleRequest(
            claim=0,
            question_id="q",
            sample_index=4,
            prompt_token_ids=np.array([5, 6], dtype=np.int32),
            max_tokens=8,
            temperature=0.75,
            top_p=1.0,
        ),
        None,
        0.0,
    )


def test_completion_has_tokens_logprobs_and_versions_of_the_engine():
    completion = make_completion(make_queued_request(), make_output(), FakeTokenizer())
    assert completion.name == "q#4"
    assert completion.text == "7 8"
    assert completion.policy_versions.tolist() == [3, 3, 5]
    assert completion.sampler_logprobs.tolist() == [0.0, -0.5, -1.0]
    assert (completion.policy_versions.dtype, completion.response_token_ids.dtype) == (np.int32, np.int32)
    assert (completion.finish_reason, completion.temperature) == ("stop", 0.75)


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_output_aborted_by_the_engine_raises(reason):
    with pytest.raises(EngineFailed, match=rf"its engine ended q#4 with {reason}"):
        make_completion(make_queued_request(), make_output(reason), FakeTokenizer())
