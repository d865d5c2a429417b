"""The temperature of a run: the training loop on actors that are none, calibrated, killed and resumed."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from evaluator.verdict import Status
from launch.records.run_directory import RunDirectory
from launch.training.calibration import CalibrationError
from launch.training.driver_state import STATE, BufferState, DriverState, read_driver_state
from launch.training.temperature_stages import Temperature
from learner.checkpoint import TRAINER, CheckpointError
from learner.credit import assign_credit, train_batch
from learner.rollout import Group, Judgement
from learner.temperature import TemperatureState
from tests.factories import completion, config, crediting, rollout, verdict
from tests.world import Killed, World, column, rows, run

GRID = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
DIVERSITY = ("temperature.kind=diversity", "temperature.target_diversity=0.68", "temperature.calibration_prompts=3")


def by_temperature(temperature, version):
    """D = 0.5, 0.5, 0.75, 1, 1, 1 along the grid."""
    return {0.6: 2, 0.8: 2, 1.0: 3}.get(temperature, 4)


EMPTY = BufferState(next_step=0, claimed=0, claims=(), ready={})


def write(checkpoint, files):
    for name, content in files.items():
        (checkpoint / TRAINER / name).write_bytes(content)


def falling(temperature, version):
    """As by temperature, but at 1.0 all answers are the same from version 25 on."""
    return 1 if temperature == 1.0 and version >= 25 else by_temperature(temperature, version)


def test_calibration_measures_the_grid_and_step_0_is_sampled_at_its_choice(tmp_path):
    world = World(by_temperature)
    directory, printed = run(tmp_path, world, *DIVERSITY, "run.steps=2")
    calibrating = world.temperatures[: 6 * 3 * 4]
    training = world.temperatures[6 * 3 * 4 :]
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
    (decision,) = rows(directory, "temperature.jsonl")
    assert decision == saved["chosen"]
    assert (decision["step"], decision["old"], decision["new"], decision["rule"]) == (0, None, 1.0, "calibration")
    assert "Calibration: 3 problems x 4 responses" in printed
    assert "step    0  temperature 1: D 0.7500, reward 1.0000; the smallest with D >= 0.68" in printed
    assert column(directory, "temperature/value") == [1.0, 1.0]
    assert column(directory, "temperature/ema") == [0.75, 0.75]


def test_a_small_dataset_is_measured_once_each(tmp_path):
    world = World(by_temperature)
    run(tmp_path, world, *DIVERSITY, "temperature.calibration_prompts=64", "run.steps=1")
    assert world.temperatures.count(0.6) == 8 * 4


def test_stages_follow_the_diversity(tmp_path):
    directory, printed = run(tmp_path, World(falling), *DIVERSITY, "run.steps=60")
    assert column(directory, "temperature/value") == [1.0] * 40 + [1.2] * 20
    assert column(directory, "temperature/stage") == [0] * 40 + [1] * 20
    average = 0.25 + 0.5 * 0.9**15  # fifteen steps of 0.25 after 0.75
    assert column(directory, "temperature/ema")[39:41] == [pytest.approx(average), 1.0]
    assert [temperature_of(directory, step) for step in (39, 40)] == [pytest.approx(1.0), pytest.approx(1.2)]
    first, second = rows(directory, "temperature.jsonl")
    assert first["rule"] == "calibration"
    assert (second["step"], second["old"], second["new"], second["rule"]) == (40, 1.0, 1.2, "drop")
    assert (second["ema"], second["reference"]) == (pytest.approx(average), pytest.approx(0.75))
    assert "step   40  temperature 1 -> 1.2: average D 0.3529 after 40 steps: under 0.9 x 0.7500" in printed


def temperature_of(directory, step):
    (found,) = set(pq.read_table(directory.path / "rollouts" / f"step_{step:06d}.parquet")["temperature"].to_pylist())
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The directory of a run that was not killed."""
    directory, _ = run(tmp_path_factory.mktemp("whole"), World(falling), *DIVERSITY, "run.steps=60")
    return directory


