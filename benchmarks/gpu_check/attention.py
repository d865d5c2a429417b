"""Attention over packed rows: speed of each implementation, and their differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.gpu_check.measuring import Device, Report
from learner.attention_choice import FLASH_ATTENTION, KERNELS, find_obstacle
from learner.segment_attention import segment_attention
from learner.varlen_attention import varlen_attention

HEADS = 32
GROUPS = 8
HEAD_DIM = 128
ROWS = {
    "uneven": tuple(int(512 * 8 ** (index / 9)) for index in range(10)),
    "one of 32,768 tokens": (32_768,),
    "64 of 256 tokens": (256,) * 64,
}
"""Lengths of the sequences in each measured row."""
States = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """Implementation of attention on a row of sequences with these lengths."""

    row: str
    lengths: tuple[int, ...]
    implementation: str


def check_attention(device: Device, report: Report) -> None:
    """Report milliseconds and TFLOP/s of each implementation, forward and with the backward pass, and differences."""
    for name, run in KERNELS.items():
        report.add("attention", kernel=name, obstacle=find_obstacle(run, device.torch_device, device.dtype))
    for row, lengths in ({"uneven": (32, 64, 128)} if device.quick else ROWS).items():
        outputs = {}
        for name, attend in _implementations(lengths, device).items():
            case = Case(row=row, lengths=lengths, implementation=name)
            outputs[name] = _measure(device, report, case, attend)
        for name, output in outputs.items():
            if name != "sdpa":
                difference = float((output - outputs["sdpa"]).abs().max())
                report.add("attention", row=row, implementation=name, largest_difference_from_sdpa=difference)
    _check_grouped_kernels(device, report)


def _implementations(lengths: tuple[int, ...], device: Device) -> dict[str, Callable[[States], Tensor]]:
    sizes = torch.tensor(lengths)
    bounds = torch.tensor((0, *lengths), device=device.torch_device).cumsum(0, dtype=torch.int32)
    module = torch.nn.Identity()
    scaling = HEAD_DIM**-0.5

    def attend_by_segments(states: States) -> Tensor:
        query, key, value = states
        output: Tensor = segment_attention(module, query, key, value, None, lengths=sizes, scaling=scaling)[0]
        return output

    def attend_by_varlen(states: States) -> Tensor:
        query, key, value = states
        options = {"cu_seq_lens_q": bounds, "max_length_q": max(lengths), "scaling": scaling}
        return varlen_attention(module, query, key, value, None, **options)[0]

    def attend_by_flash_attention(states: States) -> Tensor:
        from flash_attn import flash_attn_varlen_func

        q, k, v = (part[0].transpose(0, 1) for part in states)
        longest = max(lengths)
        arguments = {"cu_seqlens_q": bounds, "cu_seqlens_k": bounds, "max_seqlen_q": longest, "max_seqlen_k": longest}
        output: Tensor = flash_attn_varlen_func(q, k, v, **arguments, softmax_scale=scaling, causal=True)
        return output.unsqueeze(0)

    implementations: dict[str, Callable[[States], Tensor]] = {"sdpa": attend_by_segments}
    if device.is_gpu:
        implementations["varlen"] = attend_by_varlen
        if not find_obstacle(KERNELS[FLASH_ATTENTION], device.torch_device, device.dtype):
            implementations[FLASH_ATTENTION] = attend_by_flash_attention
    return implementations


def _measure(device: Device, report: Report, case: Case, attend: Callable[[States], Tensor]) -> Tensor:
    """Measure an implementation on a row; return its output [1, T, heads, D] in float32."""
    lengths = case.lengths
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, sum(lengths), HEAD_DIM, device=device.torch_device, dtype=device.dtype).requires_grad_()
        for heads in (HEADS, GROUPS, GROUPS)
    )
    states = (query, key, value)
    # Two products of L x L / 2 pairs and D numbers for each head; the backward pass has five.
    flops = sum(2 * 2 * length * length / 2 * HEADS * HEAD_DIM for length in lengths)
    with torch.no_grad():
        forward_s = device.seconds(lambda: attend(states))
        output = attend(states).float()
    both_s = device.seconds(lambda: attend(states).float().square().mean().backward())
    report.add(
        "attention",
        row=case.row,
        implementation=case.implementation,
        forward_ms=1e3 * forward_s,
        forward_and_backward_ms=1e3 * both_s,
        forward_tflops=flops / forward_s / 1e12,
        forward_and_backward_tflops=3.5 * flops / both_s / 1e12,
    )
    return output


def _check_grouped_kernels(device: Device, report: Report) -> None:
    """Report which kernels of torch take fewer groups than heads, in both dtypes of the learner."""
    for dtype in (torch.bfloat16, torch.float32):
        query = torch.randn(1, HEADS, 64, HEAD_DIM, device=device.torch_device, dtype=dtype)
        key = torch.randn(1, GROUPS, 64, HEAD_DIM, device=device.torch_device, dtype=dtype)
        works = {}
        for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION):
            try:
                with sdpa_kernel(backend):
                    scaled_dot_product_attention(query, key, key, is_causal=True, enable_gqa=True)
                works[backend.name] = True
            except RuntimeError:
                works[backend.name] = False
        report.add("attention", dtype=str(dtype), kernels_that_take_groups=works)
