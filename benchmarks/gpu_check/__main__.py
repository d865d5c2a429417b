"""Check the learner on one GPU; a JSON line for each finding. No part begins after six minutes.

    python3 -m benchmarks.gpu_check --out gpu_check.jsonl
    python3 -m benchmarks.gpu_check --device cpu --shapes tiny --quick      # the same code without a GPU

It needs torch >= 2.10, transformers >= 5, numpy and pyarrow, and nothing else: no Ray, no vLLM, no Hydra. The weights
are random. docs/gpu.md has the figures and their goals.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.gpu_check.attention import check_attention
from benchmarks.gpu_check.head import check_head
from benchmarks.gpu_check.ipc import check_ipc
from benchmarks.gpu_check.machine import check_machine
from benchmarks.gpu_check.measuring import Device, Report
from benchmarks.gpu_check.numbers import check_numbers
from benchmarks.gpu_check.publication import check_publication
from benchmarks.gpu_check.updates import check_updates
from benchmarks.gpu_check.workload import SHAPES, LearnerOptions

ROW_TOKENS = 16_384
LONG_ROW_TOKENS = 34_816
BUDGET_S = 360.0
Part = tuple[str, Callable[[], None]]


def list_parts(device: Device, report: Report, names: list[str]) -> list[Part]:
    """List the parts in order of their worth, should the time run out."""
    parts: list[Part] = [
        ("machine", partial(check_machine, device, report)),
        ("attention", partial(check_attention, device, report)),
        ("head", partial(check_head, device, report)),
        ("publication", partial(check_publication, device, report, names[0], SHAPES[names[0]])),
        ("numbers", partial(check_numbers, device, report, names[0], SHAPES[names[0]])),
    ]
    largest = names[-1]
    for name in [largest, *names[:-1]]:
        parts += [_updates(device, report, name, options) for options in list_options(device)]
    if device.is_gpu:
        long = LearnerOptions(dtype="bfloat16", micro_batch_tokens=LONG_ROW_TOKENS, activation_checkpointing=True)
        parts.append(_updates(device, report, largest, long, one_row=True))
        parts.append(("ipc", partial(check_ipc, device, report)))
    return parts


def list_options(device: Device) -> list[LearnerOptions]:
    """List what is varied about the learner: attention, checkpointing and compilation."""
    dtype = device.dtype_name
    base = LearnerOptions(dtype=dtype, micro_batch_tokens=ROW_TOKENS, activation_checkpointing=True)
    kept = LearnerOptions(dtype=dtype, micro_batch_tokens=ROW_TOKENS // 2, activation_checkpointing=False)
    if not device.is_gpu:
        return [base, kept]
    by_sequence = LearnerOptions(
        dtype=dtype, micro_batch_tokens=ROW_TOKENS, activation_checkpointing=True, attention="sdpa"
    )
    compiled = LearnerOptions(dtype=dtype, micro_batch_tokens=ROW_TOKENS, activation_checkpointing=True, compile=True)
    return [base, kept, by_sequence, compiled]


def _updates(device: Device, report: Report, name: str, options: LearnerOptions, one_row: bool = False) -> Part:
    work = partial(check_updates, device, report, name, SHAPES[name], options, one_row=one_row)
    return f"updates {name}", work


def main(arguments: list[str]) -> int:
    """Run all parts that fit into the budget; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_check", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shapes", default="0.6B,1.7B,4B", help=f"of {', '.join(SHAPES)}, smallest first")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes: does it work at all?")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="no part begins after that many seconds")
    parser.add_argument("--out", type=Path, help="file for the same lines")
    parsed = parser.parse_args(arguments)
    names = parsed.shapes.split(",")
    if unknown := [name for name in names if name not in SHAPES]:
        parser.error(f"unknown shape {unknown[0]}: choose from {', '.join(SHAPES)}")
    if parsed.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here: use --device cpu --shapes tiny --quick to try the code")
    device = Device(torch_device=torch.device(parsed.device), quick=parsed.quick)
    report = Report(parsed.out)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store = dist.FileStore(f"{folder}/store", 1)
        dist.init_process_group("nccl" if device.is_gpu else "gloo", store=store, rank=0, world_size=1)
        for name, work in list_parts(device, report, names):
            if time.monotonic() - started > parsed.budget_s:
                report.add(name, skipped=f"the budget of {parsed.budget_s:g} s is used up")
            else:
                report.run(name, work, device)
        dist.destroy_process_group()
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