@pytest.mark.heavy
@pytest.mark.parametrize("kill_at", [5, 33, 39, 40, 41, 45, 50])
def test_a_killed_run_decides_as_the_whole_one(whole, tmp_path, kill_at):
    """Before the first checkpoint; between checkpoint and decision; where the decision is not in a checkpoint yet."""
    arguments = (*DIVERSITY, "run.steps=60")
    run(tmp_path / "killed", World(falling, kill_at), *arguments)
    world = World(falling)
    resumed, _ = run(tmp_path / "killed", world, *arguments, "run.resume=true")
    assert resumed.first_step == kill_at // 10 * 10
    assert 0.6 not in world.temperatures  # not calibrated again
    assert rows(resumed, "temperature.jsonl") == rows(whole, "temperature.jsonl")
    for name in ("temperature/value", "temperature/stage", "temperature/ema", "diversity/distinct_4"):
        assert column(resumed, name) == column(whole, name)
    states = [read_driver_state(one.checkpoint_path(60)) for one in (resumed, whole)]
    assert states[0] == states[1]
    assert states[0].temperature.steps == 20


def test_a_calibration_is_made_again_only_if_it_depends_on_what_has_changed(tmp_path):
    run(tmp_path, World(by_temperature, kill_at=0), *DIVERSITY, "run.steps=1")
    # The target is not measured: another one chooses from the same numbers.
    world = World(by_temperature, kill_at=0)
    directory, _ = run(
        tmp_path, world, *DIVERSITY, "run.steps=1", "run.resume=true", "temperature.target_diversity=0.9"
    )
    assert set(world.temperatures) == {1.2}
    assert [row["new"] for row in rows(directory, "temperature.jsonl")] == [1.2]
    world = World(by_temperature, kill_at=0)
    run(tmp_path, world, *DIVERSITY, "run.steps=1", "run.resume=true", "temperature.grid=[0.6,1.4]")
    assert set(world.temperatures) == {0.6, 1.4}


def test_a_killed_calibration_is_made_again(tmp_path):
    class KilledWhileCalibrating(World):
        async def judge(self, problem, text):
            if len(self.temperatures) > 40:
                raise Killed
            return await super().judge(problem, text)

    directory, _ = run(tmp_path, KilledWhileCalibrating(by_temperature), *DIVERSITY, "run.steps=1")
    assert not directory.calibration_path.exists()
    assert rows(directory, "temperature.jsonl") == []
    world = World(by_temperature)
    directory, _ = run(tmp_path, world, *DIVERSITY, "run.steps=1", "run.resume=true")
    assert set(world.temperatures) == set(GRID)
    assert len(rows(directory, "temperature.jsonl")) == 1


def test_a_damaged_calibration_is_named(tmp_path):
    directory, _ = run(tmp_path, World(by_temperature, kill_at=0), *DIVERSITY, "run.steps=1")
    directory.calibration_path.write_text('{"points": []}')
    with pytest.raises(CalibrationError, match=r"calibration\.json is no calibration of this version: delete it"):
        run(tmp_path, World(by_temperature), *DIVERSITY, "run.steps=1", "run.resume=true")


@pytest.mark.parametrize(
    ("tokens", "status", "message"),
    [
        ((11, 12, 2), Status.PASSED, "temperature 0.6: no response has four tokens"),
        ((11, 12, 13, 14, 2), Status.SANDBOX_ERROR, "temperature 0.6: the evaluator failed on every response"),
    ],
)
def test_nothing_to_calibrate_on(tmp_path, tokens, status, message):
    class Mute(World):
        async def generate(self, request):
            return completion(tokens, temperature=request.temperature)

        async def judge(self, problem, text):
            return Judgement(verdict=verdict(status), code=None, incomplete=False, seconds=0.0)

    with pytest.raises(CalibrationError, match=message):
        run(tmp_path, Mute(by_temperature), *DIVERSITY, "run.steps=1")


