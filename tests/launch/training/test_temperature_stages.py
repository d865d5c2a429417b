"""Sampling temperature of a run: the training loop on fake actors, calibrated, killed and resumed."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from evaluator.verdict import Status
from launch.training.calibration import CalibrationError
from launch.training.driver_state import STATE, BufferState, DriverState, read_driver_state
from launch.training.temperature_stages import TemperatureStages
from learner.checkpoint import TRAINER_FOLDER, CheckpointError
from learner.credit import assign_credit, build_train_batch
from learner.rollout import Group, Judgement
from learner.temperature_rules import TemperatureState
from tests.factories import make_completion, make_config, make_credit_settings, make_rollout, make_verdict
from tests.fake_actors import FakeActors, SimulatedKill, read_column, read_rows, run_training

GRID = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
DIVERSITY = ("temperature.kind=diversity", "temperature.target_diversity=0.68", "temperature.calibration_prompts=3")


def distinct_by_temperature(temperature, version):
    """Return the number of distinct answers of four: D = 0.5, 0.5, 0.75, 1, 1, 1 along the grid."""
    return {0.6: 2, 0.8: 2, 1.0: 3}.get(temperature, 4)


EMPTY = BufferState(next_step=0, claimed=0, claims=(), ready={})


def write_driver_files(checkpoint, files):
    for name, content in files.items():
        (checkpoint / TRAINER_FOLDER / name).write_bytes(content)


def falling_diversity(temperature, version):
    """Return the same as ``distinct_by_temperature``, but 1 at temperature 1.0 from version 25 on."""
    return 1 if temperature == 1.0 and version >= 25 else distinct_by_temperature(temperature, version)


def test_calibration_measures_the_grid_and_chooses_the_temperature_of_step_0(tmp_path):
    actors = FakeActors(distinct_by_temperature)
    directory, printed = run_training(tmp_path, actors, *DIVERSITY, "run.steps=2")
    calibrating = actors.temperatures[: 6 * 3 * 4]
    training = actors.temperatures[6 * 3 * 4 :]
    assert calibrating == [temperature for temperature in GRID for _ in range(3 * 4)]
    assert training == [1.0] * (2 * 2 * 4)
    saved = json.loads((directory.path / "calibration.json").read_text())
    assert [tuple(point["measured"].values()) for point in saved["points"]] == [
        (0.6, 0.5, 1.0),
        (0.8, 0.5, 1.0),
        (1.0, 0.75, 1.0),
        (1.2, 1.0, 1.0),
        (1.4, 1.0, 0.0),
        (1.6, 1.0, 0.0),
    ]
    assert [query["rewards"] for query in saved["points"][4]["queries"]] == [[0.0] * 4] * 3
    assert [query["diversity"] for query in saved["points"][2]["queries"]] == [0.75] * 3
    (decision,) = read_rows(directory, "temperature.jsonl")
    assert decision == saved["chosen"]
    assert (decision["step"], decision["old"], decision["new"], decision["rule"]) == (0, None, 1.0, "calibration")
    assert "Calibration: 3 problems x 4 responses" in printed
    assert "step    0  temperature 1: D 0.7500, reward 1.0000; the smallest with D >= 0.68" in printed
    assert read_column(directory, "temperature/value") == [1.0, 1.0]
    assert read_column(directory, "temperature/ema") == [0.75, 0.75]


def test_calibration_on_a_small_dataset_uses_each_problem_once(tmp_path):
    actors = FakeActors(distinct_by_temperature)
    run_training(tmp_path, actors, *DIVERSITY, "temperature.calibration_prompts=64", "run.steps=1")
    assert actors.temperatures.count(0.6) == 8 * 4


@pytest.mark.heavy
def test_temperature_rises_when_diversity_falls(tmp_path):
    directory, printed = run_training(tmp_path, FakeActors(falling_diversity), *DIVERSITY, "run.steps=60")
    assert read_column(directory, "temperature/value") == [1.0] * 40 + [1.2] * 20
    assert read_column(directory, "temperature/stage") == [0] * 40 + [1] * 20
    average = 0.25 + 0.5 * 0.9**15  # fifteen steps of 0.25 after 0.75
    assert read_column(directory, "temperature/ema")[39:41] == [pytest.approx(average), 1.0]
    assert [temperature_of(directory, step) for step in (39, 40)] == [pytest.approx(1.0), pytest.approx(1.2)]
    first, second = read_rows(directory, "temperature.jsonl")
    assert first["rule"] == "calibration"
    assert (second["step"], second["old"], second["new"], second["rule"]) == (40, 1.0, 1.2, "drop")
    assert (second["ema"], second["reference"]) == (pytest.approx(average), pytest.approx(0.75))
    assert "step   40  temperature 1 -> 1.2: average D 0.3529 after 40 steps: under 0.9 x 0.7500" in printed


def temperature_of(directory, step):
    table = pq.read_table(directory.path / "rollouts" / f"step_{step:06d}.parquet")
    (temperature,) = set(table["temperature"].to_pylist())
    return temperature


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Directory of a run that was not killed."""
    directory, _ = run_training(
        tmp_path_factory.mktemp("whole"), FakeActors(falling_diversity), *DIVERSITY, "run.steps=60"
    )
    return directory


