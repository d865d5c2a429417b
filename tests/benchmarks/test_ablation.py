"""The ablation: arms, rows, differences from the method, and the page made from the rows."""

import json
import re
import sys
from dataclasses import replace

import pytest

from benchmarks.ablation import __main__ as command
from benchmarks.ablation.arms import ARMS, BASE, FURTHER_ARMS, METHOD, SEEDS, get_reference, select_arms
from benchmarks.ablation.environment import select_settings
from benchmarks.ablation.report import compare_arms, estimate_difference, judge_prediction, write_report
from benchmarks.ablation.rows import CURVES, Row, Scored, read_row, read_rows, row_path, write_row
from benchmarks.ablation.runs import RunError, read_run
from evaluator.pass_at_k import Estimate
from evaluator.verdict import Status
from launch.composition import compose_config
from launch.evaluation.answers import Answer, AnswerLog
from launch.records.run_directory import RunDirectory
from tests.factories import make_config, make_credited_group, make_metrics_row, make_problem, make_rollout

FAMILIES = {"a0": "a", "a1": "a", "b0": "b", "b1": "b"}


def make_row(arm, seed, passed, environment="here"):
    """Make a row in which ``passed`` of eight answers to each problem are right after training, and none before."""
    evaluations = [
        Scored(step=step, temperature=temperature, attempts=dict.fromkeys(FAMILIES, (8, step and passed)))
        for temperature in (1.0, 0.3)
        for step in (0, 12)
    ]
    return Row(
        arm=arm,
        seed=seed,
        environment=environment,
        commit=None,
        finished="2026-11-29T00:00:00+00:00",
        settings={},
        calibration={"measurements": []},
        problems={name: ("trained", family) for name, family in FAMILIES.items()},
        curves={name: [None, *[0.5] * 11] for name in CURVES},
        evaluations=tuple(evaluations),
    )


@pytest.mark.heavy
def test_there_are_ten_arms_and_each_is_a_valid_configuration_that_differs():
    assert len(ARMS) == 10
    names = [arm.name for arm in (*ARMS, *FURTHER_ARMS)]
    assert len(set(names)) == len(names)
    configs = [compose_config(*BASE, *arm.overrides, "run.name=x") for arm in (*ARMS, *FURTHER_ARMS)]
    assert all(configs[0] != config for config in configs[1:])


@pytest.mark.heavy
def test_arms_keep_the_method_s_temperature_unless_it_is_compared():
    method = compose_config(*BASE, "run.name=x")
    for arm in (*ARMS, *FURTHER_ARMS):
        if not arm.name.startswith("temperature"):
            assert compose_config(*BASE, *arm.overrides, "run.name=x").temperature == method.temperature, arm.name


@pytest.mark.heavy
def test_long_arms_are_compared_with_the_long_method():
    for arm in FURTHER_ARMS:
        steps = [compose_config(*BASE, *each.overrides).run.steps for each in (arm, *select_arms(get_reference(arm)))]
        assert steps[0] == steps[1]


def test_select_arms():
    assert select_arms("default") == ARMS
    assert select_arms("all") == (*ARMS, *FURTHER_ARMS)
    assert [arm.name for arm in select_arms("rho_0.1,method")] == ["method", "rho_0.1"]
    with pytest.raises(ValueError, match="no arm nothing; there are: method, mask_none"):
        select_arms("method,nothing")


def test_row_is_read_as_it_was_written(tmp_path):
    row = make_row("method", 2, 3)
    write_row(row, tmp_path)
    assert read_row(row_path("method", 2, tmp_path)) == row
    assert read_rows("here", tmp_path) == [row]
    assert read_rows("elsewhere", tmp_path) == []


def test_difference_is_paired_by_seed_and_problem():
    method = {seed: make_row("method", seed, passed) for seed, passed in enumerate((1, 4, 7))}
    better = {seed: make_row("x", seed, passed) for seed, passed in enumerate((2, 5, 8))}
    difference = estimate_difference(better, method, 0.3)
    assert difference is not None
    # Each pair differs by one answer in eight, so no resample changes the mean, though the seeds differ a lot.
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0.125, 0.125, 0.125))
    assert estimate_difference({5: make_row("x", 5, 1)}, method, 0.3) is None


def test_difference_varies_with_seeds():
    method = {seed: make_row("method", seed, 4) for seed in SEEDS}
    mixed = {seed: make_row("x", seed, passed) for seed, passed in enumerate((0, 4, 8))}
    difference = estimate_difference(mixed, method, 0.3)
    assert difference is not None
    assert difference.low < -0.2 < 0.2 < difference.high


@pytest.mark.parametrize(
    ("difference", "prediction", "result"),
    [
        (Estimate(-0.1, -0.2, -0.01), "lower", "as the paper"),
        (Estimate(0.1, 0.01, 0.2), "lower", "contrary"),
        (Estimate(0.1, 0.01, 0.2), "higher", "as the paper"),
        (Estimate(0.1, -0.01, 0.2), "higher", "unresolved"),
        (Estimate(0.1, 0.01, 0.2), "none", "no claim, higher"),
        (None, "none", "-"),
    ],
)
def test_prediction_is_judged_by_the_interval(difference, prediction, result):
    assert judge_prediction(difference, prediction) == result


