"""Summary of a run, computed from the files in its directory."""

import io

import pytest
from rich.console import Console

from evaluator.pass_at_k import Attempts, Estimate
from evaluator.verdict import Status
from launch.evaluation.answers import Answer, AnswerLog
from launch.records.run_directory import RunDirectory
from launch.records.summary import compute_quarter_means, format_estimate, read_attempts, summarize_run
from tests.factories import make_config, make_credited_group, make_metrics_row, make_rollout

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
ERROR = Status.SANDBOX_ERROR


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(make_config(f"run.root={tmp_path}", "run.name=r", "run.steps=8"))


def write_evaluation(directory, step, *groups):
    """Write the evaluation after ``step``, with a problem per group of statuses."""
    path = directory.evaluation_path(step)
    log = AnswerLog(path.with_suffix(".jsonl"), {})
    for number, statuses in enumerate(groups):
        for index, status in enumerate(statuses):
            log.add_answer(
                Answer(
                    question_id=f"q{number}",
                    sample_index=index,
                    text="an answer",
                    tokens=3,
                    truncated=False,
                    seconds=0.5,
                )
            )
            log.add_judgement((f"q{number}", index), make_rollout(status).judgement)
    log.write_parquet(path)
    log.close()


def write_training_metrics(directory, rewards):
    for step, reward in enumerate(rewards):
        directory.append_metrics(
            make_metrics_row(step, [make_credited_group(PASSED, WRONG)]) | {"critic/rewards/mean": reward}
        )


def read_summary_rows(directory):
    """Return the summary's values by their label."""
    output = io.StringIO()
    console = Console(file=output, width=200)
    console.print(summarize_run(directory.path, make_config("run.steps=8")))
    rows = [[cell.strip() for cell in line.split("│")] for line in output.getvalue().splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 4}


def test_summary_of_a_run_that_learned(directory):
    write_training_metrics(directory, [0.0, 0.2, 0.1, 0.3, 0.5, 0.5, 0.6, 0.8])
    write_evaluation(directory, 0, *[(WRONG, WRONG)] * 10)
    write_evaluation(directory, 8, *[(PASSED, WRONG)] * 10)
    rows = read_summary_rows(directory)
    assert rows["mean reward, first quarter of steps"] == "0.100"
    assert rows["mean reward, last quarter of steps"] == "0.700  (+0.600)"
    assert rows["held-out pass@1 before"] == "0.000  [0.000, 0.000]"
    assert rows["held-out pass@1 after"] == "0.500  [0.500, 0.500]"
    assert rows["held-out gain"] == "0.500  [0.500, 0.500]"
    assert rows["verdict"] == "the policy learned"
    assert rows["seconds per step, median"].startswith("step 20.00, gen 10.00, reward 1.00")


@pytest.mark.parametrize(
    ("rewards", "after"),
    [
        pytest.param([0.5] * 8, (PASSED, WRONG), id="no higher reward"),
        pytest.param([0.1] * 4 + [0.9] * 4, (WRONG, WRONG), id="no gain on held-out problems"),
    ],
)
def test_summary_of_a_run_that_did_not_learn(directory, rewards, after):
    write_training_metrics(directory, rewards)
    write_evaluation(directory, 0, *[(WRONG, WRONG)] * 10)
    write_evaluation(directory, 8, *[after] * 10)
    assert read_summary_rows(directory)["verdict"].startswith("no clear improvement")


def test_summary_of_too_few_steps_has_no_verdict(directory):
    write_training_metrics(directory, [0.1, 0.9])
    rows = read_summary_rows(directory)
    assert "verdict" not in rows
    assert "held-out gain" not in rows


def test_problem_without_attempts_in_one_evaluation_is_not_compared(directory):
    write_training_metrics(directory, [0.0, 0.2, 0.1, 0.3, 0.5, 0.5, 0.6, 0.8])
    write_evaluation(directory, 0, (WRONG, WRONG), (ERROR, ERROR), (WRONG, WRONG))
    write_evaluation(directory, 8, (PASSED, PASSED), (PASSED, PASSED), (PASSED, WRONG))
    assert read_summary_rows(directory)["held-out gain"].startswith("0.750")


def test_summary_without_common_attempts_has_no_gain(directory):
    write_training_metrics(directory, [0.1] * 4 + [0.9] * 4)
    write_evaluation(directory, 0, (ERROR, ERROR))
    write_evaluation(directory, 8, (PASSED, PASSED))
    assert "held-out gain" not in read_summary_rows(directory)


def test_sandbox_errors_are_not_read_as_attempts(directory):
    write_evaluation(directory, 0, (PASSED, WRONG, ERROR), (ERROR, ERROR), (WRONG, WRONG, WRONG))
    assert read_attempts(directory.evaluation_path(0)) == {"q0": Attempts(2, 1), "q2": Attempts(3, 0)}


def test_quarter_means():
    assert compute_quarter_means([1.0, 2.0, 3.0, 4.0]) == (1.0, 4.0)
    assert compute_quarter_means([0.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 6.0, 8.0]) == (1.0, 7.0)
    assert compute_quarter_means([3.0]) == (3.0, 3.0)


def test_estimate_is_formatted_with_its_interval():
    assert format_estimate(Estimate(0.5, 0.25, 0.75)) == "0.500  [0.250, 0.750]"
