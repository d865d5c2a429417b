"""torch's variable-length attention: called by the signature of the installed torch, and equal to sdpa per sequence."""

from typing import Any

import pytest
import torch

from learner import varlen_attention as module
from learner.segment_attention import UnsupportedAttention, segment_attention
from learner.varlen_attention import varlen_attention
from tests.learner.attention_formula import attend_by_formula

LENGTHS = (3, 1, 7)


def check_bounds(cu_seq_q, cu_seq_k, max_q, max_k):
    assert cu_seq_q.dtype == torch.int32
    assert torch.equal(cu_seq_q, cu_seq_k)
    assert max_q == max_k == int(cu_seq_q.diff().max())


# The signatures of torch 2.10, 2.11 and 2.12, as far as this project uses them.
def varlen_attn_2_10(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, *, scale=None):
    check_bounds(cu_seq_q, cu_seq_k, max_q, max_k)
    assert is_causal
    return attend_by_formula(query, key, value, cu_seq_q, scale)


def varlen_attn_2_11(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1)):
    check_bounds(cu_seq_q, cu_seq_k, max_q, max_k)
    assert window_size == (-1, 0)
    return attend_by_formula(query, key, value, cu_seq_q, scale)


def varlen_attn_2_12(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False
):
    check_bounds(cu_seq_q, cu_seq_k, max_q, max_k)
    assert (window_size, enable_gqa) == ((-1, 0), True)
    return attend_by_formula(query, key, value, cu_seq_q, scale)


def make_states(device="cpu", dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    heads = (4, 2, 2)
    return [
        torch.randn(1, count, sum(LENGTHS), 16, generator=generator).to(device, dtype).requires_grad_()
        for count in heads
    ]


def make_bounds(device="cpu"):
    return torch.tensor([0, *LENGTHS], device=device).cumsum(0, dtype=torch.int32)


def attend(states, **options):
    arguments: dict[str, Any] = {
        "cu_seq_lens_q": make_bounds(states[0].device),
        "max_length_q": max(LENGTHS),
        "scaling": 0.3,
    } | options
    query, key, value = states
    return varlen_attention(torch.nn.Identity(), query, key, value, None, **arguments)[0]


def attend_by_segments(states):
    query, key, value = states
    return segment_attention(torch.nn.Identity(), query, key, value, None, lengths=torch.tensor(LENGTHS), scaling=0.3)[
        0
    ]


@pytest.mark.parametrize("kernel", [varlen_attn_2_10, varlen_attn_2_11, varlen_attn_2_12])
def test_every_signature_of_the_kernel_is_called_causally(monkeypatch, kernel):
    monkeypatch.setattr(module.varlen, "varlen_attn", kernel)
    monkeypatch.setattr(module, "CAUSAL_ARGUMENTS", module.find_causal_arguments(kernel))
    states = make_states()
    torch.testing.assert_close(attend(states), attend_by_segments(states), rtol=1e-5, atol=1e-6)


def test_the_installed_torch_has_one_of_the_signatures():
    assert set(module.CAUSAL_ARGUMENTS) in ({"is_causal"}, {"window_size"}, {"window_size", "enable_gqa"})


@pytest.mark.gpu
def test_kernel_equals_sdpa_per_sequence(cuda):
    states = make_states(cuda, torch.bfloat16)
    copies = [part.detach().clone().requires_grad_() for part in states]
    output = attend(states)
    expected = attend_by_segments(copies)
    torch.testing.assert_close(output, expected, rtol=2e-2, atol=2e-2)
    output.sum().backward()
    expected.sum().backward()
    for part, copy in zip(states, copies, strict=True):
        torch.testing.assert_close(part.grad, copy.grad, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("option", [{"softcap": 30.0}, {"sliding_window": 2}])
def test_unsupported_features_are_rejected(option):
    with pytest.raises(UnsupportedAttention, match=f"uses {next(iter(option))}.*flash_attention_2"):
        attend(make_states(), **option)


def test_dropout_is_rejected():
    with pytest.raises(ValueError, match="no dropout"):
        attend(make_states(), dropout=0.1)
