"""Clipped surrogate: values by hand, gradients, and independent reference implementations."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.clipped_surrogate import Clip, clipped_surrogate

CLIP = Clip(0.2, 0.28, None)
DUAL = Clip(0.2, 0.28, 3.0)


def compute_surrogate(ratios, advantages, weights=None, clip=CLIP):
    """Return the surrogate's sum, its gradient with respect to the log-probs, and the ``Surrogate``, in float64."""
    old = torch.full((len(ratios),), -1.0, dtype=torch.float64)
    logprobs = (old + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    mismatch_weights = torch.tensor(weights or [1.0] * len(ratios), dtype=torch.float64)
    surrogate = clipped_surrogate(logprobs, old, torch.tensor(advantages, dtype=torch.float64), mismatch_weights, clip)
    surrogate.value.sum().backward()
    return surrogate.value.sum().item(), logprobs.grad, surrogate


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected_value", "expected_gradient"),
    [
        (1.1, 2.0, 2.2, 2.2),  # inside the clip range: r * A, which equals its derivative by the log-prob
        (1.5, 2.0, 2.56, 0.0),  # clipped at 1.28
        (0.5, 2.0, 1.0, 1.0),  # a low ratio is not clipped if the advantage is positive
        (0.9, -2.0, -1.8, -1.8),
        (0.5, -2.0, -1.6, 0.0),  # clipped at 0.8
        (1.5, -2.0, -3.0, -3.0),  # a high ratio is not clipped if the advantage is negative
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_surrogate_matches_hand_computed_values(ratio, advantage, expected_value, expected_gradient):
    value, gradient, surrogate = compute_surrogate([ratio], [advantage])
    assert value == pytest.approx(expected_value)
    assert gradient.item() == pytest.approx(expected_gradient)
    assert surrogate.clipped_high.item() is (ratio == 1.5 and advantage > 0)
    assert surrogate.clipped_low.item() is (ratio == 0.5 and advantage < 0)
    assert not surrogate.clipped_dual.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected_value", "expected_gradient"),
    [
        (5.0, -2.0, -6.0, 0.0),  # dual clip: at most 3 x |A|
        (2.9, -2.0, -5.8, -5.8),
        (5.0, 2.0, 2.56, 0.0),  # the ordinary clip if the advantage is positive
        (0.5, -2.0, -1.6, 0.0),
        (5.0, 0.0, 0.0, 0.0),
    ],
)
def test_dual_clip_matches_hand_computed_values(ratio, advantage, expected_value, expected_gradient):
    value, gradient, surrogate = compute_surrogate([ratio], [advantage], clip=DUAL)
    assert value == pytest.approx(expected_value)
    assert gradient.item() == pytest.approx(expected_gradient)
    assert surrogate.clipped_dual.item() is (ratio == 5.0 and advantage < 0)


def test_clipped_tokens_have_no_gradient_among_other_tokens():
    _, gradient, _ = compute_surrogate([1.5, 0.5, 1.0], [1.0, -1.0, 1.0])
    assert gradient.tolist() == [0.0, 0.0, 1.0]


def test_gradient_at_ratio_one_equals_reinforce():
    advantages = [1.5, -0.5, 0.0, 0.25]
    weights = [1.0, 2.0, 1.0, 0.5]
    value, gradient, _ = compute_surrogate([1.0] * 4, advantages, weights)
    logprobs = torch.full((4,), -1.0, dtype=torch.float64, requires_grad=True)
    reinforce = (torch.tensor(weights) * torch.tensor(advantages) * logprobs).sum()
    reinforce.backward()
    assert logprobs.grad is not None and torch.equal(gradient, logprobs.grad)
    assert value == pytest.approx(1.5 - 1.0 + 0.125)


@pytest.mark.parametrize("clip", [CLIP, DUAL])
def test_gradient_matches_finite_differences(clip):
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(80, generator=generator, dtype=torch.float64)
    # Ratios from 0.6 to 3.5, all farther from the kinks than the step of the finite differences.
    spans = ((0.6, 0.79), (0.81, 0.99), (1.01, 1.27), (1.29, 2.9), (3.1, 3.5))
    ratios = torch.cat([torch.linspace(start, end, 16) for start, end in spans])
    logprobs = (old + ratios.double().log()).requires_grad_()
    advantages = torch.randn(80, generator=generator, dtype=torch.float64)
    weights = torch.rand(80, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda values: clipped_surrogate(values, old, advantages, weights, clip).value.sum(), logprobs
    )


TOKENS = st.lists(st.tuples(st.floats(0.01, 9.0), st.floats(-3.0, 3.0), st.floats(0.0, 2.0)), min_size=1, max_size=30)


@given(TOKENS)
def test_surrogate_matches_equation_1_and_dual_clip(tokens):
    ratios, advantages, weights = (list(column) for column in zip(*tokens, strict=True))
    expected = [w * min(r * a, min(max(r, 1 - 0.2), 1 + 0.28) * a) for r, a, w in tokens]
    assert compute_surrogate(ratios, advantages, weights)[2].value.tolist() == pytest.approx(expected, abs=1e-9)
    bounded = [
        w * max(min(r * a, min(max(r, 0.8), 1.28) * a), 3 * a) if a < 0 else unbounded
        for (r, a, w), unbounded in zip(tokens, expected, strict=True)
    ]
    assert compute_surrogate(ratios, advantages, weights, DUAL)[2].value.tolist() == pytest.approx(bounded, abs=1e-9)


@pytest.mark.parametrize("log_ratio", [-1000.0, 1000.0])
@pytest.mark.parametrize("advantage", [-1.0, 0.0, 1.0])
def test_extreme_log_ratios_give_finite_values_and_gradients(log_ratio, advantage):
    logprobs = torch.tensor([log_ratio], requires_grad=True)
    surrogate = clipped_surrogate(logprobs, torch.tensor([0.0]), torch.tensor([advantage]), torch.tensor([2.0]), CLIP)
    surrogate.value.sum().backward()
    assert surrogate.value.isfinite().all()
    assert logprobs.grad.isfinite().all()
