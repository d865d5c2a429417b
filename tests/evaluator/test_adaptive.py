"""Adaptive time limits: they follow the accepted programs of a problem; slow programs are deferred until then."""

import asyncio
import itertools
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest

import evaluator.evaluator
from evaluator import Evaluator, Limits, ProblemTest, Status, adaptive, judging
from evaluator.adaptive import AdaptiveLimits
from evaluator.sandbox import SandboxedProgram
from tests.evaluator.problems import make_problem_with_tests

LIMITS = Limits(wall_s=6.0, cpu_s=5.0)
LOOP = "while True: pass"
CORRECT = "print(1)"
SLEEPING = "import time\ntime.sleep(600)"
SLOW_CORRECT = "import time\ntime.sleep(1.4)\nprint(1)"  # slower than the provisional limit of one second


def make_print_one_problem(question_id="q"):
    """Return a problem that a program solves by printing 1."""
    return make_problem_with_tests(ProblemTest("", "1\n"), question_id=question_id)


@pytest.fixture
def wall_limits(monkeypatch):
    """Wall limits (seconds) of each program's runs, in order, by the program's source."""
    limits_by_source = defaultdict(list)

    def record_limit_and_judge(**arguments):
        limits_by_source[arguments["code"]].append(arguments["limits"].wall_s)
        return judging.judge(**arguments)

    monkeypatch.setattr(evaluator.evaluator, "judge", record_limit_and_judge)
    return limits_by_source


def judge_all(programs, workers=1, wall_s=4.0):
    """Return the status of each (question_id, source) of ``programs``, judged with adaptive limits."""
    limits = Limits(wall_s=wall_s, cpu_s=wall_s)
    with Evaluator(limits, workers, adaptive_timeout=True) as adaptive_evaluator:
        items = [(make_print_one_problem(question_id), source) for question_id, source in programs]
        verdicts = asyncio.run(adaptive_evaluator.evaluate_many(items))
        return [verdict.status for verdict in verdicts]


def test_limits_are_unchanged_before_a_problem_is_solved():
    limits = AdaptiveLimits()
    limits.mark_solved("other", 0.01)
    assert limits.lower("q", LIMITS) is LIMITS


@pytest.mark.parametrize(("slowest", "wall_s", "cpu_s"), [(0.001, 1, 1), (0.3, 3, 3), (0.55, 5.5, 5), (2, 6, 5)])
def test_limits_scale_with_the_slowest_accepted_test(slowest, wall_s, cpu_s):
    limits = AdaptiveLimits()
    for seconds in (slowest / 2, slowest, slowest / 3):
        limits.mark_solved("q", seconds)
    lowered = limits.lower("q", LIMITS)
    assert (lowered.wall_s, lowered.cpu_s) == (pytest.approx(wall_s), pytest.approx(cpu_s))
    assert lowered.memory_mb == LIMITS.memory_mb


def test_least_recently_solved_problems_are_dropped(monkeypatch):
    monkeypatch.setattr(adaptive, "MAX_PROBLEMS", 2)
    limits = AdaptiveLimits()
    for question_id in ("a", "b", "a", "c"):
        limits.mark_solved(question_id, 0.1)
    assert [limits.lower(question_id, LIMITS) is LIMITS for question_id in "abc"] == [False, True, False]


def test_limits_can_be_updated_by_several_threads():
    limits = AdaptiveLimits()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: limits.mark_solved("q", n / 1e6), range(2000)))
    assert limits.lower("q", Limits(wall_s=60, cpu_s=60)).wall_s == 1.0


@pytest.mark.heavy
def test_looping_program_is_deferred_and_limited_to_one_second(wall_limits):
    statuses = judge_all([("q", LOOP), ("q", LOOP), ("q", CORRECT)])
    assert statuses == [Status.TIME_LIMIT, Status.TIME_LIMIT, Status.PASSED]
    assert set(wall_limits[LOOP]) == {1.0}, "a loop ran under the configured limit of 4 s"


@pytest.mark.heavy
def test_deferred_slow_correct_program_passes():
    assert judge_all([("q", SLOW_CORRECT), ("q", "print(2)")], wall_s=30.0) == [Status.PASSED, Status.WRONG_ANSWER]


@pytest.mark.heavy
def test_only_program_of_a_problem_gets_the_full_limit_at_once(wall_limits):
    statuses = judge_all([("q", SLOW_CORRECT), ("other", CORRECT)], wall_s=30.0)
    assert statuses == [Status.PASSED, Status.PASSED]
    assert wall_limits[SLOW_CORRECT] == [30.0], "the program ran twice"


@pytest.mark.heavy
def test_every_program_of_an_unsolved_problem_gets_a_verdict(wall_limits):
    assert judge_all([("q", SLEEPING)] * 3, workers=2, wall_s=1.5) == [Status.TIME_LIMIT] * 3
    assert len(wall_limits[SLEEPING]) <= 6, "a program was run more than twice"


@pytest.mark.heavy
def test_closing_the_evaluator_resolves_deferred_programs(monkeypatch):
    last_runs = threading.Event()
    run_program = SandboxedProgram.run
    runs = itertools.count(1)

    def announce_third_run(program, stdin):  # the other problem's, the deferred one's, the last one's
        if next(runs) == 3:
            last_runs.set()
        return run_program(program, stdin)

    monkeypatch.setattr(SandboxedProgram, "run", announce_third_run)
    adaptive_evaluator = Evaluator(Limits(wall_s=3, cpu_s=3), adaptive_timeout=True)
    adaptive_evaluator.submit(make_print_one_problem("other"), SLOW_CORRECT)  # runs while the others are queued
    deferred, last = (adaptive_evaluator.submit(make_print_one_problem(), SLEEPING) for _ in range(2))
    assert last_runs.wait(300)
    assert last.running() and not deferred.done()
    adaptive_evaluator.close()
    assert deferred.result(0).status is Status.SANDBOX_ERROR
    assert last.result(0).status is Status.TIME_LIMIT
