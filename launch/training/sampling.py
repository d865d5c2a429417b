"""Sampling: request completions from the engines, and have each completion judged the moment it is finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from actors.evaluators.pool import EvaluatorPool
from actors.generators.actor import SampleRequest
from actors.generators.pool import GeneratorPool, request_completions
from actors.waiting import gather
from launch.problems.prompts import PromptedProblem
from learner.reward import Reward, reward_rollout
from learner.rollout import Completion, CompletionId, Group, Rollout

TOP_P = 1.0  # of training: the importance ratio needs the whole distribution


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampler:
    """Samples and judges completions of training problems.

    Attributes:
        max_tokens: maximum response length.
        deadline_s: seconds for all completions of a call and their verdicts.
        seed: seed of deterministic mode, where all requests of a call are queued in order before the first is served,
            and random numbers are a function of the seed and the call. None: each request is sent at once.
        reward: reward function of judged completions.
    """

    generators: GeneratorPool
    evaluators: EvaluatorPool
    max_tokens: int
    deadline_s: float
    seed: int | None
    reward: Reward

    def request(
        self,
        problems: Mapping[int, PromptedProblem],
        samples: int,
        temperature: float,
        stream_key: Sequence[int],
    ) -> dict[CompletionId, Awaitable[Completion]]:
        """Request ``samples`` completions of each problem, to be awaited one by one.

        Args:
            problems: problems by claim number.
            samples: completions per problem.
            temperature: sampling temperature.
            stream_key: integers unique to this call, from which deterministic mode derives its seed.
        """
        requests = [
            SampleRequest(
                claim=claim,
                question_id=prompted.problem.question_id,
                sample_index=index,
                prompt_token_ids=prompted.token_ids,
                max_tokens=self.max_tokens,
                temperature=temperature,
                top_p=TOP_P,
            )
            for claim, prompted in problems.items()
            for index in range(samples)
        ]
        completions = request_completions(self.generators, requests, self.seed, stream_key)
        return {request.id: completion for request, completion in zip(requests, completions, strict=True)}

    async def judge(self, prompted: PromptedProblem, completion: Completion) -> Rollout:
        """Judge a completion and compute its reward. Raises InvalidReward."""
        judgement = await self.evaluators.judge(prompted.problem, completion.text)
        return reward_rollout(prompted.problem, completion, judgement, self.reward)

    async def sample(
        self,
        problems: Sequence[PromptedProblem],
        samples: int,
        temperature: float,
        stream_key: Sequence[int],
        on_progress: Callable[[int, int], None],
    ) -> list[Group]:
        """Sample and judge groups, in the order of ``problems``, and report progress.

        ``on_progress(judged, total)`` is called after each verdict; the other arguments are those of ``request``.
        Raises DeadlineExceeded naming the completions that were not ready in time.
        """
        judged = 0
        total = len(problems) * samples

        async def sample_rollout(prompted: PromptedProblem, completion: Awaitable[Completion]) -> Rollout:
            nonlocal judged
            rollout = await self.judge(prompted, await completion)
            judged += 1
            on_progress(judged, total)
            return rollout

        completions = self.request(dict(enumerate(problems)), samples, temperature, stream_key)
        pending = {
            f"{id.claim}:{problems[id.claim].problem.question_id}#{id.sample_index}": sample_rollout(
                problems[id.claim], completion
            )
            for id, completion in completions.items()
        }
        rollouts = await gather(pending, "sampling and judging", self.deadline_s)
        return [
            prompted.make_group(rollouts[index * samples : (index + 1) * samples])
            for index, prompted in enumerate(problems)
        ]
