"""Exit statuses, error messages and help of the commands."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray.exceptions import RayActorError, RayTaskError
from rich.console import Console

from conf.schema import ConfigError
from launch import curate, driver, evaluate, export, report, scale, warm_start
from launch.cluster.ray_cluster import ray_session
from launch.command import CONF, describe_experiments, report_failures, run_command
from learner.batch_checks import BadBatch
from learner.checkpoint import CheckpointError
from learner.optimizer import NonFiniteGradient

ROOT = Path(__file__).parents[2]
HELPS = {module.HELP.command: module.HELP for module in (curate, driver, evaluate, export, report, scale, warm_start)}


def make_actor_error(error):
    """Return the error that Ray raises in the driver when an actor raises ``error``."""
    return RayTaskError("save", "Traceback\n  in an actor\nand so on", error).as_instanceof_cause()


def run_failing_command(error):
    """Raise ``error`` in a command that uses actors; return exit status and output."""
    output = io.StringIO()
    console = Console(file=output, width=200)
    with pytest.raises(SystemExit) as caught, report_failures(console), ray_session():
        raise error
    return caught.value.code, output.getvalue()


@pytest.mark.parametrize(
    ("error", "expected_status", "expected_output"),
    [
        (ConfigError("run.steps: wrong"), 2, "error: run.steps: wrong\n"),
        (CheckpointError("step_1: damaged"), 2, "error: step_1: damaged\n"),
        (make_actor_error(CheckpointError("step_1: disk full")), 1, "stopped: step_1: disk full\n"),
        (make_actor_error(NonFiniteGradient("norm nan")), 1, "stopped: norm nan\n"),
        (make_actor_error(BadBatch("sequence 3: token 9 is beyond")), 1, "stopped: sequence 3: token 9 is beyond\n"),
        (make_actor_error(KeyError("x")), 1, "stopped: Traceback\n  in an actor\nand so on"),
        (RayActorError("00" * 16, "the node died"), 1, "stopped: "),
        (OSError("disk full"), 1, "stopped: disk full\n"),
        (KeyboardInterrupt(), 130, "stopped on request"),
    ],
)
def test_expected_error_is_printed_as_message(error, expected_status, expected_output):
    status, output = run_failing_command(error)
    assert status == expected_status and output.startswith(expected_output)


def test_control_characters_in_a_message_are_escaped():
    status, output = run_failing_command(ConfigError("row 3: \x1b[2J\x07\u202e\ud800 is no name\nsecond line"))
    assert (status, output) == (2, "error: row 3: \\x1b[2J\\x07\\u202e\\ud800 is no name\nsecond line\n")


def test_unexpected_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), report_failures(Console(file=io.StringIO())):
        raise ZeroDivisionError


@pytest.mark.parametrize("command", HELPS)
def test_help_contains_purpose_usage_and_keys(command):
    text = str(HELPS[command])
    assert text.startswith(f"python -m {command}: ")
    assert all(f"\n  {key}=" in text for key in HELPS[command].keys)
    assert len(HELPS[command].keys) <= 10
    assert "conf/schema.py" in text and "docs/" in text
    assert ("+experiment=NAME" in text) == (command in ("launch.driver", "launch.evaluate"))


def test_help_describes_every_experiment():
    text = str(driver.HELP)
    assert set(describe_experiments()) == {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    for name, description in describe_experiments().items():
        assert f"  {name}" in text and description in text


def test_help_shows_the_defaults_of_the_command():
    assert "evaluation.temperature=0.6\n" in str(evaluate.HELP)
    assert "run.resume=false\n" in str(driver.HELP) and "run.steps=10\n" in str(driver.HELP)


@pytest.mark.parametrize(
    "argument", ["+experiment=quikstart", "experiment=quikstart", "+experiment=[quickstart,quikstart]"]
)
def test_unknown_experiment_is_an_error_that_lists_the_available_ones(argument, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["driver", argument])
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: pytest.fail("main must not be called"), driver.HELP)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: experiment=quikstart: unknown experiment; available:\n")
    assert all(f"  {name}" in error and description in error for name, description in describe_experiments().items())


@pytest.mark.heavy
def test_closed_output_causes_no_traceback():
    """Simulate ``python -m launch.driver --help | head -3``, with the pipe closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "launch.driver", "--help"]
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, timeout=300, check=False)
    assert done.returncode == 141 and done.stderr == b""


HEAVY_MODULES = ("torch", "ray", "transformers", "vllm", "openai", "tensorboard")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("driver", ["model.path=/nowhere"], "model.path=/nowhere: no such directory"),
        ("driver", ["dataset.path=/nowhere.jsonl"], "dataset.path=/nowhere.jsonl: no such file"),
        ("driver", ["dataset.train=nowhere"], "dataset.train: 'nowhere' is neither a file nor one of codecontests"),
        ("driver", ["dataset.train=deepcoder:/nowhere"], "dataset.train: deepcoder: /nowhere has none of"),
        ("driver", ["run.name=used"], "used holds a run: set run.resume=true"),
        ("driver", ["run.stepz=1"], "run.stepz"),
        ("driver", ["algorithm.reward=nowhere:x"], "algorithm.reward=nowhere:x: cannot import nowhere"),
        ("evaluate", ["model.path=/nowhere", "dataset.name=humaneval"], "model.path=/nowhere: no such directory"),
        ("evaluate", ["dataset.name=humaneval", "dataset.held_out_path=/nowhere"], "/nowhere: no such file"),
        ("curate", ["sources=[/nowhere.jsonl]", "output=/nowhere"], "'/nowhere.jsonl' is neither a file nor one of"),
        ("export", ["run=/nowhere", "output=/nowhere-else"], "run=/nowhere: no config.yaml in it"),
        ("report", ["run=/nowhere"], "run=/nowhere: no such run"),
        ("scale", ["run=/nowhere", "evaluators=2"], "run=/nowhere: no such run"),
        ("warm_start", ["problems=/nowhere", "solutions=/nowhere"], "problems=/nowhere: no such file"),
        ("warm_start", ["model=/nowhere"], "model=/nowhere: no such directory"),
    ],
)
def test_wrong_path_is_reported_before_heavy_imports(command, arguments, message, tmp_path):
    """The test looks at the imported modules, because importing them is what takes time."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "config.yaml").write_text("")
    if command in ("driver", "evaluate"):
        arguments = [*arguments, f"run.root={tmp_path}"]
    program = (
        "import runpy, sys\n"
        f"sys.argv = {[command, *arguments]!r}\n"
        "try:\n"
        f"    runpy.run_module('launch.{command}', run_name='__main__')\n"
        "finally:\n"
        f"    print('imported:', *[name for name in {HEAVY_MODULES!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode != 0
    assert message in done.stdout + done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "imported:"
