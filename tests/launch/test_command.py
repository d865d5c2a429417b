"""How a command ends, what it reports, and its help."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ray.exceptions import RayActorError, RayTaskError
from rich.console import Console

from conf.schema import ConfigError
from launch import driver, evaluate, export, scale, warm_start
from launch.cluster.ray_cluster import ray_session
from launch.command import CONF, experiments, failures_reported, run_command
from learner.batch_checks import BadBatch
from learner.checkpoint import CheckpointError
from learner.optimizer import NonFiniteGradient

ROOT = Path(__file__).parents[2]
HELPS = {module.HELP.command: module.HELP for module in (driver, evaluate, export, scale, warm_start)}


def from_an_actor(error):
    return RayTaskError("save", "Traceback\n  in an actor\nand so on", error).as_instanceof_cause()


def ended_with(error):
    """Exit status and output of a command that uses actors and in which ``error`` is raised."""
    output = io.StringIO()
    console = Console(file=output, width=200)
    with pytest.raises(SystemExit) as ended, failures_reported(console), ray_session():
        raise error
    return ended.value.code, output.getvalue()


@pytest.mark.parametrize(
    ("error", "status", "reported"),
    [
        (ConfigError("run.steps: wrong"), 2, "error: run.steps: wrong\n"),
        (CheckpointError("step_1: damaged"), 2, "error: step_1: damaged\n"),
        (from_an_actor(CheckpointError("step_1: disk full")), 1, "stopped: step_1: disk full\n"),
        (from_an_actor(NonFiniteGradient("norm nan")), 1, "stopped: norm nan\n"),
        (from_an_actor(BadBatch("sequence 3: token 9 is beyond")), 1, "stopped: sequence 3: token 9 is beyond\n"),
        (from_an_actor(KeyError("x")), 1, "stopped: Traceback\n  in an actor\nand so on"),
        (RayActorError("00" * 16, "the node died"), 1, "stopped: "),
        (OSError("disk full"), 1, "stopped: disk full\n"),
        (KeyboardInterrupt(), 130, "stopped on request"),
    ],
)
def test_failures_are_sentences(error, status, reported):
    code, output = ended_with(error)
    assert code == status and output.startswith(reported)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), failures_reported(Console(file=io.StringIO())):
        raise ZeroDivisionError


@pytest.mark.parametrize("command", HELPS)
def test_help_has_purpose_usage_and_keys(command):
    text = str(HELPS[command])
    assert text.startswith(f"python -m {command}: ")
    assert all(f"\n  {key}=" in text for key in HELPS[command].keys)
    assert len(HELPS[command].keys) <= 10
    assert "conf/schema.py" in text and "docs/" in text
    assert ("+experiment=NAME" in text) == (command in ("launch.driver", "launch.evaluate"))


def test_help_lists_every_experiment_with_a_line():
    text = str(driver.HELP)
    assert set(experiments()) == {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    for name, description in experiments().items():
        assert f"  {name}" in text and description in text


def test_help_shows_the_defaults_of_the_command():
    assert "evaluation.temperature=0.6\n" in str(evaluate.HELP)
    assert "run.resume=false\n" in str(driver.HELP) and "run.steps=10\n" in str(driver.HELP)


@pytest.mark.parametrize(
    "argument", ["+experiment=quikstart", "experiment=quikstart", "+experiment=[quickstart,quikstart]"]
)
def test_an_unknown_experiment_lists_those_there_are(argument, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["driver", argument])
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: pytest.fail("not reached"), driver.HELP)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: experiment=quikstart: no such experiment; there are\n")
    assert all(f"  {name}" in error and line in error for name, line in experiments().items())


def test_a_reader_that_leaves_causes_no_traceback():
    """As ``python -m launch.driver --help | head -3``; the pipe is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "launch.driver", "--help"]
    with os.fdopen(writing, "wb") as output:
        ended = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, timeout=120, check=False)
    assert ended.returncode == 141 and ended.stderr == b""


HEAVY = ("torch", "ray", "transformers", "vllm", "openai", "tensorboard")


@pytest.mark.parametrize(
    ("command", "arguments", "reported"),
    [
        ("driver", ["model.path=/nowhere"], "model.path=/nowhere: no such directory"),
        ("driver", ["dataset.path=/nowhere.jsonl"], "dataset.path=/nowhere.jsonl: no such file"),
        ("driver", ["run.name=used"], "used holds a run: set run.resume=true"),
        ("driver", ["run.stepz=1"], "run.stepz"),
        ("evaluate", ["model.path=/nowhere", "dataset.name=humaneval"], "model.path=/nowhere: no such directory"),
        ("evaluate", ["dataset.name=humaneval", "dataset.held_out_path=/nowhere"], "/nowhere: no such file"),
        ("export", ["run=/nowhere", "output=/nowhere-else"], "run=/nowhere: no config.yaml in it"),
        ("scale", ["run=/nowhere", "evaluators=2"], "run=/nowhere: no such run"),
        ("warm_start", ["problems=/nowhere", "solutions=/nowhere"], "problems=/nowhere: no such file"),
        ("warm_start", ["model=/nowhere"], "model=/nowhere: no such directory"),
    ],
)
def test_a_wrong_path_is_reported_before_anything_heavy_is_imported(command, arguments, reported, tmp_path):
    """The time is that of imports: the test counts them instead of seconds."""
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
        f"    print('imported:', *[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode != 0
    assert reported in ended.stdout + ended.stderr and "Traceback" not in ended.stderr, ended.stderr
    assert ended.stdout.splitlines()[-1].strip() == "imported:"
