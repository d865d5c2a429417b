"""Evaluation with a fake source and fake evaluators: resuming, concurrency limits, failures and deadlines."""

import asyncio
from typing import Any

import numpy as np
import pytest

from actors.waiting import DeadlineExceeded
from evaluator.problem import Problem, ProblemTest
from evaluator.verdict import Status, Verdict
from launch.evaluation.answers import Answer, AnswerLog
from launch.evaluation.endpoint import EndpointError
from launch.evaluation.evaluation import Evaluation
from launch.problems.prompts import PromptedProblem
from learner.rollout import Judgement
from tests.virtual_time import run_in_virtual_time


def make_prompted(question_id):
    problem = Problem(
        question_id=question_id,
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=(ProblemTest("", "1\n"),),
        private_tests=(),
    )
    return PromptedProblem(problem, np.zeros(1, np.int32), (("user", question_id),))


class FakeSource:
    """Fake source that answers after 10 ms. It records the requests, and the largest number in flight.

    Args:
        failing: keys (question id, sample index) for which it raises EndpointError.
        stop_after: number of requests after which it raises KeyboardInterrupt; None for never.
    """

    def __init__(self, failing=(), stop_after=None):
        self.requested = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.failing = failing
        self.stop_after = stop_after

    async def answer(self, prompted, sample_index):
        key = (prompted.problem.question_id, sample_index)
        if self.stop_after is not None and len(self.requested) >= self.stop_after:
            raise KeyboardInterrupt
        self.requested.append(key)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        await asyncio.sleep(0.01)
        self.in_flight -= 1
        if key in self.failing:
            raise EndpointError("no answer")
        return Answer(
            question_id=prompted.problem.question_id,
            sample_index=sample_index,
            text=f"answer {sample_index}",
            tokens=3,
            truncated=False,
            seconds=0.01,
        )


class FakeEvaluators:
    """Fake evaluator pool that passes samples with an even index.

    It records the largest number of answers in judgement, and how many answers were not requested yet at the end of the
    first judgement.
    """

    def __init__(self, source, expected):
        self.source = source
        self.expected = expected
        self.unrequested_at_first = None
        self.judging = 0
        self.max_judging = 0

    async def judge(self, problem, text):
        self.judging += 1
        self.max_judging = max(self.max_judging, self.judging)
        await asyncio.sleep(0.01)
        self.judging -= 1
        if self.unrequested_at_first is None:
            self.unrequested_at_first = self.expected - len(self.source.requested)
        passed = int(text.split()[1]) % 2 == 0
        status = Status.PASSED if passed else Status.WRONG_ANSWER
        return Judgement(
            verdict=Verdict(
                status=status,
                tests_passed=int(passed),
                tests_run=1,
                tests_total=1,
                first_failed=None if passed else 0,
                accepted_by=None,
                seconds=0.0,
                detail="",
            ),
            code=text,
            incomplete=False,
            seconds=0.0,
        )


def run_evaluation(
    path,
    source,
    problems=("a", "b", "c"),
    samples=4,
    judge_while_sampling=True,
    deadline_s=10.0,
    max_in_flight=2,
    strict=False,
):
    """Run an evaluation in virtual time; return its log, its failures, its progress reports and the fake evaluators."""
    log = AnswerLog(path, {"model": "m"})
    evaluators: Any = FakeEvaluators(source, len(problems) * samples)
    evaluation = Evaluation(
        problems=[make_prompted(question_id) for question_id in problems],
        samples=samples,
        source=source,
        evaluators=evaluators,
        max_in_flight=max_in_flight,
        max_judging=3,
        deadline_s=deadline_s,
        judge_while_sampling=judge_while_sampling,
        strict=strict,
    )
    progress = []
    try:
        failures = run_in_virtual_time(evaluation.run(log, lambda done, total: progress.append((done, total))))
    finally:
        log.close()
    return log, failures, progress, evaluators


@pytest.mark.parametrize("judge_while_sampling", [True, False])
def test_every_problem_is_sampled_and_judged(tmp_path, judge_while_sampling):
    source = FakeSource()
    log, failures, progress, evaluators = run_evaluation(
        tmp_path / "log", source, judge_while_sampling=judge_while_sampling
    )
    keys = [(name, index) for name in "abc" for index in range(4)]
    assert sorted(source.requested) == sorted(log.judgements) == keys
    assert not failures and progress[-1] == (12, 12)
    assert source.max_in_flight == 2, "max_in_flight does not limit the answers sampled at once"
    expected = 2 if judge_while_sampling else 3
    assert evaluators.max_judging == expected, "max_judging does not limit the answers judged at once"
    assert (evaluators.unrequested_at_first > 0) == judge_while_sampling
    assert [log.judgements["a", index].verdict.passed for index in range(4)] == [True, False, True, False]


def test_resumed_evaluation_does_not_repeat_requests(tmp_path):
    first = FakeSource(stop_after=5)
    with pytest.raises(KeyboardInterrupt):
        run_evaluation(tmp_path / "log", first)
    stopped_log = AnswerLog(tmp_path / "log", {"model": "m"})
    assert stopped_log.answers
    stopped_log.close()
    second = FakeSource()
    log, *_ = run_evaluation(tmp_path / "log", second)
    assert not set(second.requested) & set(stopped_log.answers)
    assert len(log.judgements) == 12


def test_missing_answer_is_reported_and_requested_again_on_resume(tmp_path):
    log, failures, progress, _ = run_evaluation(tmp_path / "log", FakeSource(failing={("b", 2)}))
    assert failures == {"b#2": "no answer"}
    assert len(log.judgements) == 11 and progress[-1] == (12, 12)
    second = FakeSource()
    log, failures, *_ = run_evaluation(tmp_path / "log", second)
    assert second.requested == [("b", 2)] and not failures and len(log.judgements) == 12


def test_strict_evaluation_ends_at_the_first_missing_answer(tmp_path):
    with pytest.raises(EndpointError, match="no answer"):
        run_evaluation(tmp_path / "log", FakeSource(failing={("b", 2)}), strict=True)


def test_deadline_error_names_the_pending_operation(tmp_path):
    with pytest.raises(DeadlineExceeded, match="sampling and judging"):
        run_evaluation(tmp_path / "log", FakeSource(), samples=400, deadline_s=0.3)
