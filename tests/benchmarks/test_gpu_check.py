"""The check of a GPU runs on CPU too, without Ray, vLLM, Hydra and pydantic, which a machine with a GPU may lack."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_check.__main__ import main
from benchmarks.gpu_check.measuring import Device, Report
from benchmarks.gpu_check.workload import SHAPES, make_batch

CPU = Device(torch_device=torch.device("cpu"), quick=True)
WITHOUT_PACKAGES = """
import sys
from benchmarks.gpu_check.__main__ import main
status = main(sys.argv[1:])
unwanted = {"ray", "vllm", "hydra", "omegaconf", "pydantic", "typer"} & set(sys.modules)
sys.exit(f"imported: {sorted(unwanted)}" if unwanted else status)
"""


@pytest.mark.heavy
def test_every_part_runs_on_cpu_without_the_other_packages(tmp_path):
    path = tmp_path / "lines.jsonl"
    arguments = ["--device", "cpu", "--shapes", "tiny", "--quick", "--out", str(path)]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES, *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [json.loads(line) for line in run.stdout.splitlines()] == lines
    assert {line["part"] for line in lines} >= {"machine", "attention", "head", "publication", "numbers", "updates"}
    assert not [line for line in lines if "error" in line]
    (repeats,) = {line["update_repeats_bit_for_bit"] for line in lines if "update_repeats_bit_for_bit" in line}
    assert repeats
    assert all(line["update_tokens_per_s"] > 0 for line in lines if line["part"] == "updates")


def test_failing_part_is_reported_and_does_not_end_the_others(tmp_path, capsys):
    report = Report(tmp_path / "lines.jsonl")

    def fail():
        raise RuntimeError("CUDA out of memory\nmore")

    report.run("first", fail, CPU)
    report.run("second", lambda: report.add("second", value=1), CPU)
    lines = [json.loads(line) for line in Path(tmp_path / "lines.jsonl").read_text().splitlines()]
    assert lines[0] == {"part": "first", "error": "RuntimeError: CUDA out of memory"}
    assert {"part": "second", "value": 1} in lines
    assert report.failed == 1
    assert len(capsys.readouterr().out.splitlines()) == len(lines)


def test_batch_has_uneven_responses_of_the_asked_size():
    batch = make_batch(SHAPES["tiny"], 2000, 20)
    lengths = [sequence.response_length for sequence in batch]
    assert 2000 <= sum(len(sequence.token_ids) for sequence in batch) < 2000 + 9 * 20
    assert min(lengths) >= 20 and max(lengths) <= 160 and max(lengths) > 3 * min(lengths)


@pytest.mark.parametrize("arguments", [["--shapes", "7B"], ["--device", "cuda"]])
def test_what_cannot_run_is_refused(arguments, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
