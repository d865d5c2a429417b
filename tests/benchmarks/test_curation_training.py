"""Training proof of the curation: training sets of both arms, settings, and the report."""

from dataclasses import replace

import pytest

from benchmarks.ablation.rows import CURVES, Row, Scored
from benchmarks.curation_training.pool import TrainingSets, restore_statements, write_rows
from benchmarks.curation_training.report import make_lines, write_report
from benchmarks.curation_training.runs import BASE, LOW_TEMPERATURE, TEMPERATURE
from evaluator.problem import ProblemTest, to_row
from launch.composition import compose_config
from tests.factories import make_problem

PROBLEMS = {
    "a": ("trained", "clamp", 4),
    "b": ("trained", "polynomial_value", 8),
    "c": ("untrained", "best_row", 2),
}
"""Part, family, and the number of right answers of eight after training on curated problems."""


def make_row(arm, seed, passed):
    evaluations = tuple(
        Scored(step=step, temperature=temperature, attempts={name: (8, count) for name, count in counts.items()})
        for temperature in (TEMPERATURE, LOW_TEMPERATURE)
        for step, counts in ((0, dict.fromkeys(passed, 0)), (6, passed))
    )
    return Row(
        arm=arm,
        seed=seed,
        environment="here",
        commit=None,
        finished="2026-11-29T00:00:00+00:00",
        settings={},
        calibration=None,
        problems={name: (part, family) for name, (part, family, _) in PROBLEMS.items()},
        curves={name: [0.5] for name in CURVES},
        evaluations=evaluations,
    )


def make_sets(count=20):
    pool = tuple(make_problem(f"p{index}") for index in range(count))
    return TrainingSets(pool=pool, curated=pool[::2], held_out=pool[:1])


def test_both_arms_have_as_many_problems_and_the_random_ones_depend_on_the_seed():
    sets = make_sets()
    assert sets.select("curated", 0) == sets.select("curated", 1) == list(sets.curated)
    random = [sets.select("random", seed) for seed in (0, 0, 1)]
    assert random[0] == random[1] != random[2]
    for problems in random:
        assert len({problem.question_id for problem in problems}) == len(sets.curated)


def test_curated_problems_have_the_statement_of_the_pool_and_what_the_curation_mended():
    original = make_problem("clean/1")
    checker = {"type": "float", "abs": 0.01, "rel": 1e-6}
    mended = replace(
        original,
        question_id="pool/clean/1",
        question_content=f"{original.question_content}\n\nRead the input from standard input.",
        checker=checker,
        private_tests=(ProblemTest("7", "8"),),
    )
    row = {**to_row(mended), "source_id": "clean/1", "weak_tests": False, "extra": None}
    (curated,) = restore_statements([row, {**row, "weak_tests": True}], {"clean/1": original})
    assert curated == replace(original, checker=checker, private_tests=mended.private_tests)


def test_a_file_that_has_the_same_rows_is_not_written_again(tmp_path):
    path = tmp_path / "folder" / "pool.jsonl"
    write_rows(path, [{"a": 1}])
    before = path.stat().st_mtime_ns
    write_rows(path, [{"a": 1}])
    assert path.stat().st_mtime_ns == before
    write_rows(path, [{"a": 2}])
    assert path.read_text() == '{"a": 2}\n'


@pytest.mark.heavy
def test_the_report_compares_the_arms_by_part_difficulty_and_temperature():
    curated = {name: passed for name, (_, _, passed) in PROBLEMS.items()}
    rows = [make_row("curated", seed, curated) for seed in (0, 1)]
    rows += [make_row("random", seed, dict.fromkeys(PROBLEMS, 4)) for seed in (0, 1, 2)]
    lines = list(make_lines(rows))
    assert len(lines) == 8
    assert lines[0].startswith("| 0.3 | trained families | 2 | 0.000 [0.000, 0.000] | 0.750 [0.500, 1.000] | 0.500 [")
    assert lines[0].endswith("| 0.250 [0.000, 0.500] |")
    assert lines[1].endswith(
        "| trained families, easy | 1 | {0} | {1} | {1} | {0} |".format(*map(format_equal, (0, 0.5)))
    )
    assert lines[2].endswith("| 1 | {} | {} | {} | {} |".format(*map(format_equal, (0, 1, 0.5, 0.5))))
    assert lines[7].endswith(
        "| other families | 1 | {} | {} | {} | {} |".format(*map(format_equal, (0, 0.25, 0.5, -0.25)))
    )
    assert lines[7].startswith("| 1 |")


def format_equal(value):
    return f"{value:.3f} [{value:.3f}, {value:.3f}]"


def test_the_report_needs_no_row(tmp_path):
    write_report([make_row("random", 0, dict.fromkeys(PROBLEMS, 4))], make_sets(), "here", 6, tmp_path / "README.md")
    assert "1 of 6 runs" in (tmp_path / "README.md").read_text()


@pytest.mark.heavy
def test_both_arms_have_a_valid_configuration():
    config = compose_config(*BASE, "run.steps=6", "dataset.path=a.jsonl", "dataset.held_out_path=b.jsonl")
    assert (config.temperature.value, config.evaluation.other_temperatures) == (TEMPERATURE, [LOW_TEMPERATURE])
