"""Comparison of settings: steps, problems and k in common, seeds, differences with intervals."""

import pytest

from evaluator.pass_at_k import Attempts, Estimate, estimate, paired_difference
from launch.records.gains import JudgedAnswer
from launch.run_report.comparison import compare_settings
from launch.run_report.evaluations import EvaluationHistory, read_evaluations
from launch.run_report.run_files import read_run_files
from launch.run_report.run_settings import Setting, group_by_setting
from tests.launch.run_report.run_factory import make_run_files, write_run

TRIED = 4


def make_run(name, seed=0):
    return make_run_files(f"runs/{name}", config={"run": {"seed": seed}})


def make_answers(passed, platform="trained", tried=TRIED):
    """Make the answers to problems of which ``passed`` has the number of passed attempts by question id."""
    return [
        JudgedAnswer(
            question_id=question_id,
            platform=platform,
            cluster=question_id[0],
            passed=attempt < number,
            terse=True,
        )
        for question_id, number in passed.items()
        for attempt in range(tried)
    ]


def make_history(answers):
    return EvaluationHistory(points=(), parts=("trained",), answers=answers, learning=None, notes=())


def compare(*settings):
    """Compare settings; each is a list of the answers of its seeds, by temperature and step."""
    grouped = []
    histories = {}
    for index, seeds in enumerate(settings):
        runs = []
        for seed, answers in enumerate(seeds):
            run = make_run(f"{'abc'[index]}{seed}", seed)
            histories[run.path] = make_history(answers)
            runs.append(run)
        grouped.append(Setting(label="ABC"[index], runs=tuple(runs)))
    return compare_settings(grouped, histories)


def compare_at_one(*settings):
    """Compare settings at T 1; each is a list of the passed attempts of its seeds, by step."""
    table = compare(
        *(
            [{1.0: {step: make_answers(passed) for step, passed in by_step.items()}} for by_step in seeds]
            for seeds in settings
        )
    )
    (evaluation,) = table.evaluations
    return evaluation


def test_settings_with_one_run_differ_as_paired_attempts_do():
    first = {"a0": 0, "a1": 1, "b0": 2, "c0": 3}
    second = {"a0": 2, "a1": 4, "b0": 2, "c0": 2}
    evaluation = compare_at_one([{10: first}], [{10: second}])
    clusters = {name: name[0] for name in first}
    before = {name: Attempts(TRIED, number) for name, number in first.items()}
    after = {name: Attempts(TRIED, number) for name, number in second.items()}
    assert (evaluation.step, evaluation.problems, evaluation.clusters, evaluation.k) == (10, 4, 3, TRIED)
    reference, other = evaluation.scores
    assert reference.pass_at_1.estimate == estimate(before, 1, clusters=clusters)
    assert reference.pass_at_1.difference is None
    for score, k in ((other.pass_at_1, 1), (other.pass_at_k, TRIED)):
        assert score.estimate == estimate(after, k, clusters=clusters)
        assert score.difference == paired_difference(before, after, k, clusters=clusters)
        assert score.difference_over_seeds is None
        assert score.spread is None
    assert evaluation.last == (None, None)
    assert evaluation.notes == ()


def test_seeds_of_a_setting_are_averaged_and_their_spread_is_given():
    evaluation = compare_at_one(
        [{5: {"a0": 0, "b0": 0}}, {5: {"a0": 0, "b0": 2}}],
        [{5: {"a0": 4, "b0": 0}}, {5: {"a0": 4, "b0": 4}}],
    )
    reference, other = evaluation.scores
    assert reference.runs == ("a0", "a1")
    assert reference.pass_at_1.by_run == (0.0, 0.25)
    assert reference.pass_at_1.estimate.mean == 0.125
    assert other.pass_at_1.spread == (0.5, 1.0)
    assert other.pass_at_1.difference.mean == 0.625
    assert other.pass_at_1.difference_over_seeds.mean == 0.625
    over_problems = other.pass_at_1.difference
    over_seeds = other.pass_at_1.difference_over_seeds
    assert over_seeds.low < over_problems.low
    assert over_seeds.high >= over_problems.high


def test_seeds_are_paired_only_where_both_settings_have_them():
    seeds = [{5: {"a0": number, "b0": number}} for number in (0, 1, 2)]
    evaluation = compare_at_one(seeds[:2], [seeds[1], seeds[1], seeds[2]], seeds[2:])
    _, three, one = evaluation.scores
    assert three.pass_at_1.difference.mean == pytest.approx((0.25 + 0.25 + 0.5) / 3 - 0.125)
    assert three.pass_at_1.difference_over_seeds == Estimate(0.125, 0.0, 0.25)
    assert one.pass_at_1.difference == Estimate(0.375, 0.375, 0.375)
    assert one.pass_at_1.difference_over_seeds is None


def test_more_seeds_do_not_raise_pass_at_k():
    """Each seed solves another problem: with the attempts of both put together, both would be solved."""
    seeds = [{5: {"a0": 4, "b0": 0}}, {5: {"a0": 0, "b0": 4}}]
    evaluation = compare_at_one(seeds[:1], seeds)
    assert [scores.pass_at_k.estimate.mean for scores in evaluation.scores] == [0.5, 0.5]
    assert evaluation.k == TRIED


def test_settings_are_compared_at_their_last_common_step_and_the_last_is_given_too():
    low = {"a0": 0, "b0": 1}
    middle = {"a0": 1, "b0": 1}
    high = {"a0": 4, "b0": 4}
    evaluation = compare_at_one([{0: low, 10: middle, 20: high}], [{0: low, 10: high}])
    assert evaluation.step == 10
    assert [scores.pass_at_1.estimate.mean for scores in evaluation.scores] == [0.25, 1.0]
    later, same = evaluation.last
    assert (later.step, later.runs, later.problems, later.k) == (20, ("a0",), 2, TRIED)
    assert later.pass_at_1.mean == later.pass_at_k.mean == 1.0
    assert same is None
    assert evaluation.notes == ("A: last evaluation after 20 steps, in 1 of 1 runs",)


