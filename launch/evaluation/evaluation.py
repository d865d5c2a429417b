"""Evaluation: sample n answers per problem, judge each answer as soon as it is complete, and write both to a log.

    AnswerSource.answer ──► AnswerLog.add_answer ──► EvaluatorPool.judge ──► AnswerLog.add_judgement

Each answer passes through these steps on its own; a resumed evaluation skips the steps that its log already contains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from actors.evaluators.pool import EvaluatorPool
from actors.generators.actor import SampleRequest
from actors.generators.pool import GeneratorPool, request_completions
from actors.waiting import gather
from conf.schema import Config
from launch.evaluation.answers import Answer, AnswerLog
from launch.evaluation.endpoint import EndpointError
from launch.problems.prompts import PromptedProblem, select_prompt_style
from learner.rollout import Completion

EVALUATION_CLAIM = -1  # no claim of a group: an evaluation identifies its answers by question and sample index
EVALUATION_STREAM = 2**32 - 2  # random number stream of evaluations in deterministic mode, followed by the step


def get_sampling_settings(config: Config, temperature: float) -> dict[str, object]:
    """Return the settings that determine how answers are sampled, to identify an evaluation."""
    return {
        "evaluation.temperature": temperature,
        "evaluation.top_p": config.evaluation.top_p,
        "evaluation.max_response_tokens": config.answer_tokens,
        "dataset.prompt": select_prompt_style(config.dataset),
        "model.thinking": config.model.thinking,
    }


def compute_max_in_flight(config: Config) -> int:
    """Return how many answers to sample at once: as many as all engines decode at once."""
    return config.generator.actors * config.generator.max_sequences


def compute_max_judging(config: Config) -> int:
    """Return how many answers to give to the evaluators at once: enough that no sandbox waits for its next one."""
    return 4 * config.evaluator.max_actors * config.evaluator.workers


class AnswerSource(Protocol):
    """Source of sampled answers."""

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """Sample an answer. Raises EndpointError if the source fails to give one."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSource:
    """Answers from the run's own vLLM engines. Each request goes to the least busy engine."""

    generators: GeneratorPool
    max_tokens: int
    temperature: float
    top_p: float

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """Sample an answer."""
        return _to_answer(await self.generators.generate(self.make_request(prompted, sample_index)))

    def make_request(self, prompted: PromptedProblem, sample_index: int) -> SampleRequest:
        """Return the request for an answer."""
        return SampleRequest(
            claim=EVALUATION_CLAIM,
            question_id=prompted.problem.question_id,
            sample_index=sample_index,
            prompt_token_ids=prompted.token_ids,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
        )


class OrderedSource:
    """Answers from the run's own engines in deterministic mode (``request_completions``).

    All answers are requested at once, in order, when the source is created. The evaluation must therefore start with an
    empty log, and ``max_in_flight`` must be at least the number of answers.
    """

    def __init__(
        self,
        source: EngineSource,
        problems: Sequence[PromptedProblem],
        samples: int,
        seed: int,
        stream_key: Sequence[int],
    ) -> None:
        """Request all answers.

        Args:
            source: engines and sampling settings.
            problems: problems with their prompts.
            samples: answers per problem.
            seed: seed of the run.
            stream_key: integers unique to this call, which with the seed determine the random numbers.
        """
        requests = [source.make_request(prompted, index) for prompted in problems for index in range(samples)]
        completions = request_completions(source.generators, requests, seed, stream_key)
        self.completions = {
            (request.question_id, request.sample_index): completion
            for request, completion in zip(requests, completions, strict=True)
        }

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """Wait for the answer, which was requested when the source was created."""
        return _to_answer(await self.completions[prompted.problem.question_id, sample_index])


def _to_answer(completion: Completion) -> Answer:
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
    """Evaluation of a model on a set of problems.

    Attributes:
        problems: problems with their prompts.
        samples: answers per problem.
        source: where answers are sampled.
        evaluators: pool that judges answers.
        max_in_flight: largest number of answers that are sampled at once.
        max_judging: largest number of answers that are given to the evaluators at once. It is limited because each
            problem that is being judged is kept in Ray's object store with its tests, up to megabytes.
        deadline_s: seconds for the whole evaluation; for each phase if ``judge_while_sampling`` is False.
        judge_while_sampling: judge each answer as soon as it is complete. If False, sample all answers first; this
            exists to measure the gain.
        strict: end the evaluation at the first failure of the source. If False, failures are counted.
    """

    problems: Sequence[PromptedProblem]
    samples: int
    source: AnswerSource
    evaluators: EvaluatorPool
    max_in_flight: int
    max_judging: int
    deadline_s: float
    judge_while_sampling: bool = True
    strict: bool = False

    async def run(self, log: AnswerLog, report_progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
        """Sample and judge the answers that ``log`` does not contain yet.

        Args:
            log: log of answers and judgements.
            report_progress: called with (done, total) after each judgement, or failure to get an answer.

        Returns:
            The reason of each failure to get an answer, by "question_id#sample_index".

        Raises:
            DeadlineExceeded: some answers were not ready in time; the message names them. The log keeps the others.
            EndpointError: the source failed, and ``strict`` is set.
        """
        sampling_slots = asyncio.Semaphore(self.max_in_flight)
        judging_slots = asyncio.Semaphore(self.max_judging)
        failures: dict[str, str] = {}
        total = len(self.problems) * self.samples
        done = 0

        async def sample(prompted: PromptedProblem, index: int) -> Answer | None:
            logged = log.answers.get((prompted.problem.question_id, index))
            if logged is not None:
                return logged
            async with sampling_slots:
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
                async with judging_slots:
                    judgement = await self.evaluators.judge(prompted.problem, answer.text)
                log.add_judgement(answer.key, judgement)
            done += 1
            if report_progress is not None:
                report_progress(done, total)

        async def sample_and_judge(prompted: PromptedProblem, index: int) -> None:
            await judge(prompted, await sample(prompted, index))

        names = {
            f"{prompted.problem.question_id}#{index}": (prompted, index)
            for prompted in self.problems
            for index in range(self.samples)
        }
        if self.judge_while_sampling:
            pending = {name: sample_and_judge(prompted, index) for name, (prompted, index) in names.items()}
            await gather(pending, "sampling and judging", self.deadline_s)
        else:
            samples = {name: sample(prompted, index) for name, (prompted, index) in names.items()}
            answers = await gather(samples, "sampling", self.deadline_s)
            judgements = {
                name: judge(prompted, answer)
                for (name, (prompted, _)), answer in zip(names.items(), answers, strict=True)
            }
            await gather(judgements, "judging", self.deadline_s)
        return failures
