"""Output of an actor and its children lands in one file, and a failure quotes its end or names the known cause."""

import subprocess
import sys
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from actors.log_files import (
    TAIL_LINES,
    ActorFailed,
    describe_death,
    describe_failure,
    get_log_path,
    raise_actor_failed,
    read_tail,
    redirect_output,
)
from evaluator.errors import UserError

PRINTING = """
import os, subprocess, sys
from pathlib import Path
from actors.log_files import redirect_output
print("before")
redirect_output(Path(sys.argv[1]))
print("from the actor", flush=True)
subprocess.run([sys.executable, "-c", "import sys; print('from its engine', file=sys.stderr)"], check=True)
os.write(2, b"from a library\\n")
"""


def make_task_error(cause):
    return RayTaskError("start", f"Traceback\nin start\nRuntimeError: {cause}", cause)


@pytest.mark.heavy
def test_output_of_an_actor_and_its_children_is_appended(tmp_path):
    path = tmp_path / "logs" / "generator_0.log"
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", PRINTING, path], capture_output=True, text=True, check=True, timeout=120
        )
        assert run.stdout == "before\n"
    lines = path.read_text().splitlines()
    assert [line for line in lines if not line.startswith("--- ")] == [
        "from the actor",
        "from its engine",
        "from a library",
    ] * 2
    assert sum(line.startswith("--- ") and " process " in line for line in lines) == 2


def test_folder_that_cannot_be_written_leaves_the_output_alone(tmp_path, caplog):
    file = tmp_path / "file"
    file.touch()
    redirect_output(file / "generator_0.log")
    assert "no log file here" in caplog.text


def test_names_of_log_files():
    assert get_log_path(Path("/runs/a/logs"), "learner rank 3") == Path("/runs/a/logs/learner_rank_3.log")
    assert get_log_path(None, "learner rank 3") is None


def test_tail_has_the_last_lines_without_control_characters(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(f"line {index}\n\n" for index in range(5000)) + "\x1b[31mred\x1b[0m\x07\n")
    tail = read_tail(path)
    assert len(tail) == TAIL_LINES
    assert tail[-2:] == ["line 4999", "[31mred[0m"]
    assert read_tail(tmp_path / "absent") == read_tail(None) == []


def test_lines_of_an_earlier_process_are_not_quoted(tmp_path):
    path = tmp_path / "generator_0.log"
    path.write_text("--- then process 1 on a\nCUDA out of memory\n--- now process 2 on a\nlast words\n")
    assert read_tail(path) == ["last words"]
    killed = make_task_error(RuntimeError("Task was killed due to the node running low on memory"))
    assert "the node ran out of memory" in describe_failure("generator 0", killed, path)
    assert describe_death(RuntimeError("odd"), path) == f"RuntimeError: odd; its log: {path}"
    assert describe_death(RuntimeError("Bus error"), None).startswith("RuntimeError: Bus error: shared memory")


def test_known_cause_is_one_sentence(tmp_path):
    path = tmp_path / "generator_0.log"
    path.write_text("ValueError: Free memory on device cuda:0 (3/80 GiB) is less than desired GPU memory utilization\n")
    message = describe_failure("generator 0", make_task_error(RuntimeError("see root cause above")), path)
    assert message == (
        "generator 0: another process uses this GPU: end it (nvidia-smi lists it), or lower "
        f"generator.gpu_memory_fraction (RuntimeError: see root cause above); its log: {path}"
    )


def test_unknown_cause_has_the_traceback_and_the_last_lines(tmp_path):
    path = tmp_path / "learner_rank_0.log"
    path.write_text("NCCL WARN something new\n")
    message = describe_failure("learner rank 0", make_task_error(RuntimeError("odd")), path)
    assert "in start" in message and message.endswith(f"; its log: {path}\n  | NCCL WARN something new")
    dead = describe_failure("learner rank 0", ActorDiedError(), None)
    assert dead.startswith("learner rank 0: ActorDiedError: ") and "log" not in dead


def test_errors_for_the_user_keep_their_own_message():
    expected = make_task_error(UserError("set model.attention=sdpa"))
    with pytest.raises(RayTaskError) as raised:
        raise_actor_failed("learner rank 0", expected, None)
    assert raised.value is expected
    with pytest.raises(ActorFailed, match=r"learner rank 0: Traceback"):
        raise_actor_failed("learner rank 0", make_task_error(KeyError("x")), None)
