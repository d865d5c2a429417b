"""TRL's side of the pipeline's benchmark is asked for what ours did, and judged by the same evaluator."""

import pytest

from benchmarks.tools.judged_afterwards import judged_afterwards
from benchmarks.tools.trainer_run import TrainerRun
from benchmarks.tools.trl_side import peer_steps, request_like
from evaluator import parse_problem
from launch.problems.starter import training_problems

STARTERS = training_problems()[:4]
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
    """Two steps of two groups of two programs, a right one and none."""
    steps = tuple(
        [
            {"question_id": one.problem.question_id, "sample_index": index, "code": code}
            for one in STARTERS[2 * step : 2 * step + 2]
            for index, code in enumerate((one.reference, None))
        ]
        for step in (0, 1)
    )
    return TrainerRun((), CONFIG, steps)


def test_the_peer_gets_the_questions_of_the_run_in_order(run, tmp_path):
    request = request_like(run, tmp_path, PROBLEMS)
    assert [row["question_id"] for row in request.prompts] == [one.problem.question_id for one in STARTERS]
    assert STARTERS[0].problem.question_content.strip() in request.prompts[0]["prompt"][0]["content"]
    assert {parse_problem(row).question_id for row in request.problems} == set(PROBLEMS)
    assert (request.steps, request.workers, request.threads) == (2, 2, 2)
    assert request.limits == {"wall_s": 1.5, "cpu_s": 1.0, "memory_mb": 1024, "budget_s": 120.0}


def test_judging_afterwards_is_timed_for_all_steps_but_the_first(run):
    (seconds,) = judged_afterwards(run, PROBLEMS)
    assert seconds > 0


def test_what_is_neither_generation_nor_reward_is_the_update():
    (step,) = peer_steps(
        [{"seconds": 99.0, "cpu_s": 99.0, "tokens": 1, "gen": 1.0, "reward": 1.0}] * 1
        + [{"seconds": 10.0, "cpu_s": 15.0, "tokens": 500, "gen": 4.0, "reward": 1.0}]
    )
    assert (step.seconds, step.cpu_s, step.tokens, step.learning) == (10.0, 15.0, 500, 5.0)