@pytest.mark.heavy
def test_report_has_a_line_per_arm_names_missing_runs_and_draws_curves(tmp_path):
    rows = [make_row(arm, seed, passed) for arm, passed in (("method", 6), ("mask_none", 2)) for seed in (0, 1)]
    page = tmp_path / "ablation.md"
    write_report(rows, "here", page)
    text = page.read_text()
    assert "| method | 0, 1 | 0.750 | 0.750 | 1.000 | - | - | - |" in text
    assert "| mask_none | 0, 1 | 0.250 | 0.250 | 1.000 | -0.500 [-0.500, -0.500] | lower | as the paper |" in text
    assert "method (seed 2)" in text
    assert "dapo (seed 0)" in text
    figures = sorted(path.name for path in (tmp_path / "ablation").iterdir())
    assert figures == sorted(re.findall(r"\(ablation/(\w+\.svg)\)", text))
    first = (tmp_path / "ablation" / "length.svg").read_bytes()
    write_report(rows, "here", page)
    assert (tmp_path / "ablation" / "length.svg").read_bytes() == first


def test_arm_without_reference_rows_has_no_difference():
    (comparison,) = compare_arms([make_row("mask_none", 0, 2)])
    assert comparison.difference is None


@pytest.mark.heavy
def test_run_directory_becomes_a_row(tmp_path):
    config = make_config(
        f"run.root={tmp_path}", "run.name=r", "run.steps=2", "evaluation.other_temperatures=[0.3]", "run.seed=7"
    )
    directory = RunDirectory(config)
    for step in range(2):
        directory.append_metrics(make_metrics_row(step, [make_credited_group(Status.PASSED, Status.WRONG_ANSWER)]))
    problem = make_problem("q", platform="trained", extra={"family": "sums"})
    evaluations = [(0, None, Status.WRONG_ANSWER), (2, None, Status.PASSED), (2, 0.3, Status.PASSED)]
    for step, temperature, status in evaluations:
        path = directory.evaluation_path(step, temperature)
        log = AnswerLog(path.with_suffix(".jsonl"), {})
        answer = Answer(question_id="q", sample_index=0, text="x", tokens=1, truncated=False, seconds=0.1)
        log.add_answer(answer)
        log.add_judgement(answer.key, make_rollout(status).judgement)
        log.write_parquet(path, [problem])
        log.close()
    row = read_run(directory.path, "method", 7, "here")
    assert (row.arm, row.seed, row.settings["run"]["seed"]) == ("method", 7, 7)
    assert row.problems == {"q": ("trained", "sums")}
    assert [(each.step, each.temperature, each.attempts["q"]) for each in row.evaluations] == [
        (0, 1.0, (1, 0)),
        (2, 1.0, (1, 1)),
        (2, 0.3, (1, 1)),
    ]
    assert {len(values) for values in row.curves.values()} == {2}
    assert row.calibration is None
    (directory.path / "calibration.json").write_text('{"prompts": 3}')
    assert read_run(directory.path, "method", 7, "here").calibration == {"prompts": 3}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """The command with results in a temporary folder, an environment "here", and runs that take no time."""
    trained = []

    def train(arm, seed, environment, method):
        assert method == (None if arm == METHOD else make_row("method", seed, 4))
        if (arm.name, seed) == ("clip_0.2", 1):
            raise RunError("the run failed")
        trained.append((arm.name, seed))
        return make_row(arm.name, seed, 4, environment)

    monkeypatch.setattr(command, "hash_environment", lambda: "here")
    monkeypatch.setattr(command, "train_arm", train)
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "PAGE", tmp_path / "ablation.md")
    monkeypatch.setattr(command, "write_row", lambda row: write_row(row, tmp_path / "results"))
    monkeypatch.setattr(command, "read_rows", lambda environment: read_rows(environment, tmp_path / "results"))
    return tmp_path, trained


def run_command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["ablation", *arguments])
    return command.main()


@pytest.mark.heavy
def test_only_missing_and_void_runs_are_made(workplace, monkeypatch):
    folder, trained = workplace
    assert run_command(monkeypatch, "--arms", "method,mask_none", "--seeds", "0,1") == 0
    assert trained == [("method", 0), ("mask_none", 0), ("method", 1), ("mask_none", 1)]
    write_row(replace(make_row("method", 1, 4), environment="elsewhere"), folder / "results")
    trained.clear()
    assert run_command(monkeypatch, "--arms", "method,mask_none", "--seeds", "0,1") == 0
    assert trained == [("method", 1)]
    assert "| mask_none | 0, 1 |" in (folder / "ablation.md").read_text()


def test_arm_without_the_method_s_row_is_an_error(workplace, monkeypatch, capsys):
    assert run_command(monkeypatch, "--arms", "mask_none", "--seeds", "0") == 1
    assert "the method has no row of this seed" in capsys.readouterr().err


def test_failed_run_ends_the_command_and_keeps_the_rows(workplace, monkeypatch, capsys):
    folder, _ = workplace
    assert run_command(monkeypatch, "--arms", f"{METHOD.name},clip_0.2", "--seeds", "1") == 1
    assert "the run failed" in capsys.readouterr().err
    assert json.loads((folder / "results" / "method-1.json").read_text())["seed"] == 1


def test_report_without_rows_names_all_runs_as_missing(workplace, monkeypatch):
    folder, _ = workplace
    assert run_command(monkeypatch, "--report") == 0
    text = (folder / "ablation.md").read_text()
    assert all(f"{arm.name} (seed {seed})" in text for arm in ARMS for seed in SEEDS)
    assert ".svg" not in text


def test_wrong_arguments_are_reported(workplace, monkeypatch, capsys):
    assert run_command(monkeypatch, "--arms", "nothing") == 2
    assert "no arm nothing" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_setting_that_was_added_later_counts_only_when_it_is_changed():
    settings = select_settings(compose_config(*BASE))
    assert "train" not in settings["dataset"]
    assert select_settings(compose_config(*BASE, "dataset.train=null")) == settings
    assert select_settings(compose_config(*BASE, "dataset.train=starter")) != settings
    assert select_settings(compose_config(*BASE, "run.name=other")) == settings
    assert select_settings(compose_config(*BASE, "run.steps=7")) != settings
