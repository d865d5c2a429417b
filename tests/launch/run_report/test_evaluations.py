"""History of a run's evaluations: scores, the verdict, and files that cannot be used."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from launch.evaluation.answers import SCHEMA
from launch.records.summary import summarize_run
from launch.run_report.evaluations import read_evaluations
from launch.run_report.run_files import read_run_files
from tests.factories import make_config
from tests.launch.run_report.run_factory import write_answers, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", steps=4)


def read(run):
    return read_evaluations(read_run_files(run))


def write_random_answers(path, share, rng, question="q"):
    rows = [
        {
            **{field.name: None for field in SCHEMA},
            "question_id": f"{question}{problem}",
            "text": "```" if rng.random() < 0.5 else "text",
            "passed": bool(rng.random() < share),
            "status": "sandbox_error" if rng.random() < 0.05 else "passed",
            "platform": "untrained" if problem % 3 else "trained",
            "family": f"f{problem % 5}",
        }
        for problem in range(15)
        for _ in range(4)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)


def test_scores_of_every_evaluation(run):
    history = read(run)
    assert history.parts == ("trained",) and history.notes == ()
    assert [(point.step, point.temperature) for point in history.points] == [(0, 1.0), (0, 0.3), (4, 1.0), (4, 0.3)]
    first, *_, last = history.points
    assert (first.problems, first.k, first.pass_at_1.mean, first.pass_at_k.mean) == (6, 4, 0.25, 1.0)
    assert last.pass_at_1.mean == 0.75
    assert [point.step for point in history.select("trained", 0.3)] == [0, 4] and history.select("all", 0.3) == []


def test_verdict_of_a_run_that_learned(run):
    learning = read(run).learning
    assert learning.verdict.startswith("learned: pass@1 rose at T 1 and 0.3")
    assert (learning.first_step, learning.last_step) == (0, 4)
    assert [(gain.part, gain.temperature) for gain in learning.gains] == [("trained", 1.0), ("trained", 0.3)]


@pytest.mark.parametrize("seed", range(4))
def test_verdict_and_gains_are_those_of_the_summary(tmp_path, seed):
    run = write_run(tmp_path / "run", steps=4, with_evaluations=False)
    rng = np.random.default_rng(seed)
    for step, share in ((0, 0.3), (4, rng.choice([0.1, 0.3, 0.7]))):
        for folder in ("", "T0.3"):
            write_random_answers(run / "evaluation" / folder / f"step_{step:06d}.parquet", share, rng)
    learning = read(run).learning
    output = io.StringIO()
    config = make_config("run.steps=4", "evaluation.other_temperatures=[0.3]")
    Console(file=output, width=400).print(summarize_run(run, config))
    assert learning.verdict in output.getvalue()
    for gain in learning.gains:
        for before, after, change in (gain.pass_at_1, gain.pass_at_k):
            assert f"{before.mean:.3f} → {after.mean:.3f}" in output.getvalue()
            assert f"{change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]" in output.getvalue()
    assert {gain.part for gain in learning.gains} == {"trained", "untrained"}


def test_no_verdict_after_a_single_evaluation(run):
    for folder in ("", "T0.3"):
        (run / "evaluation" / folder / "step_000004.parquet").unlink()
    history = read(run)
    assert history.learning is None and len(history.points) == 2


def test_verdict_uses_the_last_evaluation_that_every_temperature_has(run):
    write_answers(run / "evaluation" / "step_000006.parquet", passed=0)
    assert read(run).learning.last_step == 4
    (run / "evaluation" / "T0.3" / "step_000000.parquet").unlink()
    (run / "evaluation" / "T0.3" / "step_000004.parquet").unlink()
    learning = read(run).learning
    assert learning.last_step == 6 and learning.verdict.startswith("worse")


def test_no_verdict_on_different_problems(run):
    rng = np.random.default_rng(0)
    write_random_answers(run / "evaluation" / "step_000004.parquet", 0.5, rng)  # T 0.3 still has common problems
    assert read(run).learning is None


@pytest.mark.parametrize("keep", [0, 4, 500])
def test_damaged_file_is_noted_and_the_others_count(run, keep):
    path = run / "evaluation" / "step_000004.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    history = read(run)
    assert history.notes[0].startswith("evaluation/step_000004.parquet cannot be read") and len(history.points) == 3
    assert history.learning is None


def test_folder_in_place_of_a_file_is_noted(run):
    (run / "evaluation" / "step_000004.parquet").unlink()
    (run / "evaluation" / "step_000004.parquet").mkdir()
    assert len(read(run).notes) == 1


def test_run_without_evaluations(tmp_path):
    history = read(write_run(tmp_path / "run", with_evaluations=False))
    assert (history.points, history.parts, dict(history.answers), history.learning) == ((), (), {}, None)


def test_answers_without_values_are_left_out(run):
    rows = pq.read_table(run / "evaluation" / "step_000004.parquet").to_pylist()
    for row, changes in zip(rows, ({"question_id": None}, {"passed": None}, {"platform": None}), strict=False):
        row.update(changes)
    rows[0]["family"] = None
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), run / "evaluation" / "step_000004.parquet")
    history = read(run)
    assert history.notes == ("evaluation/step_000004.parquet: 3 answers without values are left out",)
    assert history.learning is not None


COLUMNS = ("question_id", "passed", "status", "text", "platform", "family")
VALUES = st.sampled_from(["a", "passed", "sandbox_error", 1, True, None, 0.5, ["x"]])


@given(values=st.dictionaries(st.sampled_from(COLUMNS), VALUES), steps=st.sets(st.sampled_from([0, 4, 9]), max_size=3))
def test_any_columns_are_read(tmp_path_factory, values, steps):
    run = write_run(tmp_path_factory.mktemp("runs") / "run", steps=1, groups=1, samples=1)
    template = pq.read_table(run / "evaluation" / "step_000001.parquet").to_pylist()
    for step in steps:
        rows = [{**row, **values} for row in template]
        pq.write_table(pa.Table.from_pylist(rows), run / "evaluation" / f"step_{step:06d}.parquet")
    history = read(run)
    assert all(0 <= point.pass_at_1.mean <= 1 for point in history.points)
