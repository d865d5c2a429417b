"""Evaluator actor without Ray: from the text of a completion to its judgement."""

import asyncio

import pytest

from actors.evaluators.actor import EvaluatorActor, EvaluatorSettings
from evaluator.sandbox import Limits
from evaluator.verdict import Status
from tests.factories import make_problem

SETTINGS = EvaluatorSettings(
    limits=Limits(wall_s=30.0, cpu_s=30.0),
    workers=1,
    policy="judge",
    adaptive_timeout=False,
    strict=False,
    all_tests=False,
)


def judge(*texts):
    async def judge_all():
        actor = EvaluatorActor(SETTINGS)
        try:
            return [await actor.judge(make_problem(), text) for text in texts]
        finally:
            await actor.stop()

    return asyncio.run(judge_all())


def test_program_in_a_completion_is_judged():
    (judgement,) = judge("```python\nprint(sum(map(int, input().split())))\n```")
    assert (judgement.verdict.status, judgement.incomplete) == (Status.PASSED, False)


@pytest.mark.usefixtures("failing_parser")
def test_failure_of_the_parser_is_a_sandbox_error():
    judgement, truncated = judge("```python\nprint(1)\n```", "")
    assert (judgement.verdict.status, judgement.code, judgement.incomplete) == (Status.SANDBOX_ERROR, None, False)
    assert judgement.verdict.tests_total == len(make_problem().tests)
    assert "the parser process failed twice" in judgement.verdict.detail
    assert truncated.verdict.status is Status.NO_CODE
