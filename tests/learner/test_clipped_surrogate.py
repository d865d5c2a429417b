"""The clipped surrogate against figures by hand and independent references."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.clipped_surrogate import Clip, clipped_surrogate

CLIP = Clip(0.2, 0.28, None)
DUAL = Clip(0.2, 0.28, 3.0)


def surrogate(ratios, advantages, weights=None, clip=CLIP):
    """The surrogate's sum, its gradient with respect to the log-probs, and what was clipped, in float64."""
    old = torch.full((len(ratios),), -1.0, dtype=torch.float64)
    logprobs = (old + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_()
    weighted = torch.tensor(weights or [1.0] * len(ratios), dtype=torch.float64)
    found = clipped_surrogate(logprobs, old, torch.tensor(advantages, dtype=torch.float64), weighted, clip)
    found.value.sum().backward()
    return found.value.sum().item(), logprobs.grad, found


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
    value, found, parts = surrogate([ratio], [advantage])
    assert value == pytest.approx(objective)
    assert found.item() == pytest.approx(gradient)
    assert parts.clipped_high.item() is (ratio == 1.5 and advantage > 0)
    assert parts.clipped_low.item() is (ratio == 0.5 and advantage < 0)
    assert not parts.clipped_dual.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "gradient"),
    [
        (5.0, -2.0, -6.0, 0.0),  # dual clip: at most 3 x |A|
        (2.9, -2.0, -5.8, -5.8),
        (5.0, 2.0, 2.56, 0.0),  # for good tokens there is the ordinary clip
        (0.5, -2.0, -1.6, 0.0),
        (5.0, 0.0, 0.0, 0.0),
    ],
)
def test_dual_clip_by_hand(ratio, advantage, objective, gradient):
    value, found, parts = surrogate([ratio], [advantage], clip=DUAL)
    assert value == pytest.approx(objective)
    assert found.item() == pytest.approx(gradient)
    assert parts.clipped_dual.item() is (ratio == 5.0 and advantage < 0)


def test_a_clipped_token_has_no_gradient_beside_others():
    _, gradient, _ = surrogate([1.5, 0.5, 1.0], [1.0, -1.0, 1.0])
    assert gradient.tolist() == [0.0, 0.0, 1.0]


def test_at_ratio_one_the_gradient_is_reinforce():
    advantages = [1.5, -0.5, 0.0, 0.25]
    weights = [1.0, 2.0, 1.0, 0.5]
    value, gradient, _ = surrogate([1.0] * 4, advantages, weights)
    logprobs = torch.full((4,), -1.0, dtype=torch.float64, requires_grad=True)
    reinforce = (torch.tensor(weights) * torch.tensor(advantages) * logprobs).sum()
    reinforce.backward()
    assert logprobs.grad is not None and torch.equal(gradient, logprobs.grad)
    assert value == pytest.approx(1.5 - 1.0 + 0.125)


@pytest.mark.parametrize("clip", [CLIP, DUAL])
def test_finite_differences(clip):
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(80, generator=generator, dtype=torch.float64)
    # Ratios from 0.6 to 3.5, none within the step's reach of a kink.
    spans = ((0.6, 0.79), (0.81, 0.99), (1.01, 1.27), (1.29, 2.9), (3.1, 3.5))
    ratios = torch.cat([torch.linspace(a, b, 16) for a, b in spans])
    logprobs = (old + ratios.double().log()).requires_grad_()
    advantages = torch.randn(80, generator=generator, dtype=torch.float64)
    weights = torch.rand(80, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda values: clipped_surrogate(values, old, advantages, weights, clip).value.sum(), logprobs
    )


TOKENS = st.lists(st.tuples(st.floats(0.01, 9.0), st.floats(-3.0, 3.0), st.floats(0.0, 2.0)), min_size=1, max_size=30)


@given(TOKENS)
def test_equation_one(tokens):
    ratios, advantages, weights = (list(column) for column in zip(*tokens, strict=True))
    expected = [w * min(r * a, min(max(r, 1 - 0.2), 1 + 0.28) * a) for r, a, w in tokens]
    assert surrogate(ratios, advantages, weights)[2].value.tolist() == pytest.approx(expected, abs=1e-9)
    bounded = [
        w * max(min(r * a, min(max(r, 0.8), 1.28) * a), 3 * a) if a < 0 else one
        for (r, a, w), one in zip(tokens, expected, strict=True)
    ]
    assert surrogate(ratios, advantages, weights, DUAL)[2].value.tolist() == pytest.approx(bounded, abs=1e-9)


@pytest.mark.parametrize("gap", [-1000.0, 1000.0])
@pytest.mark.parametrize("advantage", [-1.0, 0.0, 1.0])
def test_no_log_ratio_makes_a_nan(gap, advantage):
    logprobs = torch.tensor([gap], requires_grad=True)
    found = clipped_surrogate(logprobs, torch.tensor([0.0]), torch.tensor([advantage]), torch.tensor([2.0]), CLIP)
    found.value.sum().backward()
    assert found.value.isfinite().all()
    assert logprobs.grad.isfinite().all()
