"""Evaluation: sample every problem n times, judge each answer the moment it is finished, keep each as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from actors.evaluators.pool import EvaluatorPool
from actors.generators.actor import SampleRequest
from actors.generators.pool import GeneratorPool, in_order
from actors.waiting import gather
from conf.schema import Config
from launch.evaluation.answers import Answer, AnswerLog
from launch.evaluation.endpoint import EndpointError
from launch.problems.prompts import PromptedProblem, prompt_style
from learner.rollout import Completion


def sampling_settings(config: Config) -> dict[str, object]:
    """What answers are drawn with: those drawn with other settings are of another evaluation."""
    return {
        "evaluation.temperature": config.evaluation.temperature,
        "evaluation.top_p": config.evaluation.top_p,
        "evaluation.max_response_tokens": config.answer_tokens,
        "dataset.prompt": prompt_style(config.dataset),
    }


EVALUATION = 2**32 - 2  # in front of a step, where it says which random numbers are drawn


def in_flight(config: Config) -> int:
    """How many answers to ask for at once: as many as all engines decode at once."""
    return config.generator.actors * config.generator.max_sequences


def in_judgement(config: Config) -> int:
    """How many answers to give to the evaluators at once: enough for each sandbox to have the next one at hand."""
    return 4 * config.evaluator.max_actors * config.evaluator.workers


class AnswerSource(Protocol):
    """Where answers come from."""

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """One sampled answer. Raises EndpointError when there is none to be had."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSource:
    """Answers from our own engines, the least busy one first."""

    generators: GeneratorPool
    max_tokens: int
    temperature: float
    top_p: float

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """One sampled answer."""
        return _answer(await self.generators.generate(self.request(prompted, sample_index)))

    def request(self, prompted: PromptedProblem, sample_index: int) -> SampleRequest:
        """What an engine is asked for one answer."""
        name = prompted.problem.question_id
        tokens = prompted.token_ids
        return SampleRequest(
            question_id=name,
            sample_index=sample_index,
            prompt_token_ids=tokens,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
        )


class OrderedSource:
    """All answers are asked for at once, in order: deterministic mode's way to our own engines (``in_order``).

    An evaluation with it must begin with an empty log, and ask for everything at once.
    """

    def __init__(
        self, source: EngineSource, problems: Sequence[PromptedProblem], samples: int, seed: int, draw: Sequence[int]
    ) -> None:
        wanted = [(prompted, index) for prompted in problems for index in range(samples)]
        requests = [source.request(prompted, index) for prompted, index in wanted]
        waits = in_order(source.generators, requests, seed, draw)
        self.waits = {
            (request.question_id, request.sample_index): wait for request, wait in zip(requests, waits, strict=True)
        }

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """One sampled answer."""
        return _answer(await self.waits[prompted.problem.question_id, sample_index])


def _answer(completion: Completion) -> Answer:
    return Answer(
        question_id=completion.question_id,
        sample_index=completion.sample_index,
        text=completion.text,
        tokens=len(completion.response_token_ids),
        truncated=completion.finish_reason == "length",
        seconds=completion.generation_seconds,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What to ask, whom, and who judges.

    At most ``in_flight`` answers are being sampled at once, and at most ``in_judgement`` are with the evaluators: with
    each goes its problem, which may have megabytes of tests.

    ``overlapped``: an answer is judged while others are sampled; without, all are sampled first (to measure the gain).
    ``strict``: an answer that is not to be had ends the evaluation instead of being counted.
    """

    problems: Sequence[PromptedProblem]
    samples: int
    source: AnswerSource
    evaluators: EvaluatorPool
    in_flight: int
    in_judgement: int
    deadline_s: float
    overlapped: bool = True
    strict: bool = False

    async def run(self, log: AnswerLog, finished: Callable[[int, int], None] | None = None) -> dict[str, str]:
        """Fill ``log`` with what is lacking in it. ``finished(done, total)`` is called as answers are judged.

        Returns why there is no answer, by ``question_id#sample_index``. Raises DeadlineExceeded naming what was not
        ready in time; what is in the log then stays there.
        """
        places = asyncio.Semaphore(self.in_flight)
        benches = asyncio.Semaphore(self.in_judgement)
        failures: dict[str, str] = {}
        total = len(self.problems) * self.samples
        done = 0

        async def sample(prompted: PromptedProblem, index: int) -> Answer | None:
            known = log.answers.get((prompted.problem.question_id, index))
            if known is not None:
                return known
            async with places:
                try:
                    answer = await self.source.answer(prompted, index)
                except EndpointError as error:
                    if self.strict:
                        raise
                    failures[f"{prompted.problem.question_id}#{index}"] = str(error)
                    return None
            log.add_answer(answer)
            return answer

        async def judge(prompted: PromptedProblem, answer: Answer | None) -> None:
            nonlocal done
            if answer is not None and answer.key not in log.judgements:
                async with benches:
                    judgement = await self.evaluators.judge(prompted.problem, answer.text)
                log.add_judgement(answer.key, judgement)
            done += 1
            if finished is not None:
                finished(done, total)

        async def both(prompted: PromptedProblem, index: int) -> None:
            await judge(prompted, await sample(prompted, index))

        wanted = {
            f"{prompted.problem.question_id}#{index}": (prompted, index)
            for prompted in self.problems
            for index in range(self.samples)
        }
        if self.overlapped:
            waits = {name: both(*one) for name, one in wanted.items()}
            await gather(waits, "sampling and judging", self.deadline_s)
        else:
            samples = {name: sample(*one) for name, one in wanted.items()}
            answers = await gather(samples, "sampling", self.deadline_s)
            judged = {
                name: judge(prompted, answer)
                for (name, (prompted, _)), answer in zip(wanted.items(), answers, strict=True)
            }
            await gather(judged, "judging", self.deadline_s)
        return failures
