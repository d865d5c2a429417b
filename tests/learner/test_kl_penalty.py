"""The k3 estimate of the KL divergence from the reference policy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.kl_penalty import k3


def test_k3_matches_hand_computed_values():
    """Probabilities 1/2 and 1/4 under the policy, 1/4 and 1/2 under the reference give 1/2 + ln 2 - 1, 2 - ln 2 - 1."""
    policy = torch.tensor([0.5, 0.25]).log()
    reference = torch.tensor([0.25, 0.5]).log()
    assert k3(policy, reference).tolist() == pytest.approx([math.log(2) - 0.5, 1 - math.log(2)])


def test_expectation_of_k3_under_the_policy_is_the_kl_divergence():
    generator = torch.Generator().manual_seed(0)
    policy = torch.randn(50, generator=generator, dtype=torch.float64).log_softmax(0)
    reference = torch.randn(50, generator=generator, dtype=torch.float64).log_softmax(0)
    expected = float((policy.exp() * (policy - reference)).sum())
    assert float((policy.exp() * k3(policy, reference)).sum()) == pytest.approx(expected, rel=1e-12)


@given(st.floats(-30.0, 0.0), st.floats(-30.0, 0.0))
def test_k3_is_non_negative_and_zero_for_equal_log_probs(policy, reference):
    estimate = float(k3(torch.tensor(policy).double(), torch.tensor(reference).double()))
    assert estimate >= 0.0
    assert (estimate == 0.0) == (abs(policy - reference) < 1e-7) or estimate < 1e-12
    assert float(k3(torch.tensor(policy), torch.tensor(policy))) == 0.0


def test_gradient_matches_finite_differences():
    generator = torch.Generator().manual_seed(0)
    policy = torch.randn(32, generator=generator, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(32, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda values: k3(values, reference).sum(), policy)


def test_reference_log_probs_get_no_gradient():
    reference = torch.tensor([-1.0], requires_grad=True)
    k3(torch.tensor([-2.0], requires_grad=True), reference).sum().backward()
    assert reference.grad is None


@pytest.mark.parametrize("log_ratio", [-1000.0, 1000.0])
def test_extreme_log_ratios_give_finite_values_and_gradients(log_ratio):
    policy = torch.tensor([log_ratio], requires_grad=True)
    value = k3(policy, torch.tensor([0.0]))
    value.sum().backward()
    assert value.isfinite().all()
    assert policy.grad.isfinite().all()