def test_the_common_step_is_one_of_all_seeds():
    passed = {"a0": 1}
    evaluation = compare_at_one([{10: passed, 20: passed}, {10: passed}], [{10: passed, 20: passed}])
    assert evaluation.step == 10
    assert [each.runs for each in evaluation.last] == [("a0",), ("b0",)]
    assert "A: last evaluation after 20 steps, in 1 of 2 runs" in evaluation.notes


def test_without_a_common_step_only_the_last_evaluations_are_given():
    evaluation = compare_at_one([{10: {"a0": 1}}], [{20: {"a0": 2}}])
    assert evaluation.step is None
    assert (evaluation.problems, evaluation.k) == (0, 0)
    assert evaluation.scores == (None, None)
    assert [each.step for each in evaluation.last] == [10, 20]
    assert evaluation.notes[0] == "there is no number of steps after which all runs were evaluated"


def test_only_common_problems_are_compared():
    evaluation = compare_at_one([{5: {"a0": 0, "b0": 1, "c0": 4}}], [{5: {"b0": 3, "c0": 4, "d0": 0}}])
    assert evaluation.problems == 2
    assert [scores.pass_at_1.estimate.mean for scores in evaluation.scores] == [0.625, 0.875]
    assert evaluation.scores[1].pass_at_1.difference.mean == 0.25
    assert evaluation.notes == ("2 problems are common to all runs, of up to 3 in a run",)


def test_other_problems_are_not_compared():
    evaluation = compare_at_one([{5: {"a0": 1}}], [{5: {"b0": 1}}])
    assert evaluation.step is None
    assert evaluation.scores == (None, None)
    assert [each.pass_at_1.mean for each in evaluation.last] == [0.25, 0.25]
    assert evaluation.notes[0] == "no problem is common to all evaluations after 5 steps"


def test_k_is_the_smallest_number_of_attempts():
    table = compare(
        [{1.0: {5: make_answers({"a0": 1, "b0": 0}, tried=8)}}],
        [{1.0: {5: make_answers({"a0": 1, "b0": 0}, tried=2)}}],
    )
    (evaluation,) = table.evaluations
    assert evaluation.k == 2
    assert [scores.pass_at_k.estimate.mean for scores in evaluation.scores] == [0.125, 0.5]


def test_a_setting_without_an_evaluation_has_no_score():
    passed = {"a0": 1}
    evaluation = compare_at_one([{5: passed}], [{}], [{5: passed}, {}])
    assert evaluation.step == 5
    assert [scores and scores.runs for scores in evaluation.scores] == [("a0",), None, ("c0",)]
    assert evaluation.notes == (
        "B: 1 of 1 runs without an evaluation",
        "C: 1 of 2 runs without an evaluation",
    )


def test_without_evaluations_of_the_first_setting_there_are_no_differences():
    evaluation = compare_at_one([{}], [{5: {"a0": 1}}])
    assert evaluation.scores[0] is None
    assert evaluation.scores[1].pass_at_1.estimate.mean == 0.25
    assert evaluation.scores[1].pass_at_1.difference is None


def test_temperatures_and_parts_are_compared_separately():
    answers = {
        1.0: {5: [*make_answers({"a0": 1}), *make_answers({"b0": 2}, platform="untrained")]},
        0.3: {5: [*make_answers({"a0": 3}), *make_answers({"b0": 4}, platform="untrained")]},
    }
    table = compare([answers], [{1.0: answers[1.0]}])
    found = [
        (each.temperature, each.part, [scores and scores.pass_at_1.estimate.mean for scores in each.scores])
        for each in table.evaluations
    ]
    assert found == [
        (1.0, "trained", [0.25, 0.25]),
        (1.0, "untrained", [0.5, 0.5]),
        (0.3, "trained", [0.75, None]),
        (0.3, "untrained", [1.0, None]),
    ]


def test_runs_without_evaluations_and_steps_have_an_empty_table():
    table = compare([{}], [{}])
    assert table.labels == ("A", "B")
    assert table.evaluations == ()
    assert table.rewards is None


def test_run_directories_are_compared(tmp_path):
    paths = [
        write_run(tmp_path / "first", steps=4, settings={"run.seed": 1}),
        write_run(tmp_path / "again", steps=4, settings={"run.seed": 2}),
        write_run(tmp_path / "colder", steps=4, settings={"run.seed": 1, "temperature.value": 0.5}),
        write_run(tmp_path / "none", steps=4, settings={"temperature.value": 1.5}, with_evaluations=False),
    ]
    runs = [read_run_files(path) for path in paths]
    settings = group_by_setting(runs)
    table = compare_settings(settings, {run.path: read_evaluations(run) for run in runs})
    assert table.labels == ("temperature.value=1.0", "temperature.value=0.5", "temperature.value=1.5")
    assert [(each.temperature, each.part, each.step, each.problems) for each in table.evaluations] == [
        (1.0, "trained", 4, 6),
        (0.3, "trained", 4, 6),
    ]
    for evaluation in table.evaluations:
        first, colder, none = evaluation.scores
        assert first.pass_at_1.by_run == (0.75, 0.75)
        assert colder.pass_at_1.difference == Estimate(0.0, 0.0, 0.0)
        assert none is None
    assert (table.rewards.first_step, table.rewards.last_step) == (3, 3)
    assert [len(reward.by_run) for reward in table.rewards.rewards] == [2, 1, 1]
