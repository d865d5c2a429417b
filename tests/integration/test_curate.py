"""Curation on Ray: the same bytes on one node, on two nodes and in one process; a killed command goes on."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from launch.curation.pipeline import Pipeline, StageSettings, curate
from launch.curation.progress import CurationProgress
from launch.curation.ray_blocks import execute_with_ray_data
from tests.integration.ray_nodes import ROOT, wait_until
from tests.launch.curation.stand_ins import FUNCTIONS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
SETTINGS = StageSettings(collect=[], process={}, filter=[], verify={}, recorded={})
DATA_FILES = ("problems.parquet", "needs_checker.parquet", "dropped.parquet")


def run(output, files, execute):
    """Curate with stand-ins for the stages, in small blocks; return the bytes of the data set."""
    with CurationProgress(Console(file=io.StringIO())) as progress:
        pipeline = Pipeline(work=output / "work", execute=execute, progress=progress, strict=False)
        curate(output, files, FUNCTIONS, SETTINGS, pipeline)
    return [(output / name).read_bytes() for name in DATA_FILES]


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"source{number}.json" for number in range(6)]
    for number, path in enumerate(paths):
        path.write_text(json.dumps([*range(100 * number, 100 * number + 80), None]))
    return paths


def test_two_nodes_give_the_same_bytes_as_one_process(tmp_path, files):
    expected = run(tmp_path / "process", files, map)
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 2**27})
    seen = tmp_path / "nodes"  # a file for each node that has worked on a block
    seen.mkdir()

    def execute(function, numbers):
        def run_block(number):
            (seen / ray.get_runtime_context().get_node_id()).touch()
            wait_until(lambda: len([*seen.iterdir()]) == 2, "a block on each of the two nodes")
            return function(number)

        yield from execute_with_ray_data(run_block, numbers)

    try:
        cluster.add_node(num_cpus=1, object_store_memory=2**27)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        assert run(tmp_path / "cluster", files, execute) == expected
        assert {path.name for path in seen.iterdir()} == {node["NodeID"] for node in ray.nodes()}
    finally:
        ray.shutdown()
        cluster.shutdown()


def write_problems(path: Path, count: int) -> None:
    """Write problems with a reference, in the format of docs/formats.md; every tenth row is malformed."""
    with path.open("w") as file:
        for number in range(count):
            words = " ".join(f"word{number}x{index}" for index in range(30))
            row = {
                "question_id": str(number),
                "question_content": f"Print the sum of two numbers plus {number}. {words}",
                "private_test_cases": json.dumps([{"input": "1 2\n", "output": f"{3 + number}\n"}]),
                "reference_solutions": [f"print(sum(map(int, input().split())) + {number})"],
            }
            file.write(json.dumps({"question_id": "bad"} if number % 10 == 9 else row) + "\n")


def start_command(output: Path, problems: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start ``launch.curate`` in a process group of its own."""
    arguments = [f"sources=[{problems}]", f"output={output}", "cluster.num_cpus=1"]
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "launch.curate", *arguments],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


@pytest.mark.faults
def test_killed_command_goes_on(tmp_path):
    problems = tmp_path / "problems.jsonl"
    write_problems(problems, 600)  # three blocks of candidates
    output = tmp_path / "out"
    log = tmp_path / "log"
    process = start_command(output, problems, log)

    def find_first_record():
        return next(output.glob("work/verify-*/done/00000.json"), None)

    try:
        wait_until(lambda: find_first_record() is not None, "the first verified block")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    record = find_first_record()
    written = record.stat().st_mtime_ns
    finished = start_command(output, problems, log)
    assert finished.wait(600) == 0, log.read_text()
    assert record.stat().st_mtime_ns == written
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["stages"]["collect"]["dropped"] == {"bad_row": 60}
    assert manifest["stages"]["verify"]["out"] == 540
    ids = pq.read_table(output / "problems.parquet")["source_id"].to_pylist()
    assert ids == [str(number) for number in range(600) if number % 10 != 9]