@pytest.mark.heavy
@pytest.mark.parametrize("kill_at", [5, 33, 39, 40, 41, 45, 50])
def test_a_resumed_run_makes_the_same_decisions(uninterrupted, tmp_path, kill_at):
    """Kill before the first checkpoint, between checkpoint and decision, and before a checkpoint has the decision."""
    arguments = (*DIVERSITY, "run.steps=60")
    run_training(tmp_path / "killed", FakeActors(falling_diversity, kill_at), *arguments)
    actors = FakeActors(falling_diversity)
    resumed, _ = run_training(tmp_path / "killed", actors, *arguments, "run.resume=true")
    assert resumed.first_step == kill_at // 10 * 10
    assert 0.6 not in actors.temperatures  # not calibrated again
    assert read_rows(resumed, "temperature.jsonl") == read_rows(uninterrupted, "temperature.jsonl")
    for name in ("temperature/value", "temperature/stage", "temperature/ema", "diversity/distinct_4"):
        assert read_column(resumed, name) == read_column(uninterrupted, name)
    states = [read_driver_state(directory.checkpoint_path(60)) for directory in (resumed, uninterrupted)]
    assert states[0] == states[1]
    assert states[0].temperature.steps == 20


def lost_diversity(temperature, version):
    """Return the same as ``distinct_by_temperature``, but from version 25 on 2 at temperature 1.2 and 1 below."""
    if version < 25 or temperature > 1.2:
        return distinct_by_temperature(temperature, version)
    return 2 if temperature == 1.2 else 1


@pytest.mark.heavy
@pytest.mark.parametrize("kill_at", [None, 40, 41, 45])
def test_restore_measures_again_and_skips_temperatures_that_are_not_diverse_enough(tmp_path, kill_at):
    arguments = (*DIVERSITY, "temperature.rule=restore", "run.steps=50")
    directory, _ = run_training(tmp_path, FakeActors(lost_diversity, kill_at), *arguments)
    if kill_at is not None:
        directory, _ = run_training(tmp_path, FakeActors(lost_diversity), *arguments, "run.resume=true")
    assert read_column(directory, "temperature/value") == [1.0] * 40 + [1.4] * 10
    first, second = read_rows(directory, "temperature.jsonl")
    assert (first["rule"], second["rule"]) == ("calibration", "restore")
    assert (second["step"], second["old"], second["new"]) == (40, 1.0, 1.4)
    assert "measured again: D 1.0000, the smallest with D >= 0.7500, that of the start" in second["explanation"]


