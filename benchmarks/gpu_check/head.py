"""Output embedding: speed and memory by chunk size, against whole logits, and the error of the log-probs."""

from __future__ import annotations

from unittest import mock

import torch

from benchmarks.gpu_check.measuring import Device, Report
from learner import token_logprobs as module
from learner.token_logprobs import token_logprobs

CHUNK_POWERS = (25, 26, 27, 28, 29)
CHECKED_TOKENS = 512
"""Tokens whose log-probs are compared with float64."""


def check_head(device: Device, report: Report) -> None:
    """Report microseconds a token and memory of each chunk size, and the error of log-probs."""
    tokens, hidden, vocabulary = (64, 64, 512) if device.quick else (8192, 2560, 151_936)
    torch.manual_seed(0)
    states = torch.randn(tokens, hidden, device=device.torch_device, dtype=device.dtype).requires_grad_()
    weight = torch.randn(vocabulary, hidden, device=device.torch_device, dtype=device.dtype).mul_(0.02).requires_grad_()
    targets = torch.randint(vocabulary, (tokens,), device=device.torch_device)
    ones = torch.ones(tokens, device=device.torch_device)

    def in_chunks() -> None:
        token_logprobs(states, weight, None, targets, ones)[0].sum().backward()

    def at_once() -> None:
        logits = torch.nn.functional.linear(states, weight).float()
        logits.log_softmax(-1).gather(1, targets[:, None]).sum().backward()

    for power in (14,) if device.quick else CHUNK_POWERS:
        with mock.patch.dict(module.CHUNK_ELEMENTS, {device.torch_device.type: 2**power}):
            took_s = device.seconds(in_chunks)
            peak_gib = device.peak_gib(in_chunks)
        report.add("head", chunk=f"2^{power}", us_per_token=1e6 * took_s / tokens, peak_gib=peak_gib)
    took_s = device.seconds(at_once)
    report.add("head", chunk="whole", us_per_token=1e6 * took_s / tokens, peak_gib=device.peak_gib(at_once))
    with torch.no_grad():
        few = slice(0, CHECKED_TOKENS)
        exact = (states[few].double() @ weight.double().T).log_softmax(-1).gather(1, targets[few, None])[:, 0]
        ours = token_logprobs(states[few], weight, None, targets[few], ones[few])[0]
        rounded = torch.nn.functional.linear(states[few], weight).float()
        rounded = rounded.log_softmax(-1).gather(1, targets[few, None])[:, 0]
        for name, values in (("ours", ours), ("logits rounded to the dtype", rounded)):
            error = (values.double() - exact).abs()
            report.add("head", logprobs=name, error_mean=float(error.mean()), error_max=float(error.max()))
