"""An evaluation asks for what its log lacks, judges while it samples, and counts the answers it could not get."""

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


def prompted(question_id):
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


class Source:
    """Answers after a moment; notes who was asked, and how many were under way at most."""

    def __init__(self, failing=(), stop_after=None):
        self.asked = []
        self.under_way = 0
        self.most = 0
        self.failing = failing
        self.stop_after = stop_after

    async def answer(self, prompted, sample_index):
        key = (prompted.problem.question_id, sample_index)
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(key)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
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


class Judges:
    """Passes even samples; notes how many answers were still to come when it judged first."""

    def __init__(self, source, expected):
        self.source = source
        self.expected = expected
        self.waited = None
        self.under_way = 0
        self.most = 0

    async def judge(self, problem, text):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
        if self.waited is None:
            self.waited = self.expected - len(self.source.asked)
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


def run(path, source, problems=("a", "b", "c"), samples=4, overlapped=True, deadline_s=10.0, in_flight=2, strict=False):
    log = AnswerLog(path, {"model": "m"})
    judges: Any = Judges(source, len(problems) * samples)
    evaluation = Evaluation(
        problems=[prompted(one) for one in problems],
        samples=samples,
        source=source,
        evaluators=judges,
        in_flight=in_flight,
        in_judgement=3,
        deadline_s=deadline_s,
        overlapped=overlapped,
        strict=strict,
    )
    progress = []
    try:
        failures = run_in_virtual_time(evaluation.run(log, lambda done, total: progress.append((done, total))))
    finally:
        log.close()
    return log, failures, progress, judges


@pytest.mark.parametrize("overlapped", [True, False])
def test_every_problem_is_asked_and_judged(tmp_path, overlapped):
    source = Source()
    log, failures, progress, judges = run(tmp_path / "log", source, overlapped=overlapped)
    keys = [(name, index) for name in "abc" for index in range(4)]
    assert sorted(source.asked) == sorted(log.judgements) == keys
    assert not failures and progress[-1] == (12, 12)
    assert source.most == 2, "in_flight bounds what is sampled at once"
    assert judges.most == (2 if overlapped else 3), "in_judgement bounds what is judged at once"
    assert (judges.waited > 0) == overlapped
    assert [log.judgements["a", index].verdict.passed for index in range(4)] == [True, False, True, False]


def test_a_stopped_evaluation_asks_for_nothing_again(tmp_path):
    first = Source(stop_after=5)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "log", first)
    kept = AnswerLog(tmp_path / "log", {"model": "m"})
    assert kept.answers
    kept.close()
    second = Source()
    log, *_ = run(tmp_path / "log", second)
    assert not set(second.asked) & set(kept.answers)
    assert len(log.judgements) == 12


def test_a_missing_answer_is_counted_and_asked_for_next_time(tmp_path):
    log, failures, progress, _ = run(tmp_path / "log", Source(failing={("b", 2)}))
    assert failures == {"b#2": "no answer"}
    assert len(log.judgements) == 11 and progress[-1] == (12, 12)
    again = Source()
    log, failures, *_ = run(tmp_path / "log", again)
    assert again.asked == [("b", 2)] and not failures and len(log.judgements) == 12


def test_strict_ends_with_the_first_missing_answer(tmp_path):
    with pytest.raises(EndpointError, match="no answer"):
        run(tmp_path / "log", Source(failing={("b", 2)}), strict=True)


def test_a_deadline_names_what_is_pending(tmp_path):
    with pytest.raises(DeadlineExceeded, match="sampling and judging"):
        run(tmp_path / "log", Source(), samples=400, deadline_s=0.3)
