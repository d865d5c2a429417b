"""What the summary of a run says of its directory."""

import io

import pytest
from rich.console import Console

from evaluator.pass_at_k import Attempts, Estimate
from evaluator.verdict import Status
from launch.evaluation.answers import Answer, AnswerLog
from launch.records.run_directory import RunDirectory
from launch.records.summary import attempts, interval, quarters, summary
from tests.factories import config, credited_group, metrics_row, rollout

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(config(f"run.root={tmp_path}", "run.name=r", "run.steps=8"))


def evaluate(directory, step, *groups):
    path = directory.evaluation_path(step)
    log = AnswerLog(path.with_suffix(".jsonl"), {})
    for place, statuses in enumerate(groups):
        for index, status in enumerate(statuses):
            log.add_answer(
                Answer(
                    question_id=f"q{place}",
                    sample_index=index,
                    text="an answer",
                    tokens=3,
                    truncated=False,
                    seconds=0.5,
                )
            )
            log.add_judgement((f"q{place}", index), rollout(status).judgement)
    log.write_parquet(path)
    log.close()


def train(directory, rewards):
    for step, reward in enumerate(rewards):
        directory.append_metrics(metrics_row(step, [credited_group(PASSED, WRONG)]) | {"critic/rewards/mean": reward})


def shown(directory):
    output = io.StringIO()
    console = Console(file=output, width=200)
    console.print(summary(directory.path, config("run.steps=8")))
    rows = [[cell.strip() for cell in line.split("│")] for line in output.getvalue().splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 4}


def test_a_run_that_learned(directory):
    train(directory, [0.0, 0.2, 0.1, 0.3, 0.5, 0.5, 0.6, 0.8])
    evaluate(directory, 0, *[(WRONG, WRONG)] * 10)
    evaluate(directory, 8, *[(PASSED, WRONG)] * 10)
    rows = shown(directory)
    assert rows["mean reward, first quarter of steps"] == "0.100"
    assert rows["mean reward, last quarter of steps"] == "0.700  (+0.600)"
    assert rows["held-out pass@1 before"] == "0.000  [0.000, 0.000]"
    assert rows["held-out pass@1 after"] == "0.500  [0.500, 0.500]"
    assert rows["held-out gain"] == "0.500  [0.500, 0.500]"
    assert rows["verdict"] == "the policy learned"
    assert rows["seconds a step, median"].startswith("step 20.00, gen 10.00, reward 1.00")


@pytest.mark.parametrize(
    ("rewards", "after"),
    [
        pytest.param([0.5] * 8, (PASSED, WRONG), id="no more reward"),
        pytest.param([0.1] * 4 + [0.9] * 4, (WRONG, WRONG), id="no better on held-out problems"),
    ],
)
def test_a_run_that_did_not(directory, rewards, after):
    train(directory, rewards)
    evaluate(directory, 0, *[(WRONG, WRONG)] * 10)
    evaluate(directory, 8, *[after] * 10)
    assert shown(directory)["verdict"].startswith("no clear learning")


def test_too_little_to_judge(directory):
    train(directory, [0.1, 0.9])
    rows = shown(directory)
    assert "verdict" not in rows
    assert "held-out gain" not in rows


def test_a_problem_excluded_in_one_evaluation_is_not_compared(directory):
    train(directory, [0.0, 0.2, 0.1, 0.3, 0.5, 0.5, 0.6, 0.8])
    evaluate(directory, 0, (WRONG, WRONG), (OURS, OURS), (WRONG, WRONG))
    evaluate(directory, 8, (PASSED, PASSED), (PASSED, PASSED), (PASSED, WRONG))
    assert shown(directory)["held-out gain"].startswith("0.750")


def test_evaluations_of_nothing_but_sandbox_errors(directory):
    train(directory, [0.1] * 4 + [0.9] * 4)
    evaluate(directory, 0, (OURS, OURS))
    evaluate(directory, 8, (PASSED, PASSED))
    assert "held-out gain" not in shown(directory)


def test_attempts_without_excluded_completions(directory):
    evaluate(directory, 0, (PASSED, WRONG, OURS), (OURS, OURS), (WRONG, WRONG, WRONG))
    assert attempts(directory.evaluation_path(0)) == {"q0": Attempts(2, 1), "q2": Attempts(3, 0)}


def test_quarters():
    assert quarters([1.0, 2.0, 3.0, 4.0]) == (1.0, 4.0)
    assert quarters([0.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 6.0, 8.0]) == (1.0, 7.0)
    assert quarters([3.0]) == (3.0, 3.0)


def test_interval():
    assert interval(Estimate(0.5, 0.25, 0.75)) == "0.500  [0.250, 0.750]"