def test_a_schedule_with_a_kill(tmp_path):
    arguments = (
        "temperature.kind=schedule",
        "temperature.value=0.6",
        "temperature.schedule=[[12,1.2]]",
        "run.steps=20",
    )
    run(tmp_path, World(by_temperature, kill_at=15), *arguments)
    directory, printed = run(tmp_path, World(by_temperature), *arguments, "run.resume=true")
    assert column(directory, "temperature/value") == [0.6] * 12 + [1.2] * 8
    assert column(directory, "temperature/ema") == [0.5] * 12 + [1.0] * 8
    (decision,) = rows(directory, "temperature.jsonl")
    assert (decision["step"], decision["old"], decision["new"], decision["rule"]) == (12, 0.6, 1.2, "schedule")
    assert "step   12  temperature 0.6 -> 1.2: as scheduled; average D 0.5000 after 12 steps" in printed


def test_a_fixed_temperature_needs_no_decision_until_it_is_configured_anew(tmp_path):
    run(tmp_path, World(by_temperature), "run.steps=10")
    directory, _ = run(tmp_path, World(by_temperature), "run.steps=12", "run.resume=true", "temperature.value=0.8")
    assert column(directory, "temperature/value") == [1.0] * 10 + [0.8] * 2
    (decision,) = rows(directory, "temperature.jsonl")
    assert (decision["step"], decision["rule"], decision["old"], decision["new"]) == (10, "configuration", 1.0, 0.8)


def test_a_checkpoint_without_the_drivers_state_is_refused(tmp_path):
    directory, _ = run(tmp_path, World(by_temperature), "run.steps=10")
    (directory.checkpoint_path(10) / TRAINER / STATE).unlink()
    with pytest.raises(CheckpointError, match=r"driver\.json is absent: .* set model\.path=.*step_000010 and another"):
        run(tmp_path, World(by_temperature), "run.steps=12", "run.resume=true")


@pytest.mark.parametrize("text", ["", "{}", '{"temperature": {"value": "hot"}}', '{"temperature": {}, "other": 1}'])
def test_a_foreign_drivers_state_is_refused(tmp_path, text):
    (tmp_path / "trainer").mkdir()
    write(tmp_path, DriverState(TemperatureState(value=1.0), EMPTY).to_files() | {STATE: text.encode()})
    with pytest.raises(
        CheckpointError, match=r"driver\.json and ready\.parquet are not the state of this version's driver"
    ):
        read_driver_state(tmp_path)


def test_the_drivers_state_goes_through_its_file(tmp_path):
    (tmp_path / "trainer").mkdir()
    temperature = TemperatureState(value=1.2, stage=3, steps=41, ema=1 / 3, reference=0.1 + 0.2, at_top=True)
    state = DriverState(temperature, EMPTY)
    write(tmp_path, state.to_files())
    assert read_driver_state(tmp_path) == state
    assert read_driver_state(tmp_path).temperature.ema == 1 / 3


def group(temperature, *responses):
    return Group("q", "", tuple(rollout(tokens=tokens, temperature=temperature) for tokens in responses))


def test_stale_samples_of_an_earlier_stage_say_nothing_about_this_one(tmp_path):
    settings = config(f"run.root={tmp_path}", "temperature.value=1.2")
    display: Any = None
    controller = Temperature(settings, TemperatureState(value=1.2, stage=1), RunDirectory(settings), display)
    stale = group(1.0, (5, 6, 7, 8), (5, 6, 7, 8))
    present = group(1.2, (5, 6, 7, 8), (6, 7, 8, 9))
    assert controller.after_step([stale, present], [0.5, 1.0])["temperature/ema"] == 1.0
    assert controller.after_step([stale], [0.5])["temperature/ema"] == 1.0
    assert controller.state.steps == 2


def test_a_train_batch_keeps_the_temperature_of_each_sample():
    stale, present = (
        Group("q", "", (rollout(temperature=value), rollout(Status.WRONG_ANSWER, temperature=value)))
        for value in (0.6, 1.2)
    )
    batch = train_batch([assign_credit(one, crediting(mask_probability=0.0), 0) for one in (stale, present)], 2)
    assert [[sequence.temperature for sequence in mini] for mini in batch.mini_batches] == [[0.6, 0.6, 1.2, 1.2]]
