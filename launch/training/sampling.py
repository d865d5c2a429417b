"""From problems to judged completions: asks engines, and has each completion judged the moment it is finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from actors.evaluators.pool import EvaluatorPool
from actors.generators.actor import SampleRequest
from actors.generators.pool import GeneratorPool, in_order
from actors.waiting import gather
from launch.problems.prompts import PromptedProblem
from learner.rollout import Completion, Group, Rollout

TOP_P = 1.0  # of training: the importance ratio needs the whole distribution


@dataclass(frozen=True)
class SamplingTimes:
    """Seconds waited for completions, and from the last of them to the last verdict."""

    generation: float
    reward: float

    def __add__(self, other: SamplingTimes) -> SamplingTimes:
        return SamplingTimes(self.generation + other.generation, self.reward + other.reward)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampler:
    """Engines and evaluators, and how they are asked.

    ``seed``: of deterministic mode, where all requests of a call are with the engines, in order, before one is served,
    and the random numbers are a function of the seed and the call. None: each request goes out at once.
    """

    generators: GeneratorPool
    evaluators: EvaluatorPool
    max_tokens: int
    deadline_s: float
    seed: int | None

    def ask(
        self, problems: Sequence[PromptedProblem], samples: int, temperature: float, draw: Sequence[int]
    ) -> list[list[Awaitable[Completion]]]:
        """``samples`` completions of each problem, to be awaited. ``draw`` tells this call from the run's others."""
        requests = [
            SampleRequest(
                question_id=prompted.problem.question_id,
                sample_index=index,
                prompt_token_ids=prompted.token_ids,
                max_tokens=self.max_tokens,
                temperature=temperature,
                top_p=TOP_P,
            )
            for prompted in problems
            for index in range(samples)
        ]
        waits = in_order(self.generators, requests, self.seed, draw)
        return [waits[place * samples : (place + 1) * samples] for place in range(len(problems))]

    async def sample(
        self,
        problems: Sequence[PromptedProblem],
        samples: int,
        temperature: float,
        draw: Sequence[int],
        finished: Callable[[int, int], None],
    ) -> list[Group]:
        """Groups in the order of ``problems``. ``finished(done, total)`` is called as completions are judged.

        Raises DeadlineExceeded naming the completions that were not ready in time.
        """
        done = 0
        total = len(problems) * samples

        async def one(prompted: PromptedProblem, wait: Awaitable[Completion]) -> Rollout:
            nonlocal done
            completion = await wait
            judgement = await self.evaluators.judge(prompted.problem, completion.text)
            done += 1
            finished(done, total)
            return Rollout(completion, judgement)

        waits = {
            f"{place}:{prompted.problem.question_id}#{index}": one(prompted, wait)
            for place, (prompted, of_problem) in enumerate(
                zip(problems, self.ask(problems, samples, temperature, draw), strict=True)
            )
            for index, wait in enumerate(of_problem)
        }
        rollouts = await gather(waits, "sampling and judging", self.deadline_s)
        return [
            prompted.group(rollouts[place * samples : (place + 1) * samples]) for place, prompted in enumerate(problems)
        ]
