"""From the engine's final output to a completion."""

from types import SimpleNamespace

import numpy as np
import pytest

from actors.generators.actor import EngineLost, Queued, SampleRequest, completion_of


class Tokenizer:
    def decode(self, ids, skip_special_tokens):
        return " ".join(str(one) for one in ids if one != 2 or not skip_special_tokens)


def output(finish_reason="stop", spans=(("3", 0, 2), ("5", 2, 3))):
    ids = [7, 8, 2]
    return SimpleNamespace(
        token_ids=ids,
        logprobs=[{token: SimpleNamespace(logprob=-0.5 * place)} for place, token in enumerate(ids)],
        finish_reason=finish_reason,
        weight_versions=[SimpleNamespace(version=version, start=start, end=end) for version, start, end in spans],
    )


def queued():
    return Queued(
        SampleRequest(
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


def test_what_a_completion_has_of_the_engine():
    found = completion_of(queued(), output(), Tokenizer())
    assert found.name == "q#4"
    assert found.text == "7 8"
    assert found.policy_versions.tolist() == [3, 3, 5]
    assert found.sampler_logprobs.tolist() == [0.0, -0.5, -1.0]
    assert (found.policy_versions.dtype, found.response_token_ids.dtype) == (np.int32, np.int32)
    assert (found.finish_reason, found.temperature) == ("stop", 0.75)


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_what_the_engine_broke_off_is_no_completion(reason):
    with pytest.raises(EngineLost, match=rf"its engine ended q#4 with {reason}"):
        completion_of(queued(), output(reason), Tokenizer())
