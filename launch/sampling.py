"""From problems to judged groups: generate, and judge each completion the moment it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.evaluator_pool import EvaluatorPool
from actors.generator import SampleRequest
from actors.generator_pool import GeneratorPool
from actors.waiting import gather
from evaluator.problem import Problem
from learner.rollout import Group, Rollout

TOP_P = 1.0  # of training: the importance ratio needs the whole distribution


@dataclass(frozen=True)
class PromptedProblem:
    """A problem with its prompt: token ids [P] int32, and the messages (role, content) they were made of."""

    problem: Problem
    token_ids: np.ndarray
    messages: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """What the user says."""
        return self.messages[-1][1]


@dataclass(frozen=True)
class SamplingTimes:
    """Seconds from the first request to the last completion, and from there to the last verdict."""

    generation: float
    reward: float


@dataclass(frozen=True)
class Sampler:
    """Samples ``samples`` completions a problem and has them judged."""

    generators: GeneratorPool
    evaluators: EvaluatorPool
    max_tokens: int
    deadline_s: float

    async def sample(
        self,
        problems: Sequence[PromptedProblem],
        samples: int,
        temperature: float,
        finished: Callable[[int, int], None] | None = None,
    ) -> tuple[list[Group], SamplingTimes]:
        """Groups in the order of ``problems``. ``finished(done, total)`` is called as completions are judged.

        Raises DeadlineExceeded naming the completions that were not ready in time.
        """
        started, last_completion, done = time.monotonic(), time.monotonic(), 0
        total = len(problems) * samples

        async def one(prompted: PromptedProblem, index: int) -> Rollout:
            nonlocal last_completion, done
            completion = await self.generators.generate(
                SampleRequest(
                    prompted.problem.question_id, index, prompted.token_ids, self.max_tokens, temperature, TOP_P
                )
            )
            last_completion = time.monotonic()
            judgement = await self.evaluators.judge(prompted.problem, completion.text)
            done += 1
            if finished is not None:
                finished(done, total)
            return Rollout(completion, judgement)

        waits = {
            f"{place}:{prompted.problem.question_id}#{index}": one(prompted, index)
            for place, prompted in enumerate(problems)
            for index in range(samples)
        }
        rollouts = await gather(waits, "sampling and judging", self.deadline_s)
        groups = [
            Group(prompted.problem.question_id, prompted.text, tuple(rollouts[place * samples : (place + 1) * samples]))
            for place, prompted in enumerate(problems)
        ]
        return groups, SamplingTimes(last_completion - started, time.monotonic() - last_completion)
