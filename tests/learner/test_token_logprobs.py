"""Log-probs and entropies against a float64 reference; chunks against the whole."""

import math

import numpy as np
import pytest
import torch

from learner import token_logprobs as module
from learner.token_logprobs import token_logprobs

TOKENS, WIDTH, VOCABULARY = 10, 8, 50


def inputs(bias=True):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator).requires_grad_()
    head = torch.randn(VOCABULARY, WIDTH, generator=generator).requires_grad_()
    offsets = torch.randn(VOCABULARY, generator=generator).requires_grad_() if bias else None
    targets = torch.randint(VOCABULARY, (TOKENS,), generator=generator)
    return hidden, head, offsets, targets


def reference(hidden, head, bias, targets, temperatures):
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
def test_float64_reference(temperature, bias):
    values = inputs(bias)
    temperatures = torch.full((TOKENS,), temperature)
    logprobs, entropies = token_logprobs(*values, temperatures)
    expected, expected_entropies = reference(*values, temperatures)
    np.testing.assert_allclose(logprobs.detach(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropies, expected_entropies, rtol=1e-5, atol=1e-5)
    assert logprobs.dtype == entropies.dtype == torch.float32


def test_each_token_has_its_own_temperature():
    values = inputs()
    temperatures = torch.linspace(0.5, 1.5, TOKENS)
    np.testing.assert_allclose(
        token_logprobs(*values, temperatures)[0].detach(), reference(*values, temperatures)[0], rtol=1e-5, atol=1e-5
    )


def test_entropy_by_hand():
    hidden, head = torch.ones(1, 1), torch.tensor([[0.0], [0.0], [-1000.0]])
    target, one = torch.tensor([0]), torch.ones(1)
    assert token_logprobs(hidden, head, None, target, one)[1].item() == pytest.approx(math.log(2))
    flat = torch.zeros(VOCABULARY, 1)
    assert token_logprobs(hidden, flat, None, target, one)[1].item() == pytest.approx(math.log(VOCABULARY))


@pytest.mark.parametrize("rows", [1, 3, 5, 9])
def test_chunks_equal_the_whole(monkeypatch, rows):
    temperatures = torch.linspace(0.5, 1.5, TOKENS)
    weights = torch.linspace(-1.0, 2.0, TOKENS)
    whole, chunked = inputs(), inputs()
    expected = token_logprobs(*whole, temperatures)
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", rows * VOCABULARY)
    sizes = []
    chunk = module._chunk
    monkeypatch.setattr(module, "_chunk", lambda *args: (sizes.append(len(args[0])), chunk(*args))[1])
    found = token_logprobs(*chunked, temperatures)
    assert max(sizes) == rows
    torch.testing.assert_close(found, expected)
    (expected[0] * weights).sum().backward()
    (found[0] * weights).sum().backward()
    for one, other in zip(chunked[:3], whole[:3], strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_only_log_probs_carry_gradient():
    logprobs, entropies = token_logprobs(*inputs(), torch.ones(TOKENS))
    assert logprobs.requires_grad
    assert not entropies.requires_grad
