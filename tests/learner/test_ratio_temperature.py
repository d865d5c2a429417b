"""Ratios in batches of several temperatures: each one uses the temperature at which its tokens were sampled."""

import pytest
import torch
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from learner.learner import Learner
from learner.policy import gather_parameters
from learner.rollout import TrainBatch
from tests.tiny_learner import make_learner_settings, make_sequences, save_tiny_model

pytestmark = pytest.mark.usefixtures("process_group")
CLIP_LOW = 0.2
CLIP_HIGH = 0.28
CAP = 2.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def logprobs_at(model, item, temperature):
    ids = torch.from_numpy(item.token_ids)[None]
    logits = model(ids).logits[0, item.prompt_length - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(1, ids[0, item.prompt_length :, None])[:, 0]


def expected_gradients(before, now, items, get_temperature):
    """Compute the objective's gradients by plain autograd, one sequence at a time, and the number of clipped tokens.

    Args:
        before: model of the old policy.
        now: model of the current policy.
        items: training sequences.
        get_temperature: maps a sequence to the temperature of its ratios.
    """
    now.zero_grad()
    tokens = sum(item.response_length for item in items)
    clipped = 0
    for item in items:
        temperature = get_temperature(item)
        old = logprobs_at(before, item, temperature).detach()
        ratio = (logprobs_at(now, item, temperature) - old).exp()
        inside = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
        weights = (old - torch.from_numpy(item.sampler_logprobs)).exp().clamp(max=CAP)
        (-(weights * torch.minimum(ratio * item.advantage, inside * item.advantage)).sum() / tokens).backward()
        clipped += int((ratio != inside).sum())
    return {f"model.{name}": parameter.grad.clone() for name, parameter in now.named_parameters()}, clipped


@pytest.mark.heavy
def test_gradients_of_a_mini_batch_with_several_temperatures(checkpoint):
    """The mini-batch has sequences sampled at 0.6, 0.8 and 1.2; the policy has changed since the old log-probs."""
    items = [
        item
        for seed, temperature in enumerate((0.6, 0.8, 1.2))
        for item in make_sequences((1.0, -1.0, 0.5), seed=seed, temperature=temperature)
    ]
    learner = Learner(make_learner_settings(checkpoint, learning_rate=1e-2))
    old = learner.compute_logprobs(items).logprobs
    learner.update(TrainBatch((tuple(items),)))
    learner.accumulate_gradients(items, old, None)
    gradients = {
        name: parameter.grad.full_tensor() if isinstance(parameter.grad, DTensor) else parameter.grad
        for name, parameter in learner.policy.named_parameters()
    }
    before = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    now = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    keys = now.load_state_dict(gather_parameters(learner.policy), strict=False)
    assert (keys.missing_keys, keys.unexpected_keys) == (["lm_head.weight"], [])  # tied to the embedding
    expected, clipped = expected_gradients(before, now, items, lambda item: item.temperature)
    assert 0 < clipped < sum(item.response_length for item in items)
    for name, value in expected.items():
        torch.testing.assert_close(gradients[name], value, rtol=1e-3, atol=1e-6, msg=name.__add__)
    # Gradients at one temperature for all sequences differ clearly, so the comparison above would detect the error.
    wrong, _ = expected_gradients(before, now, items, lambda item: 1.2)
    name = "model.model.embed_tokens.weight"
    assert (wrong[name] - expected[name]).norm() > 0.1 * expected[name].norm()


def test_mismatch_is_computed_at_the_sampling_temperature(checkpoint):
    """A sampler that equals the learner has no mismatch, whatever the temperatures of the batch."""
    learner = Learner(make_learner_settings(checkpoint))
    items = [*make_sequences((1.0, -1.0), temperature=0.6), *make_sequences((1.0, -1.0), seed=1, temperature=1.2)]
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    for item in items:
        item.sampler_logprobs[:] = logprobs_at(model, item, item.temperature).detach().numpy()
    metrics = learner.update(TrainBatch((tuple(items),))).metrics
    assert metrics.mismatch_kl == pytest.approx(0.0, abs=1e-5)
    assert metrics.mismatch_ratio_max == pytest.approx(1.0, abs=1e-4)
