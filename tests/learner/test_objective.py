"""The objective over a mini-batch: values by hand, REINFORCE, finite differences, and invariance to splitting."""

import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.clipped_surrogate import Clip
from learner.objective import build_loss_tokens, concatenate_loss_tokens, policy_loss
from tests.tiny_learner import make_objective, make_sequence, make_sequences

KINDS = ("token_mean", "sequence_mean", "constant")
ADVANTAGES = (1.0, -0.5, 0.0, 2.0, -1.5, 0.25, 0.0)


def draw_logprobs(mini_batch, seed):
    """Draw random log-probs [R_i] for each sequence."""
    generator = torch.Generator().manual_seed(seed)
    return [-4.0 + 0.5 * torch.randn(item.response_length, generator=generator).double() for item in mini_batch]


def compute_loss(mini_batch, current, old, reference, settings):
    """Compute the loss, its gradient by each sequence's current log-probs, and the sums, in float64.

    Args:
        mini_batch: training sequences.
        current: log-probs [R_i] of each sequence under the current policy.
        old: log-probs [R_i] of each sequence under the old policy.
        reference: log-probs [R_i] of each sequence under the reference policy, or None.
        settings: the ``Objective``.
    """
    current = [values.clone().requires_grad_() for values in current]
    tokens = concatenate_loss_tokens(build_loss_tokens(mini_batch, old, reference, settings))
    loss, sums = policy_loss(torch.cat(current), tokens, settings)
    loss.backward()
    return loss.item(), [values.grad for values in current], sums


def test_policy_loss_matches_hand_computed_values():
    """Two sequences of 1 and 3 tokens with ratios 1 and 1.5 and advantages 2 and -1; beta0 = 0.1, pi_ref = pi / 2.

    The surrogates are 2 and three times -1.5; each k3 is 1/2 + ln 2 - 1. There are 4 tokens and 2 sequences; L = 16.
    """
    mini_batch = [make_sequence(response=(7,), advantage=2.0), make_sequence(response=(7, 8, 9), advantage=-1.0)]
    old = [torch.full((1,), -2.0).double(), torch.full((3,), -2.0).double()]
    current = [old[0], old[1] + math.log(1.5)]
    reference = [values - math.log(2) for values in current]
    kl = 0.5 + math.log(2) - 1
    expected = {
        "token_mean": (-(2 - 4.5) / 4, kl),
        "sequence_mean": (-(2 - 1.5) / 2, kl),
        "constant": (-(2 - 4.5) / (2 * 16), 4 * kl / (2 * 16)),
    }
    for kind, (pg_loss, kl_loss) in expected.items():
        settings = make_objective(aggregation=kind, kl_weight=0.1, mismatch_cap=0.0)
        loss, _, sums = compute_loss(mini_batch, current, old, reference, settings)
        assert sums.pg_loss.item() == pytest.approx(pg_loss, rel=1e-6)
        assert sums.kl_loss.item() == pytest.approx(kl_loss, rel=1e-6)
        assert loss == pytest.approx(pg_loss + 0.1 * kl_loss, rel=1e-6)
        assert (sums.active_tokens.item(), sums.clipped_high.item(), sums.clipped_low.item()) == (4, 0, 0)
        assert sums.ppo_kl.item() == pytest.approx(-3 * math.log(1.5))


@pytest.mark.parametrize("kind", KINDS)
def test_mismatch_weight_multiplies_the_surrogate_but_not_the_kl_penalty(kind):
    mini_batch = [make_sequence(response=(7, 8), advantage=1.0, sampler_logprob=-3.0)]
    old = [torch.full((2,), -2.5).double()]
    reference = [torch.full((2,), -3.5).double()]
    _, _, plain = compute_loss(mini_batch, old, old, reference, make_objective(aggregation=kind, mismatch_cap=0.0))
    _, _, weighted = compute_loss(mini_batch, old, old, reference, make_objective(aggregation=kind, mismatch_cap=2.0))
    assert weighted.pg_loss.item() == pytest.approx(math.exp(0.5) * plain.pg_loss.item(), rel=1e-6)
    assert weighted.kl_loss.item() == pytest.approx(plain.kl_loss.item())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_gradient_at_ratio_one_equals_reinforce(kind, seed):
    """The expected gradient is that of A log pi, aggregated by a plain loop."""
    mini_batch = make_sequences(ADVANTAGES, seed=seed)
    old = draw_logprobs(mini_batch, seed)
    _, gradients, _ = compute_loss(mini_batch, old, old, None, make_objective(aggregation=kind, mismatch_cap=0.0))
    lengths = [item.response_length for item in mini_batch]
    for item, gradient in zip(mini_batch, gradients, strict=True):
        divisor = {
            "token_mean": sum(lengths),
            "sequence_mean": len(mini_batch) * item.response_length,
            "constant": len(mini_batch) * 16,
        }[kind]
        torch.testing.assert_close(gradient, torch.full_like(gradient, -item.advantage / divisor), rtol=1e-6, atol=0)


