"""The clipped surrogate and the mismatch weights against figures by hand and independent references."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.objective import clipped_surrogate, mismatch_weights

LOW, HIGH = 0.2, 0.28


def surrogate(ratios, advantages, weights=None):
    """Loss, gradient with respect to the log-probs, and sums, at the given ratios, in float64."""
    old = torch.full((len(ratios),), -1.0, dtype=torch.float64)
    logprobs = (old + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    weighted = torch.tensor(weights or [1.0] * len(ratios), dtype=torch.float64)
    loss, sums = clipped_surrogate(logprobs, old, torch.tensor(advantages, dtype=torch.float64), weighted, LOW, HIGH)
    loss.backward()
    return loss.item(), logprobs.grad, sums


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "gradient"),
    [
        (1.1, 2.0, 2.2, 2.2),  # inside the clip range: r * A, whose derivative by the log-prob is itself
        (1.5, 2.0, 2.56, 0.0),  # clipped above at 1.28
        (0.5, 2.0, 1.0, 1.0),  # a good token that became unlikely is never clipped
        (0.9, -2.0, -1.8, -1.8),
        (0.5, -2.0, -1.6, 0.0),  # clipped below at 0.8
        (1.5, -2.0, -3.0, -3.0),  # a bad token that became likely is never clipped
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_by_hand(ratio, advantage, objective, gradient):
    loss, found, sums = surrogate([ratio], [advantage])
    assert loss == pytest.approx(-objective)
    assert found.item() == pytest.approx(-gradient)
    assert sums.clipped_high.item() == (ratio == 1.5 and advantage > 0)
    assert sums.clipped_low.item() == (ratio == 0.5 and advantage < 0)


def test_a_clipped_token_has_no_gradient_beside_others():
    _, gradient, _ = surrogate([1.5, 0.5, 1.0], [1.0, -1.0, 1.0])
    assert gradient.tolist() == [0.0, 0.0, -1.0]


def test_at_ratio_one_the_gradient_is_reinforce():
    advantages = [1.5, -0.5, 0.0, 0.25]
    weights = [1.0, 2.0, 1.0, 0.5]
    loss, gradient, _ = surrogate([1.0] * 4, advantages, weights)
    logprobs = torch.full((4,), -1.0, dtype=torch.float64, requires_grad=True)
    reinforce = -(torch.tensor(weights) * torch.tensor(advantages) * logprobs).sum()
    reinforce.backward()
    assert torch.equal(gradient, logprobs.grad)
    assert loss == pytest.approx(-(1.5 - 1.0 + 0.125))


def test_finite_differences():
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(64, generator=generator, dtype=torch.float64)
    # Ratios from 0.6 to 1.6, none within the step's reach of a kink.
    ratios = torch.cat([torch.linspace(a, b, 16) for a, b in ((0.6, 0.79), (0.81, 0.99), (1.01, 1.27), (1.29, 1.6))])
    logprobs = (old + ratios.double().log()).requires_grad_()
    advantages = torch.randn(64, generator=generator, dtype=torch.float64)
    weights = torch.rand(64, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda values: clipped_surrogate(values, old, advantages, weights, LOW, HIGH)[0], logprobs
    )


TOKENS = st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(-3.0, 3.0), st.floats(0.0, 2.0)), min_size=1, max_size=30)


@given(TOKENS)
def test_equation_one(tokens):
    ratios, advantages, weights = (list(column) for column in zip(*tokens, strict=True))
    loss, _, sums = surrogate(ratios, advantages, weights)
    expected = -sum(w * min(r * a, min(max(r, 1 - LOW), 1 + HIGH) * a) for r, a, w in tokens)
    assert loss == pytest.approx(expected, abs=1e-9)
    assert sums.loss.item() == pytest.approx(expected, abs=1e-9)
    assert sums.tokens.item() == len(tokens)
    assert sums.kl.item() == pytest.approx(-sum(math.log(r) for r in ratios), abs=1e-9)


def test_mismatch_weights():
    old = torch.log(torch.tensor([0.3, 0.3, 0.1]))
    sampler = torch.log(torch.tensor([0.1, 0.2, 0.2]))
    assert mismatch_weights(old, sampler, 2.0).tolist() == pytest.approx([2.0, 1.5, 0.5])
    assert mismatch_weights(old, sampler, 1.0).tolist() == pytest.approx([1.0, 1.0, 0.5])
    assert mismatch_weights(old, sampler, 0.0).tolist() == [1.0, 1.0, 1.0]


def test_mismatch_weights_do_not_explode():
    assert mismatch_weights(torch.tensor([0.0]), torch.tensor([-500.0]), 2.0).tolist() == [2.0]
