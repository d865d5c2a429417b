"""The whole objective over the tokens of a mini-batch: against figures by hand, REINFORCE and finite differences."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.clipped_surrogate import Clip
from learner.objective import join, loss_tokens, policy_loss
from tests.tiny_learner import objective, sequence, sequences_of

KINDS = ("token_mean", "sequence_mean", "constant")
ADVANTAGES = (1.0, -0.5, 0.0, 2.0, -1.5, 0.25, 0.0)


def logprobs_of(mini, seed):
    generator = torch.Generator().manual_seed(seed)
    return [-4.0 + 0.5 * torch.randn(item.response_length, generator=generator).double() for item in mini]


def loss_of(mini, current, old, reference, settings):
    """The loss, its gradient by the current log-probs of every sequence, and the sums, in float64."""
    current = [values.clone().requires_grad_() for values in current]
    loss, sums = policy_loss(torch.cat(current), join(loss_tokens(mini, old, reference, settings)), settings)
    loss.backward()
    return loss.item(), [values.grad for values in current], sums


def test_by_hand():
    """Two sequences of 1 and 3 tokens at ratios 1 and 1.5; their advantages 2 and -1; beta0 = 0.1, pi_ref = pi / 2.

    Surrogates: 2 and three times -1.5. k3: 1/2 + ln 2 - 1 each. Token mean of 4, sequence mean of 2, L = 16.
    """
    mini = [sequence(response=(7,), advantage=2.0), sequence(response=(7, 8, 9), advantage=-1.0)]
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
        settings = objective(aggregation=kind, kl_weight=0.1, mismatch_cap=0.0)
        loss, _, sums = loss_of(mini, current, old, reference, settings)
        assert sums.pg_loss.item() == pytest.approx(pg_loss, rel=1e-6)
        assert sums.kl_loss.item() == pytest.approx(kl_loss, rel=1e-6)
        assert loss == pytest.approx(pg_loss + 0.1 * kl_loss, rel=1e-6)
        assert (sums.acting.item(), sums.clipped_high.item(), sums.clipped_low.item()) == (4, 0, 0)
        assert sums.ppo_kl.item() == pytest.approx(-3 * math.log(1.5))


@pytest.mark.parametrize("kind", KINDS)
def test_the_mismatch_weight_multiplies_the_surrogate_and_not_the_penalty(kind):
    mini = [sequence(response=(7, 8), advantage=1.0, sampler=-3.0)]
    old = [torch.full((2,), -2.5).double()]
    reference = [torch.full((2,), -3.5).double()]
    _, _, plain = loss_of(mini, old, old, reference, objective(aggregation=kind, mismatch_cap=0.0))
    _, _, weighted = loss_of(mini, old, old, reference, objective(aggregation=kind, mismatch_cap=2.0))
    assert weighted.pg_loss.item() == pytest.approx(math.exp(0.5) * plain.pg_loss.item(), rel=1e-6)
    assert weighted.kl_loss.item() == pytest.approx(plain.kl_loss.item())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_at_ratio_one_the_gradient_is_reinforce(kind, seed):
    """Of the same aggregate of A log pi, by plain loops."""
    mini = sequences_of(ADVANTAGES, seed=seed)
    old = logprobs_of(mini, seed)
    _, gradients, _ = loss_of(mini, old, old, None, objective(aggregation=kind, mismatch_cap=0.0))
    lengths = [item.response_length for item in mini]
    for item, gradient in zip(mini, gradients, strict=True):
        divisor = {
            "token_mean": sum(lengths),
            "sequence_mean": len(mini) * item.response_length,
            "constant": len(mini) * 16,
        }[kind]
        torch.testing.assert_close(gradient, torch.full_like(gradient, -item.advantage / divisor), rtol=1e-6, atol=0)


@given(st.sampled_from(KINDS), st.integers(0, 999), st.sampled_from([0.0, 0.04]), st.data())
def test_the_parts_add_up_to_the_whole(kind, seed, beta, data):
    """However the sequences are ordered and dealt to ranks and micro-batches: loss, gradients, sums."""
    mini = sequences_of(data.draw(st.lists(st.sampled_from(ADVANTAGES), min_size=1, max_size=8)), seed=seed)
    old, current, reference = (logprobs_of(mini, seed + place) for place in range(3))
    settings = objective(aggregation=kind, kl_weight=beta, clip=Clip(0.2, 0.28, 3.0))
    against = reference if beta else None
    expected, gradients, whole = loss_of(mini, current, old, against, settings)
    tokens = loss_tokens(mini, old, against, settings)
    order = data.draw(st.permutations(range(len(mini))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(mini)), max_size=3)) | {0, len(mini)})
    total = 0.0
    totals = torch.zeros(7, dtype=torch.float64)
    for start, end in itertools.pairwise(cuts):
        part = order[start:end]
        values = [current[index].clone().requires_grad_() for index in part]
        loss, sums = policy_loss(torch.cat(values), join([tokens[index] for index in part]), settings)
        loss.backward()
        total += loss.item()
        totals += torch.stack(list(vars(sums).values()))
        for index, value in zip(part, values, strict=True):
            torch.testing.assert_close(value.grad, gradients[index], rtol=1e-9, atol=1e-12)
    assert total == pytest.approx(expected, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(totals, torch.stack(list(vars(whole).values())), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_finite_differences(kind):
    mini = sequences_of(ADVANTAGES, seed=4)
    old, current, reference = (logprobs_of(mini, seed) for seed in range(3))
    settings = objective(aggregation=kind, kl_weight=0.5)
    tokens = join(loss_tokens(mini, old, reference, settings))
    ratio = (torch.cat(current) - tokens.old_logprobs).exp()
    assert min((ratio - kink).abs().min() for kink in (0.8, 1.28)) > 1e-4  # no token at a kink
    values = torch.cat(current).requires_grad_()
    assert torch.autograd.gradcheck(lambda logprobs: policy_loss(logprobs, tokens, settings)[0], values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_tokens_without_a_finite_sampler_log_prob_are_left_out(kind, bad):
    """As if the sequences were shorter by them: in the loss, in its divisor, and in the sums."""
    mini = [sequence(response=(7, 8, 9), advantage=1.0), sequence(response=(7, 8), advantage=-1.0)]
    old = logprobs_of(mini, 0)
    current = logprobs_of(mini, 1)
    shorter = [sequence(response=(7, 9), advantage=1.0), mini[1]]
    rest = [torch.tensor([0, 2]), torch.tensor([0, 1])]
    mini[0].sampler_logprobs[1] = bad
    settings = objective(aggregation=kind)
    loss, gradients, sums = loss_of(mini, current, old, None, settings)
    cut = [[values[kept] for values, kept in zip(both, rest, strict=True)] for both in (current, old)]
    expected, others, others_sums = loss_of(shorter, cut[0], cut[1], None, settings)
    assert loss == pytest.approx(expected)
    assert gradients[0][1].item() == 0.0
    for gradient, other, kept in zip(gradients, others, rest, strict=True):
        torch.testing.assert_close(gradient[kept], other)
    assert vars(sums) == vars(others_sums)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_counts_is_a_loss_of_zero(kind):
    mini = [sequence(response=(7, 8), advantage=1.0, sampler=math.nan)]
    old = logprobs_of(mini, 0)
    loss, (gradient,), sums = loss_of(mini, old, old, old, objective(aggregation=kind, kl_weight=0.1))
    assert loss == 0.0
    assert not gradient.any()
    assert not any(value.item() for value in vars(sums).values())


@given(st.sampled_from(KINDS), st.integers(0, 999))
def test_masked_sequences_have_no_gradient(kind, seed):
    mini = sequences_of([1.0, 0.0, -1.0, 0.0], seed=seed)
    old = logprobs_of(mini, seed)
    current = logprobs_of(mini, seed + 1)
    _, gradients, sums = loss_of(mini, current, old, None, objective(aggregation=kind))
    assert not gradients[1].any()
    assert not gradients[3].any()
    assert sums.acting.item() == mini[0].response_length + mini[2].response_length


def test_the_parts_keep_the_precision_of_the_weights():
    """float32 weights of a large mini-batch still add up to one: 200 sequences of up to 4,096 tokens."""
    lengths = np.random.default_rng(0).integers(1, 4097, 200)
    mini = [sequence(response=[7] * int(length), advantage=1.0) for length in lengths]
    old = [torch.zeros(int(length)) for length in lengths]
    for kind in ("token_mean", "sequence_mean"):
        tokens = join(loss_tokens(mini, old, None, objective(aggregation=kind)))
        assert tokens.weights.sum().item() == pytest.approx(1.0, rel=1e-5)