@given(st.sampled_from(KINDS), st.integers(0, 999), st.sampled_from([0.0, 0.04]), st.data())
def test_loss_does_not_depend_on_how_the_mini_batch_is_split(kind, seed, beta, data):
    """Loss, gradients and sums of the parts add up to those of the whole, for any order and any split."""
    mini_batch = make_sequences(data.draw(st.lists(st.sampled_from(ADVANTAGES), min_size=1, max_size=8)), seed=seed)
    old, current, reference = (draw_logprobs(mini_batch, seed + place) for place in range(3))
    settings = make_objective(aggregation=kind, kl_weight=beta, clip=Clip(0.2, 0.28, 3.0))
    reference_or_none = reference if beta else None
    expected, gradients, whole = compute_loss(mini_batch, current, old, reference_or_none, settings)
    tokens = build_loss_tokens(mini_batch, old, reference_or_none, settings)
    order = data.draw(st.permutations(range(len(mini_batch))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(mini_batch)), max_size=3)) | {0, len(mini_batch)})
    total = 0.0
    totals = torch.zeros(7, dtype=torch.float64)
    for start, end in itertools.pairwise(cuts):
        part = order[start:end]
        values = [current[index].clone().requires_grad_() for index in part]
        loss, sums = policy_loss(
            torch.cat(values), concatenate_loss_tokens([tokens[index] for index in part]), settings
        )
        loss.backward()
        total += loss.item()
        totals += torch.stack(astuple(sums))
        for index, value in zip(part, values, strict=True):
            torch.testing.assert_close(value.grad, gradients[index], rtol=1e-9, atol=1e-12)
    assert total == pytest.approx(expected, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(totals, torch.stack(astuple(whole)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_matches_finite_differences(kind):
    mini_batch = make_sequences(ADVANTAGES, seed=4)
    old, current, reference = (draw_logprobs(mini_batch, seed) for seed in range(3))
    settings = make_objective(aggregation=kind, kl_weight=0.5)
    tokens = concatenate_loss_tokens(build_loss_tokens(mini_batch, old, reference, settings))
    ratio = (torch.cat(current) - tokens.old_logprobs).exp()
    assert min((ratio - kink).abs().min() for kink in (0.8, 1.28)) > 1e-4  # no token at a kink
    values = torch.cat(current).requires_grad_()
    assert torch.autograd.gradcheck(lambda logprobs: policy_loss(logprobs, tokens, settings)[0], values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_tokens_with_non_finite_sampler_log_prob_are_excluded(kind, bad):
    """Loss, divisor and sums are those of sequences without these tokens."""
    mini_batch = [make_sequence(response=(7, 8, 9), advantage=1.0), make_sequence(response=(7, 8), advantage=-1.0)]
    old = draw_logprobs(mini_batch, 0)
    current = draw_logprobs(mini_batch, 1)
    shorter = [make_sequence(response=(7, 9), advantage=1.0), mini_batch[1]]
    kept_tokens = [torch.tensor([0, 2]), torch.tensor([0, 1])]
    mini_batch[0].sampler_logprobs[1] = bad
    settings = make_objective(aggregation=kind)
    loss, gradients, sums = compute_loss(mini_batch, current, old, None, settings)
    shorter_current, shorter_old = (
        [values[kept] for values, kept in zip(logprobs, kept_tokens, strict=True)] for logprobs in (current, old)
    )
    expected, expected_gradients, expected_sums = compute_loss(shorter, shorter_current, shorter_old, None, settings)
    assert loss == pytest.approx(expected)
    assert gradients[0][1].item() == 0.0
    for gradient, expected_gradient, kept in zip(gradients, expected_gradients, kept_tokens, strict=True):
        torch.testing.assert_close(gradient[kept], expected_gradient)
    assert astuple(sums) == astuple(expected_sums)


@pytest.mark.parametrize("kind", KINDS)
def test_mini_batch_without_counted_tokens_has_loss_zero(kind):
    mini_batch = [make_sequence(response=(7, 8), advantage=1.0, sampler_logprob=math.nan)]
    old = draw_logprobs(mini_batch, 0)
    loss, (gradient,), sums = compute_loss(mini_batch, old, old, old, make_objective(aggregation=kind, kl_weight=0.1))
    assert loss == 0.0
    assert not gradient.any()
    assert not any(value.item() for value in astuple(sums))


@given(st.sampled_from(KINDS), st.integers(0, 999))
def test_masked_sequences_have_no_gradient(kind, seed):
    mini_batch = make_sequences([1.0, 0.0, -1.0, 0.0], seed=seed)
    old = draw_logprobs(mini_batch, seed)
    current = draw_logprobs(mini_batch, seed + 1)
    _, gradients, sums = compute_loss(mini_batch, current, old, None, make_objective(aggregation=kind))
    assert not gradients[1].any()
    assert not gradients[3].any()
    assert sums.active_tokens.item() == mini_batch[0].response_length + mini_batch[2].response_length


def test_float32_weights_of_a_large_mini_batch_sum_to_one():
    """200 sequences of up to 4,096 tokens."""
    lengths = np.random.default_rng(0).integers(1, 4097, 200)
    mini_batch = [make_sequence(response=[7] * int(length), advantage=1.0) for length in lengths]
    old = [torch.zeros(int(length)) for length in lengths]
    for kind in ("token_mean", "sequence_mean"):
        tokens = concatenate_loss_tokens(build_loss_tokens(mini_batch, old, None, make_objective(aggregation=kind)))
        assert tokens.weights.sum().item() == pytest.approx(1.0, rel=1e-5)