@pytest.mark.heavy
@pytest.mark.parametrize("kill_at", [39, 40, 41, 42])
def test_no_decision_is_lost_if_a_run_that_samples_ahead_is_killed(tmp_path, kill_at):
    """The decision for step 40 is made while step 39 is trained, before the checkpoint after it."""
    arguments = (*DIVERSITY, "run.steps=50", "algorithm.max_staleness=1")
    run_training(tmp_path, FakeActors(falling_diversity, kill_at), *arguments)
    directory, _ = run_training(tmp_path, FakeActors(falling_diversity), *arguments, "run.resume=true")
    decisions = read_rows(directory, "temperature.jsonl")
    assert [decision["rule"] for decision in decisions] == ["calibration", "drop"]
    changed = decisions[1]["step"]
    sampled_at = [temperature_of(directory, step) for step in range(50)]
    assert sampled_at == pytest.approx([1.0] * changed + [1.2] * (50 - changed))
    assert read_column(directory, "temperature/value") == pytest.approx(sampled_at)


@pytest.mark.heavy
def test_a_calibration_is_repeated_only_if_its_settings_have_changed(tmp_path):
    run_training(tmp_path, FakeActors(distinct_by_temperature, kill_at=0), *DIVERSITY, "run.steps=1")
    # The target is not measured: another one chooses from the same numbers.
    actors = FakeActors(distinct_by_temperature, kill_at=0)
    directory, _ = run_training(
        tmp_path, actors, *DIVERSITY, "run.steps=1", "run.resume=true", "temperature.target_diversity=0.9"
    )
    assert set(actors.temperatures) == {1.2}
    assert [row["new"] for row in read_rows(directory, "temperature.jsonl")] == [1.2]
    actors = FakeActors(distinct_by_temperature, kill_at=0)
    run_training(tmp_path, actors, *DIVERSITY, "run.steps=1", "run.resume=true", "temperature.grid=[0.6,1.4]")
    assert set(actors.temperatures) == {0.6, 1.4}


def test_a_killed_calibration_is_repeated(tmp_path):
    class KilledWhileCalibrating(FakeActors):
        async def judge(self, problem, text):
            if len(self.temperatures) > 40:
                raise SimulatedKill
            return await super().judge(problem, text)

    directory, _ = run_training(tmp_path, KilledWhileCalibrating(distinct_by_temperature), *DIVERSITY, "run.steps=1")
    assert not directory.calibration_path.exists()
    assert read_rows(directory, "temperature.jsonl") == []
    actors = FakeActors(distinct_by_temperature)
    directory, _ = run_training(tmp_path, actors, *DIVERSITY, "run.steps=1", "run.resume=true")
    assert set(actors.temperatures) == set(GRID)
    assert len(read_rows(directory, "temperature.jsonl")) == 1


def test_a_damaged_calibration_file_is_reported(tmp_path):
    directory, _ = run_training(tmp_path, FakeActors(distinct_by_temperature, kill_at=0), *DIVERSITY, "run.steps=1")
    directory.calibration_path.write_text('{"points": []}')
    with pytest.raises(
        CalibrationError, match=r"calibration\.json was not written by this version of the program; delete it"
    ):
        run_training(tmp_path, FakeActors(distinct_by_temperature), *DIVERSITY, "run.steps=1", "run.resume=true")


@pytest.mark.parametrize(
    ("tokens", "status", "message"),
    [
        ((11, 12, 2), Status.PASSED, "temperature 0.6: no response has four tokens"),
        ((11, 12, 13, 14, 2), Status.SANDBOX_ERROR, "temperature 0.6: the evaluator failed on every response"),
    ],
)
def test_calibration_fails_if_nothing_can_be_measured(tmp_path, tokens, status, message):
    class Unmeasurable(FakeActors):
        async def generate(self, request):
            return make_completion(tokens, temperature=request.temperature)

        async def judge(self, problem, text):
            return Judgement(verdict=make_verdict(status), code=None, incomplete=False, seconds=0.0)

    with pytest.raises(CalibrationError, match=message):
        run_training(tmp_path, Unmeasurable(distinct_by_temperature), *DIVERSITY, "run.steps=1")


