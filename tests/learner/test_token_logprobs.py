"""Log-probs, entropies and gradients against a float64 reference, in one chunk and in several."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from learner import token_logprobs as module
from learner.token_logprobs import token_logprobs

TOKENS = 10
WIDTH = 8
VOCABULARY = 50


def make_inputs(bias=True) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return random hidden states, head, bias (None if ``bias`` is False) and targets."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator).requires_grad_()
    head = torch.randn(VOCABULARY, WIDTH, generator=generator).requires_grad_()
    offsets = torch.randn(VOCABULARY, generator=generator).requires_grad_() if bias else None
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    return hidden, head, offsets, targets


def reference_values(hidden, head, bias, targets, temperatures):
    """Compute log-probs and entropies [N] in float64 with numpy; arguments as for ``token_logprobs``."""
    logits = hidden.detach().double().numpy() @ head.detach().double().numpy().T
    if bias is not None:
        logits = logits + bias.detach().double().numpy()
    scaled = logits / temperatures.double().numpy()[:, None]
    scaled -= scaled.max(axis=1, keepdims=True)
    probabilities = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
    chosen = np.log(probabilities[np.arange(len(targets)), targets.numpy()])
    return chosen, -(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(axis=1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 1.6])
def test_values_match_the_float64_reference(temperature, bias):
    values = make_inputs(bias)
    temperatures = torch.full((TOKENS,), temperature)
    logprobs, entropies = token_logprobs(*values, temperatures)
    expected, expected_entropies = reference_values(*values, temperatures)
    np.testing.assert_allclose(logprobs.detach(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropies, expected_entropies, rtol=1e-5, atol=1e-5)
    assert logprobs.dtype == entropies.dtype == torch.float32


def test_each_token_has_its_own_temperature():
    values = make_inputs()
    temperatures = torch.linspace(0.5, 1.5, TOKENS)
    np.testing.assert_allclose(
        token_logprobs(*values, temperatures)[0].detach(),
        reference_values(*values, temperatures)[0],
        rtol=1e-5,
        atol=1e-5,
    )


def test_entropy_matches_hand_computed_values():
    hidden = torch.ones(1, 1)
    head = torch.tensor([[0.0], [0.0], [-1000.0]])
    target = torch.tensor([0])
    temperature = torch.ones(1)
    assert token_logprobs(hidden, head, None, target, temperature)[1].item() == pytest.approx(math.log(2))
    uniform_head = torch.zeros(VOCABULARY, 1)
    assert token_logprobs(hidden, uniform_head, None, target, temperature)[1].item() == pytest.approx(
        math.log(VOCABULARY)
    )


@pytest.mark.parametrize("rows", [1, 3, 5, 10])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_match_the_float64_reference(monkeypatch, rows, bias):
    """Chunks have ``rows`` rows; the last one may be shorter."""
    temperatures = torch.linspace(0.5, 1.5, TOKENS)
    weights = torch.linspace(-1.0, 2.0, TOKENS)
    values = make_inputs(bias)
    exact = make_inputs(bias)
    monkeypatch.setitem(module.CHUNK_ELEMENTS, "cpu", rows * VOCABULARY + 7)
    logprobs, entropies = token_logprobs(*values, temperatures)
    expected, expected_entropies = reference_values(*values, temperatures)
    np.testing.assert_allclose(logprobs.detach(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropies, expected_entropies, rtol=1e-5, atol=1e-5)
    (logprobs * weights).sum().backward()
    hidden, head, offsets, targets = exact
    logits = hidden.double() @ head.double().T + (0 if offsets is None else offsets.double())
    chosen = (logits / temperatures.double()[:, None]).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    (chosen * weights.double()).sum().backward()
    for value, exact_value in zip(values[:3], exact[:3], strict=True):
        if value is not None:
            torch.testing.assert_close(value.grad, exact_value.grad, rtol=1e-5, atol=1e-5)


def test_logits_are_computed_in_chunks_only(monkeypatch):
    """Neither forward nor backward computes or saves more logits than a chunk has."""
    rows = 3
    sizes = []
    compute = module._compute_logits
    monkeypatch.setitem(module.CHUNK_ELEMENTS, "cpu", rows * VOCABULARY)
    monkeypatch.setattr(module, "_compute_logits", lambda *args: (sizes.append(len(args[0])), compute(*args))[1])
    logprobs, _ = token_logprobs(*make_inputs(), torch.ones(TOKENS))
    saved_elements = sum(tensor.numel() for tensor in logprobs.grad_fn.saved_tensors)
    logprobs.sum().backward()
    assert sizes == [3, 3, 3, 1] * 2
    assert saved_elements == TOKENS * (WIDTH + 3) + VOCABULARY * (WIDTH + 1)


def test_bfloat16_keeps_statistics_in_float32():
    *exact, targets = make_inputs()
    hidden, head, bias = values = [value.detach().bfloat16().requires_grad_() for value in exact if value is not None]
    ones = torch.ones(TOKENS)
    logprobs, entropies = token_logprobs(hidden, head, bias, targets, ones)
    assert logprobs.dtype == entropies.dtype == torch.float32
    expected, _ = reference_values(hidden.float(), head.float(), bias.float(), targets, ones)
    np.testing.assert_allclose(logprobs.detach(), expected, atol=0.05)
    logprobs.sum().backward()
    assert all(value.grad.dtype == torch.bfloat16 for value in values)


def test_only_log_probs_carry_gradient():
    logprobs, entropies = token_logprobs(*make_inputs(), torch.ones(TOKENS))
    assert logprobs.requires_grad
    assert not entropies.requires_grad


@pytest.mark.gpu
def test_logprobs_of_16_bit_products_are_not_rounded_to_16_bits(cuda):
    """Logits up to about 30, where neighbouring bfloat16 numbers differ by 0.125."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, 256, generator=generator).bfloat16().to(cuda)
    head = (0.6 * torch.randn(VOCABULARY, 256, generator=generator)).bfloat16().to(cuda)
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=generator).to(cuda)
    logprobs, _ = token_logprobs(hidden, head, None, targets, torch.ones(TOKENS, device=cuda))
    exact = (hidden.double() @ head.double().T).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert (logprobs.double() - exact).abs().max() < 1e-3
