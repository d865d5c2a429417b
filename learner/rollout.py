"""Data passed from the generators to the learner: completions, their verdicts, groups and train batches.

All types are frozen. Token arrays are one-dimensional numpy arrays, so that Ray moves them without a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluator.verdict import Verdict

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, order=True)
class CompletionId:
    """Identity of a completion, from its request on.

    Attributes:
        claim: number of the group, counted over the run; in a calibration the index of the problem; in an evaluation
            -1, since answers are identified by question there.
        sample_index: position in the group.
    """

    claim: int
    sample_index: int


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Completion:
    """A sampled answer.

    Attributes:
        claim: number of the group (see ``CompletionId``).
        prompt_token_ids: [P] int32.
        response_token_ids: [R] int32, including the end-of-sequence token.
        sampler_logprobs: [R] float32, at ``temperature``.
        finish_reason: "length" if generation stopped at the maximum response length.
        policy_versions: [R] int32, version of the weights that sampled each token.

    Raises ValueError naming the completion when lengths disagree.
    """

    claim: int
    question_id: str
    sample_index: int
    prompt_token_ids: np.ndarray
    response_token_ids: np.ndarray
    sampler_logprobs: np.ndarray
    finish_reason: FinishReason
    temperature: float
    policy_versions: np.ndarray
    text: str
    generation_seconds: float

    def __post_init__(self) -> None:
        if len(self.response_token_ids) == 0:
            raise ValueError(f"completion {self.name} has no tokens")
        if len(self.response_token_ids) != len(self.sampler_logprobs):
            raise ValueError(
                f"completion {self.name}: {len(self.response_token_ids)} tokens but {len(self.sampler_logprobs)} "
                "sampler log-probs"
            )
        if len(self.response_token_ids) != len(self.policy_versions):
            raise ValueError(
                f"completion {self.name}: {len(self.response_token_ids)} tokens but {len(self.policy_versions)} "
                "policy versions"
            )

    @property
    def policy_version_min(self) -> int:
        """Version of the oldest weights that sampled a token."""
        return int(self.policy_versions.min())

    @property
    def policy_version_max(self) -> int:
        """Version of the newest weights that sampled a token."""
        return int(self.policy_versions.max())

    @property
    def id(self) -> CompletionId:
        return CompletionId(self.claim, self.sample_index)

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"{self.question_id}#{self.sample_index}"

    @property
    def tokens(self) -> int:
        """Number of prompt and response tokens."""
        return len(self.prompt_token_ids) + len(self.response_token_ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The evaluator's answer about one completion.

    Attributes:
        code: the program found in the text; None without one.
        incomplete: the text has no complete code block, or ends inside an open fence or reasoning part.
        seconds: time that the program ran.
    """

    verdict: Verdict
    code: str | None
    incomplete: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class Rollout:
    """A completion with its judgement and its reward in [0, 1] (``learner.reward``).

    ``reward`` is None when the completion is excluded from its group: the evaluator could not judge it (sandbox_error).
    """

    completion: Completion
    judgement: Judgement
    reward: float | None

    @property
    def passed(self) -> bool:
        """Did the program pass all tests? "Correct" in the truncation mask."""
        return self.judgement.verdict.passed

    @property
    def truncated(self) -> bool:
        return self.completion.finish_reason == "length"


@dataclass(frozen=True, eq=False)
class Group:
    """All rollouts of one problem in one step, in sample order."""

    question_id: str
    prompt: str
    rollouts: tuple[Rollout, ...]

    @property
    def responses(self) -> list[np.ndarray]:
        """Token ids [R_i] int32 of each response."""
        return [rollout.completion.response_token_ids for rollout in self.rollouts]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class TrainSequence:
    """A completion as the learner trains on it.

    Attributes:
        token_ids: [P + R] int64, the prompt, then the response.
        sampler_logprobs: [R] float32.
        advantage: 0 until the group is credited.
        name: for messages.
        id: identity under which ``Learner.prepare`` caches old log-probs; None: never cached.

    Raises ValueError naming the completion when lengths disagree or a number is not finite.
    """

    token_ids: np.ndarray
    prompt_length: int
    sampler_logprobs: np.ndarray
    temperature: float
    advantage: float = 0.0
    name: str = "without a name"
    id: CompletionId | None = None

    def __post_init__(self) -> None:
        if self.prompt_length < 1 or self.response_length < 1:
            raise ValueError(
                f"completion {self.name}: {len(self.token_ids)} tokens of which {self.prompt_length} are the prompt; "
                "a prompt and a response need at least one each"
            )
        if len(self.sampler_logprobs) != self.response_length:
            raise ValueError(
                f"completion {self.name}: {self.response_length} tokens but {len(self.sampler_logprobs)} sampler "
                "log-probs"
            )
        if not math.isfinite(self.advantage):
            raise ValueError(f"completion {self.name}: its advantage is {self.advantage}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"completion {self.name}: sampled at temperature {self.temperature}")

    @property
    def response_length(self) -> int:
        return len(self.token_ids) - self.prompt_length


@dataclass(frozen=True, eq=False)
class TrainBatch:
    """The sequences of one training step, split into the mini-batches of its optimizer updates.

    A batch without mini-batches is a step without an update. Raises ValueError for a mini-batch without sequences.
    """

    mini_batches: tuple[tuple[TrainSequence, ...], ...]

    def __post_init__(self) -> None:
        for place, mini in enumerate(self.mini_batches):
            if not mini:
                raise ValueError(f"mini-batch {place} of {len(self.mini_batches)} has no sequences: drop it")
