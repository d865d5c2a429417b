"""Builder of completions, apart from ``tests.factories``, which imports torch: fake actors use it in Ray's workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from learner.rollout import Completion


def make_completion(tokens: Sequence[int] = (11, 12, 13, 2), **changes: Any) -> Completion:
    """Return a completion of the prompt (5, 6).

    Args:
        tokens: response token ids.
        changes: fields of ``Completion`` to replace.
    """
    values: dict[str, Any] = {
        "claim": 0,
        "question_id": "q",
        "sample_index": 0,
        "prompt_token_ids": np.array([5, 6], dtype=np.int32),
        "response_token_ids": np.array(tokens, dtype=np.int32),
        "sampler_logprobs": np.full(len(tokens), -0.5, dtype=np.float32),
        "finish_reason": "stop",
        "temperature": 1.0,
        "policy_versions": np.zeros(len(tokens), dtype=np.int32),
        "text": "an answer",
        "generation_seconds": 1.5,
    }
    return Completion(**(values | changes))
