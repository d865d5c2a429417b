"""Summary of a run, computed from the files in its directory."""

import io

import pytest
from rich.console import Console

from evaluator.pass_at_k import Estimate
from evaluator.verdict import Status
from launch.evaluation.answers import Answer, AnswerLog
from launch.records.run_directory import RunDirectory
from launch.records.summary import compute_quarter_means, format_change, summarize_run
from tests.factories import make_config, make_credited_group, make_metrics_row, make_problem, make_rollout

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
ERROR = Status.SANDBOX_ERROR


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(make_config(f"run.root={tmp_path}", "run.name=r", "run.steps=8"))


def write_evaluation(directory, step, *groups, other_temperature=None):
    """Write the evaluation after ``step``, with a problem per group of statuses."""
    path = directory.evaluation_path(step, other_temperature)
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
    log.write_parquet(path, [make_problem(f"q{number}") for number in range(len(groups))])
    log.close()


def write_training_metrics(directory, rewards):
    for step, reward in enumerate(rewards):
        directory.append_metrics(
            make_metrics_row(step, [make_credited_group(PASSED, WRONG)]) | {"critic/rewards/mean": reward}
        )


def read_summary_rows(directory, *changes):
    """Return the summary's values by their label."""
    output = io.StringIO()
    console = Console(file=output, width=250)
    console.print(summarize_run(directory.path, make_config("run.steps=8", *changes)))
    rows = [[cell.strip() for cell in line.split("│")] for line in output.getvalue().splitlines()]
    return {row[1]: row[2] for row in rows if len(row) == 4}


def read_gain_rows(directory, *changes):
    """Return the lines of the table of gains, as lists of cells; a row has two lines."""
    output = io.StringIO()
    console = Console(file=output, width=250)
    console.print(summarize_run(directory.path, make_config("run.steps=8", *changes)))
    rows = [[cell.strip() for cell in line.split("│")][1:-1] for line in output.getvalue().splitlines()]
    return [row for row in rows if len(row) == 4]


def test_summary_of_a_run_that_learned(directory):
    write_training_metrics(directory, [0.0, 0.2, 0.1, 0.3, 0.5, 0.5, 0.6, 0.8])
    for temperature in (None, 0.3):
        write_evaluation(directory, 0, *[(WRONG, WRONG)] * 10, other_temperature=temperature)
        write_evaluation(directory, 8, *[(PASSED, WRONG)] * 10, other_temperature=temperature)
    rows = read_summary_rows(directory, "evaluation.other_temperatures=[0.3]")
    assert rows["mean reward, first quarter of steps"] == "0.100"
    assert rows["mean reward, last quarter of steps"] == "0.700  (+0.600)"
    assert rows["trained at T 1 - untrained at its best, T 1"] == "+0.500 [+0.500, +0.500]"
    assert rows["verdict"].startswith("learned: pass@1 rose at T 1 and 0.3, pass@2 did not fall")
    assert rows["seconds per step, median"].startswith("step 20.00, gen 10.00, reward 1.00")
    gains = read_gain_rows(directory, "evaluation.other_temperatures=[0.3]")
    assert gains == [
        line
        for temperature in ("1", "0.3")
        for line in (
            ["all", temperature, "0.000 → 0.500", "0.000 → 1.000"],
            ["10", "", "+0.500 [+0.500, +0.500]", "+1.000 [+1.000, +1.000]"],
        )
    ]
    assert rows["of the gain, from style; from accuracy within a style"] == "+0.000; +0.500"


def test_summary_with_one_temperature_does_not_claim_learning(directory):
    write_training_metrics(directory, [0.0, 0.2, 0.1, 0.3, 0.5, 0.5, 0.6, 0.8])
    write_evaluation(directory, 0, *[(WRONG, WRONG)] * 10)
    write_evaluation(directory, 8, *[(PASSED, WRONG)] * 10)
    assert read_summary_rows(directory)["verdict"].startswith("not decided: pass@1 at T 1 rose")


def test_summary_of_a_run_without_a_gain(directory):
    write_training_metrics(directory, [0.1] * 4 + [0.9] * 4)
    write_evaluation(directory, 0, *[(WRONG, WRONG)] * 10)
    write_evaluation(directory, 8, *[(WRONG, WRONG)] * 10)
    assert read_summary_rows(directory)["verdict"].startswith("no change")


def test_summary_counts_the_steps_in_which_parts_of_the_method_act(directory):
    row = make_metrics_row(0, [make_credited_group(PASSED, WRONG)])
    for step, (changed, upper) in enumerate([(0.1, 0.0), (0.0, 0.2), (0.3, 0.1)]):
        acting = {"truncation/changed_advantages": changed, "actor/pg_clipfrac_higher": upper}
        directory.append_metrics(row | {"step": step} | acting)
    rows = read_summary_rows(directory)
    assert rows["steps in which the mask changed advantages"] == "2 of 3"
    assert rows["steps in which the upper clip acted"] == "2 of 3"


def test_summary_without_evaluations_has_no_verdict(directory):
    write_training_metrics(directory, [0.1, 0.9])
    assert "verdict" not in read_summary_rows(directory)


def test_problem_without_attempts_in_one_evaluation_is_not_compared(directory):
    write_training_metrics(directory, [0.0, 0.2, 0.1, 0.3, 0.5, 0.5, 0.6, 0.8])
    write_evaluation(directory, 0, (WRONG, WRONG), (ERROR, ERROR), (WRONG, WRONG))
    write_evaluation(directory, 8, (PASSED, PASSED), (PASSED, PASSED), (PASSED, WRONG))
    _, gain = read_gain_rows(directory)
    assert gain[0] == "2"
    assert gain[2].startswith("+0.750")


def test_summary_without_common_attempts_has_no_gain(directory):
    write_training_metrics(directory, [0.1] * 4 + [0.9] * 4)
    write_evaluation(directory, 0, (ERROR, ERROR))
    write_evaluation(directory, 8, (PASSED, PASSED))
    assert read_gain_rows(directory) == []


def test_quarter_means():
    assert compute_quarter_means([1.0, 2.0, 3.0, 4.0]) == (1.0, 4.0)
    assert compute_quarter_means([0.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 6.0, 8.0]) == (1.0, 7.0)
    assert compute_quarter_means([3.0]) == (3.0, 3.0)


def test_change_is_formatted_with_its_interval():
    assert format_change(Estimate(0.5, -0.25, 0.75)) == "+0.500 [-0.250, +0.750]"
