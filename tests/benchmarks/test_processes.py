"""Child processes of the benchmarks: their protocol, the CPU time of process trees, and the CPU floor."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.tools.processes import ROOT, ChildError, measure_tree_cpu_seconds, start_child

PYTHON = Path(sys.executable)
PEER = ROOT / ".venv-peers/livecodebench/bin/python"
BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
SUM = "print(sum(map(int, input().split())))\n"
METHOD = "class Solution:\n    def add(self, a, b):\n        return a + b\n"


@pytest.mark.heavy
def test_measure_tree_cpu_seconds_counts_living_and_dead_descendants_only():
    inner = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN.format(seconds=0.4)!r}])\n"
    outer = inner + BURN.format(seconds=0.2) + "print(flush=True)\nsys.stdin.read()\n"
    own_before = measure_tree_cpu_seconds(os.getpid())
    with subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = measure_tree_cpu_seconds(process.pid)
        assert 0.55 <= used < 3
        assert measure_tree_cpu_seconds(os.getpid()) - own_before >= 0.9 * used
        process.stdin.close()
    assert measure_tree_cpu_seconds(process.pid) == 0.0


def measure_floor(*programs):
    rows = [
        {"inputs": inputs, "func_name": func_name, "code": code, "tests_run": tests}
        for code, func_name, inputs, tests in programs
    ]
    with start_child(PYTHON, "benchmarks.tools.run_cpu_floor", {"workers": 2, "programs": rows}) as floor:
        return floor.run_work()


@pytest.mark.heavy
def test_floor_counts_cpu_time_and_not_waiting():
    burn = BURN.format(seconds=0.2)
    sleep = "import time\ntime.sleep(0.5)\n"
    measured = measure_floor((burn, None, ["", "", ""], 2), (sleep, None, [""], 1), (METHOD, "add", ["1\n2"], 1))
    assert measured.result["tests"] == 4 and measured.result["unfinished"] == 0
    assert 0.4 <= measured.result["cpu_s"] < 0.9  # waiting would add 0.5
    assert measured.cpu_s >= 0.38  # the whole process tree, in the kernel's clock ticks
    assert measured.wall_s >= 0.5


@pytest.mark.heavy
def test_floor_passes_input_to_programs_and_survives_those_that_die():
    by_name = "assert open(0).read() == '1'\n" + BURN.format(seconds=0.1)
    by_descriptor = "import os\nassert os.read(0, 9) == b'1'\n" + BURN.format(seconds=0.1)
    dies = "import os\nos._exit(0)\n"
    thread = "import threading\ndef burn():\n" + textwrap.indent(BURN.format(seconds=0.1), "  ")
    closes = "import os\nos.close(0)\nthreading.Thread(target=burn).start()\n"
    measured = measure_floor(
        (by_name, None, ["1"], 1),
        (dies, None, ["", ""], 2),
        (by_descriptor, None, ["1", "1"], 2),
        ("(", None, [""], 1),
        (thread + closes, None, ["", ""], 2),
    )
    assert measured.result["tests"] == 5 and measured.result["unfinished"] == 2
    assert 0.5 <= measured.result["cpu_s"] < 1.0


def test_start_child_reports_the_output_of_a_dead_child():
    with pytest.raises(ChildError, match="No module named"), start_child(PYTHON, "benchmarks.tools.nothing", {}):
        pass


def test_livecodebench_child_judges_repeatedly():
    if not PEER.exists():
        pytest.skip("LiveCodeBench's evaluator is not installed: run make bench NAME=evaluator")
    tests = {"inputs": ["1 2", "3 4"], "outputs": ["3", "7"], "func_name": None}
    calls = {"inputs": ["1\n2"], "outputs": ["3"], "func_name": "add"}
    programs = [
        {**tests, "code": SUM},
        {**tests, "code": SUM.replace("sum", "max")},
        {**calls, "code": METHOD},
        {**calls, "code": METHOD.replace("+", "/").replace("b)", "b=0)").replace("a / b", "a / 0")},
    ]
    request = {"workers": 2, "timeout_s": 6, "programs": programs}
    with start_child(PEER, "benchmarks.peers.run_livecodebench", request) as peer:
        first = peer.run_work()
        second = peer.run_work()
    assert [row["passed"] for row in first.result] == [True, False, True, False]
    assert [row["tests_run"] for row in first.result] == [2, 1, 1, 1]
    assert first.result[3]["verdict"] == "Runtime Error"
    assert second.result == first.result
    assert first.cpu_s > 0.0
