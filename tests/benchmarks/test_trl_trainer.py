"""TRL's side of the pipeline benchmark: the request, judging after generation, and the measured steps."""

import pytest

from benchmarks.tools.judging_afterwards import time_judging_afterwards
from benchmarks.tools.trainer_run import TrainerRun
from benchmarks.tools.trl_trainer import build_peer_request, parse_steps
from evaluator import parse_problem
from launch.problems.starter import build_training_problems

STARTERS = build_training_problems()[:4]
PROBLEMS = {starter.problem.question_id: starter.problem for starter in STARTERS}
CONFIG = {
    "run": {"seed": 3},
    "algorithm": {"train_batch_size": 2, "mini_batch_size": 1, "group_size": 2},
    "generator": {"max_response_tokens": 80, "threads": 2},
    "temperature": {"value": 1.0},
    "learner": {"learning_rate": 1e-6, "threads": 1},
    "evaluator": {
        "max_actors": 1,
        "workers": 2,
        "adaptive_timeout": True,
        "wall_s": 1.5,
        "cpu_s": 1.0,
        "memory_mb": 1024,
        "budget_s": 120.0,
    },
}


@pytest.fixture
def run():
    """Two steps of two groups, each group with a right program and a missing one."""
    steps = tuple(
        [
            {"question_id": starter.problem.question_id, "sample_index": index, "code": code}
            for starter in STARTERS[2 * step : 2 * step + 2]
            for index, code in enumerate((starter.reference, None))
        ]
        for step in (0, 1)
    )
    return TrainerRun((), CONFIG, steps)


def test_build_peer_request_copies_questions_and_settings_of_the_run(run, tmp_path):
    request = build_peer_request(run, tmp_path, PROBLEMS)
    assert [row["question_id"] for row in request.prompts] == [starter.problem.question_id for starter in STARTERS]
    assert STARTERS[0].problem.question_content.strip() in request.prompts[0]["prompt"][0]["content"]
    assert {parse_problem(row).question_id for row in request.problems} == set(PROBLEMS)
    assert (request.steps, request.workers, request.threads) == (2, 2, 2)
    assert request.limits == {"wall_s": 1.5, "cpu_s": 1.0, "memory_mb": 1024, "budget_s": 120.0}


@pytest.mark.heavy
def test_time_judging_afterwards_drops_the_first_step(run):
    (seconds,) = time_judging_afterwards(run, PROBLEMS)
    assert seconds > 0


def test_parse_steps_counts_the_remaining_time_as_the_update():
    (step,) = parse_steps(
        [{"seconds": 99.0, "cpu_s": 99.0, "tokens": 1, "gen": 1.0, "reward": 1.0}] * 1
        + [{"seconds": 10.0, "cpu_s": 15.0, "tokens": 500, "gen": 4.0, "reward": 1.0}]
    )
    assert (step.seconds, step.cpu_s, step.tokens, step.learning) == (10.0, 15.0, 500, 5.0)
