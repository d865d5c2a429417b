"""Time limits that follow the programs that solved a problem, and programs that are put off until one does."""

import asyncio
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest

import evaluator.evaluator
from evaluator import Evaluator, Limits, Problem, ProblemTest, Status, adaptive, judging
from evaluator.adaptive import AdaptiveLimits

LIMITS = Limits(wall_s=6.0, cpu_s=5.0)
LOOP = "while True: pass"
RIGHT = "print(1)"
SLEEPS = "import time\ntime.sleep(600)"
SLOW = "import time\ntime.sleep(1.4)\nprint(1)"  # right, and over the second that is granted at first


def problem(question_id="q", difficulty=None):
    return Problem(
        question_id=question_id,
        question_title="",
        question_content="",
        platform="other",
        difficulty=difficulty,
        contest_date=None,
        starter_code="",
        public_tests=(ProblemTest("", "1\n"),),
        private_tests=(),
    )


@pytest.fixture
def granted(monkeypatch):
    """The wall limits under which each program was run, by its code, in order."""
    found = defaultdict(list)

    def watched(worker, problem, code, limits, *more):
        found[code].append(limits.wall_s)
        return judging.judge(worker, problem, code, limits, *more)

    monkeypatch.setattr(evaluator.evaluator, "judge", watched)
    return found


def judge(programs, workers=1, wall_s=4.0):
    limits = Limits(wall_s=wall_s, cpu_s=wall_s)
    with Evaluator(limits, workers, adaptive_timeout=True) as judges:
        verdicts = asyncio.run(judges.evaluate_many([(problem(one), code) for one, code in programs]))
        return [verdict.status for verdict in verdicts]


def test_limits_stay_until_a_problem_is_solved():
    limits = AdaptiveLimits()
    limits.solved("other", 0.01)
    assert limits.lower("q", LIMITS) is LIMITS


@pytest.mark.parametrize(("slowest", "wall_s", "cpu_s"), [(0.001, 1, 1), (0.3, 3, 3), (0.55, 5.5, 5), (2, 6, 5)])
def test_limits_follow_the_slowest_accepted_test(slowest, wall_s, cpu_s):
    limits = AdaptiveLimits()
    for seconds in (slowest / 2, slowest, slowest / 3):
        limits.solved("q", seconds)
    lowered = limits.lower("q", LIMITS)
    assert (lowered.wall_s, lowered.cpu_s) == (pytest.approx(wall_s), pytest.approx(cpu_s))
    assert lowered.memory_mb == LIMITS.memory_mb


def test_the_longest_known_problems_are_forgotten(monkeypatch):
    monkeypatch.setattr(adaptive, "MOST_PROBLEMS", 2)
    limits = AdaptiveLimits()
    for question_id in ("a", "b", "a", "c"):
        limits.solved(question_id, 0.1)
    assert [limits.lower(one, LIMITS) is LIMITS for one in "abc"] == [False, True, False]


def test_threads_may_share_it():
    limits = AdaptiveLimits()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: limits.solved("q", n / 1e6), range(2000)))
    assert limits.lower("q", Limits(wall_s=60, cpu_s=60)).wall_s == 1.0


@pytest.mark.heavy
def test_a_loop_waits_for_a_solution_and_costs_a_second(granted):
    statuses = judge([("q", LOOP), ("q", LOOP), ("q", RIGHT)])
    assert statuses == [Status.TIME_LIMIT, Status.TIME_LIMIT, Status.PASSED]
    assert set(granted[LOOP]) == {1.0}, "it was run at the configured limit of four seconds"


@pytest.mark.heavy
def test_a_slow_right_program_that_was_put_off_still_passes():
    assert judge([("q", SLOW), ("q", "print(2)")], wall_s=30.0) == [Status.PASSED, Status.WRONG_ANSWER]


@pytest.mark.heavy
def test_a_program_alone_gets_the_whole_limit_at_once(granted):
    statuses = judge([("q", SLOW), ("other", RIGHT)], wall_s=30.0)
    assert statuses == [Status.PASSED, Status.PASSED]
    assert granted[SLOW] == [30.0], "it was run twice"


@pytest.mark.heavy
def test_every_program_gets_a_verdict_when_none_solves_the_problem(granted):
    assert judge([("q", SLEEPS)] * 3, workers=2, wall_s=1.5) == [Status.TIME_LIMIT] * 3
    assert len(granted[SLEEPS]) <= 6, "a program was run more than twice"


@pytest.mark.heavy
def test_programs_put_off_get_an_answer_when_the_evaluator_closes():
    judges = Evaluator(Limits(wall_s=3, cpu_s=3), adaptive_timeout=True)
    judges.submit(problem("other"), SLOW)  # runs while the others arrive
    put_off, last = (judges.submit(problem(), SLEEPS) for _ in range(2))
    while not last.running():
        assert not put_off.done()
        time.sleep(0.01)
    judges.close()
    assert put_off.result(0).status is Status.SANDBOX_ERROR
    assert last.result(0).status is Status.TIME_LIMIT
