"""What travels from the generators to the learner: completions, their verdicts, groups and train batches.

All types are frozen. Token arrays are one-dimensional numpy arrays, so that Ray moves them without a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluator.verdict import Status, Verdict

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Completion:
    """One sampled answer.

    ``prompt_token_ids`` [P] int32; ``response_token_ids`` [R] int32, its end-of-sequence token included;
    ``sampler_logprobs`` [R] float32, at ``temperature``; ``policy_versions`` [R] int32, the version of the weights that
    sampled each token. ``finish_reason`` is "length" when generation stopped at the maximum response length. Raises
    ValueError naming the completion when lengths disagree.
    """

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
        """The oldest weights that sampled a token of it."""
        return int(self.policy_versions.min())

    @property
    def policy_version_max(self) -> int:
        """The newest weights that sampled a token of it."""
        return int(self.policy_versions.max())

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.question_id}#{self.sample_index}"

    @property
    def tokens(self) -> int:
        """Of prompt and response."""
        return len(self.prompt_token_ids) + len(self.response_token_ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What the evaluator says of one completion: the program found in it, its verdict, and what it cost."""

    verdict: Verdict
    code: str | None
    incomplete: bool
    """The text has no complete code block, or ends inside an open fence or reasoning part."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Rollout:
    """A completion with its judgement. ``reward`` is 0 or 1; None when it is excluded (a sandbox error of ours)."""

    completion: Completion
    judgement: Judgement

    @property
    def reward(self) -> float | None:
        if self.judgement.verdict.status is Status.SANDBOX_ERROR:
            return None
        return float(self.judgement.verdict.passed)

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
    """One completion as the learner sees it.

    ``token_ids`` [P + R] int64, the prompt then the response; ``sampler_logprobs`` [R] float32; ``name`` is for
    messages; ``place``: where it was among the sequences of ``Learner.prepare``, if it was. Raises ValueError naming
    the completion when lengths disagree or a number is none.
    """

    token_ids: np.ndarray
    prompt_length: int
    sampler_logprobs: np.ndarray
    temperature: float
    advantage: float
    name: str = "without a name"
    place: int | None = None

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

    There may be no mini-batch (a step without an update), but none without sequences: that raises ValueError.
    """

    mini_batches: tuple[tuple[TrainSequence, ...], ...]

    def __post_init__(self) -> None:
        for place, mini in enumerate(self.mini_batches):
            if not mini:
                raise ValueError(f"mini-batch {place} of {len(self.mini_batches)} has no sequences: leave it out")