@pytest.mark.heavy
def test_a_schedule_continues_after_a_kill(tmp_path):
    arguments = (
        "temperature.kind=schedule",
        "temperature.value=0.6",
        "temperature.schedule=[[12,1.2]]",
        "run.steps=20",
    )
    run_training(tmp_path, FakeActors(distinct_by_temperature, kill_at=15), *arguments)
    directory, printed = run_training(tmp_path, FakeActors(distinct_by_temperature), *arguments, "run.resume=true")
    assert read_column(directory, "temperature/value") == [0.6] * 12 + [1.2] * 8
    assert read_column(directory, "temperature/ema") == [0.5] * 12 + [1.0] * 8
    (decision,) = read_rows(directory, "temperature.jsonl")
    assert (decision["step"], decision["old"], decision["new"], decision["rule"]) == (12, 0.6, 1.2, "schedule")
    assert "step   12  temperature 0.6 -> 1.2: as scheduled; average D 0.5000 after 12 steps" in printed


def test_a_changed_fixed_temperature_is_recorded_as_a_decision(tmp_path):
    run_training(tmp_path, FakeActors(distinct_by_temperature), "run.steps=10")
    directory, _ = run_training(
        tmp_path, FakeActors(distinct_by_temperature), "run.steps=12", "run.resume=true", "temperature.value=0.8"
    )
    assert read_column(directory, "temperature/value") == [1.0] * 10 + [0.8] * 2
    (decision,) = read_rows(directory, "temperature.jsonl")
    assert (decision["step"], decision["rule"], decision["old"], decision["new"]) == (10, "configuration", 1.0, 0.8)


def test_resume_from_a_checkpoint_without_driver_state_is_refused(tmp_path):
    directory, _ = run_training(tmp_path, FakeActors(distinct_by_temperature), "run.steps=10")
    (directory.checkpoint_path(10) / TRAINER_FOLDER / STATE).unlink()
    with pytest.raises(CheckpointError, match=r"driver\.json is missing: .* set model\.path=.*step_000010 and another"):
        run_training(tmp_path, FakeActors(distinct_by_temperature), "run.steps=12", "run.resume=true")


@pytest.mark.parametrize("text", ["", "{}", '{"temperature": {"value": "hot"}}', '{"temperature": {}, "other": 1}'])
def test_an_invalid_driver_state_is_refused(tmp_path, text):
    (tmp_path / "trainer").mkdir()
    write_driver_files(tmp_path, DriverState(TemperatureState(value=1.0), EMPTY).to_files() | {STATE: text.encode()})
    with pytest.raises(
        CheckpointError, match=r"driver\.json and ready\.parquet were not written by this version of the driver"
    ):
        read_driver_state(tmp_path)


def test_driver_state_is_unchanged_by_writing_and_reading(tmp_path):
    (tmp_path / "trainer").mkdir()
    temperature = TemperatureState(value=1.2, stage=3, steps=41, ema=1 / 3, reference=0.1 + 0.2, at_top=True)
    state = DriverState(temperature, EMPTY)
    write_driver_files(tmp_path, state.to_files())
    assert read_driver_state(tmp_path) == state
    assert read_driver_state(tmp_path).temperature.ema == 1 / 3


def make_group_at(temperature, *responses):
    return Group("q", "", tuple(make_rollout(tokens=tokens, temperature=temperature) for tokens in responses))


def test_samples_of_an_earlier_stage_do_not_change_the_average_diversity():
    unused: Any = None
    state = TemperatureState(value=1.2, stage=1)
    stages = TemperatureStages(make_config().temperature, state, unused, measure=unused)
    stale = make_group_at(1.0, (5, 6, 7, 8), (5, 6, 7, 8))
    present = make_group_at(1.2, (5, 6, 7, 8), (6, 7, 8, 9))
    assert stages.after_step([stale, present], [0.5, 1.0]).ema == 1.0
    assert stages.after_step([stale], [0.5]).ema == 1.0
    assert stages.state.steps == 2


def test_a_train_batch_keeps_the_temperature_of_each_sample():
    stale, present = (
        Group("q", "", (make_rollout(temperature=value), make_rollout(Status.WRONG_ANSWER, temperature=value)))
        for value in (0.6, 1.2)
    )
    groups = assign_credit([stale, present], [True, True], make_credit_settings(mask_probability=0.0), 0)
    batch = build_train_batch(groups, 2, {})
    assert [[sequence.temperature for sequence in mini] for mini in batch.mini_batches] == [[0.6, 0.6, 1.2, 1.2]]
