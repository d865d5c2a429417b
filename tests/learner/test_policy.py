"""Packed forward passes give the same log-probs, entropies and gradients as separate ones, on two architectures."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers import modeling_flash_attention_utils as flash_utils

from learner.attention_choice import AttentionUnavailable, choose_attention
from learner.packing import pack
from learner.policy import Policy
from learner.segment_attention import SEGMENT_ATTENTION, segment_attention
from tests.learner.attention_formula import attend_by_formula
from tests.tiny_learner import MODEL_SHAPE, VOCABULARY_SIZE, make_sequence, make_sequences, make_tiny_qwen3

CPU = torch.device("cpu")


def make_model(kind, attention=SEGMENT_ATTENTION):
    if kind == "qwen3":
        model = make_tiny_qwen3(initializer_range=0.1, tie_word_embeddings=True)
    else:
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**MODEL_SHAPE, initializer_range=0.1, tie_word_embeddings=False))
    model.set_attn_implementation(attention)
    return model


@pytest.fixture(params=["qwen3", "llama"])
def kind(request):
    return request.param


def reference_values(model, item):
    """Compute log-probs and entropies [R] by transformers' own forward pass over one sequence."""
    ids = torch.from_numpy(item.token_ids)[None]
    logits = model(ids).logits[0, item.prompt_length - 1 : -1] / item.temperature
    normalised = logits.log_softmax(-1)
    chosen = normalised.gather(1, ids[0, item.prompt_length :, None])[:, 0]
    return chosen, -(normalised.exp() * normalised).sum(-1).detach()


def make_uneven_sequences(seed=0):
    """Return 8 sequences of different lengths and temperatures, the shortest with two tokens."""
    temperatures = np.linspace(0.5, 1.5, 7)
    drawn = make_sequences([1.0] * 7, seed=seed)
    drawn = [dataclasses.replace(item, temperature=float(t)) for item, t in zip(drawn, temperatures, strict=True)]
    return [*drawn, make_sequence(response=(9,), prompt=(4,))]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_forward_and_backward_equal_separate_passes(kind, checkpointing):
    sequences = make_uneven_sequences()
    reference = make_model(kind, "sdpa")
    model = make_model(kind)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
    tokens = sum(item.response_length for item in sequences)
    loss_weights = torch.from_numpy(np.random.default_rng(0).normal(size=tokens))
    logprobs, entropies = Policy(model)(pack(sequences, range(len(sequences)), CPU))
    separate = [reference_values(reference, item) for item in sequences]
    expected = [torch.cat(values) for values in zip(*separate, strict=True)]
    torch.testing.assert_close(logprobs, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(entropies, expected[1], rtol=1e-4, atol=1e-5)
    (logprobs * loss_weights).sum().backward()
    (expected[0] * loss_weights).sum().backward()
    gradients = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-3, atol=1e-5, msg=name.__add__)


def test_log_probs_do_not_depend_on_the_order_in_the_row(kind):
    sequences = make_uneven_sequences()
    policy = Policy(make_model(kind))
    order = [3, 0, 7, 5, 1, 2, 6, 4]
    counts = [item.response_length for item in sequences]
    with torch.no_grad():
        reordered = policy(pack(sequences, order, CPU))[0].split([counts[index] for index in order])
        expected = policy(pack(sequences, range(8), CPU))[0].split(counts)
    for index, piece in zip(order, reordered, strict=True):
        torch.testing.assert_close(piece, expected[index], rtol=1e-5, atol=1e-5)


def test_tokens_do_not_attend_to_other_sequences(kind):
    """Changing all tokens of one sequence changes no log-prob of the others, and gradients do not cross sequences."""
    model = make_model(kind)
    policy = Policy(model)
    states = []
    model.base_model.embed_tokens.register_forward_hook(lambda *args: states.append(args[2]) or args[2].retain_grad())
    sequences = make_sequences([1.0, 1.0, 1.0], seed=1)
    other = make_sequences([1.0], seed=2)[0]
    counts = [item.response_length for item in sequences]
    expected, _ = policy(pack(sequences, range(3), CPU))
    other_tokens = (sequences[1].token_ids + 17) % VOCABULARY_SIZE
    changed = [sequences[0], dataclasses.replace(sequences[1], token_ids=other_tokens), sequences[2]]
    changed_logprobs, _ = policy(pack(changed, range(3), CPU))
    for place in (0, 2):
        assert torch.equal(changed_logprobs.split(counts)[place], expected.split(counts)[place])
    assert not torch.allclose(changed_logprobs.split(counts)[1], expected.split(counts)[1])
    expected.split(counts)[1].sum().backward()
    gradient_norms = states[0].grad[0].abs().sum(-1).split([len(item.token_ids) for item in sequences])
    assert not gradient_norms[0].any()
    assert not gradient_norms[2].any()
    assert gradient_norms[1].any()
    extended = policy(pack([*sequences, other], range(4), CPU))[0]
    torch.testing.assert_close(extended[: sum(counts)], expected, rtol=1e-5, atol=1e-6)


def test_policy_rejects_attention_that_mixes_sequences(kind):
    with pytest.raises(ValueError, match="set_attn_implementation"):
        Policy(make_model(kind, "sdpa"))


def test_segment_attention_rejects_a_mask():
    heads = torch.zeros(1, 2, 3, 4)
    groups = torch.zeros(1, 1, 3, 4)
    arguments = (torch.nn.Identity(), heads, groups, groups)
    assert segment_attention(*arguments, None, lengths=torch.tensor((2, 1)), scaling=1.0)[0].shape == (1, 3, 2, 4)
    with pytest.raises(ValueError, match="no attention mask"):
        segment_attention(*arguments, torch.ones(1, 3), lengths=torch.tensor((2, 1)), scaling=1.0)


@pytest.mark.parametrize("feature", [{"softcap": 30.0}, {"s_aux": torch.zeros(2)}, {"sliding_window": 2}])
def test_segment_attention_rejects_unsupported_features(feature):
    heads = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match=f"uses {next(iter(feature))}.*flash_attention_2"):
        segment_attention(
            torch.nn.Identity(), heads, heads, heads, None, lengths=torch.tensor((3,)), scaling=1.0, **feature
        )
    wide_window: dict[str, Any] = {"lengths": torch.tensor((2, 1)), "scaling": 1.0, "sliding_window": 2}
    assert segment_attention(torch.nn.Identity(), heads, heads, heads, None, **wide_window)[0].shape == (1, 3, 2, 4)


def fake_flash_attention(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal
):
    """Fake of flash_attn_varlen_func."""
    assert causal
    assert dropout_p == 0.0
    assert torch.equal(cu_seqlens_q, cu_seqlens_k)
    assert max_seqlen_q == max_seqlen_k == int(cu_seqlens_q.diff().max())
    assert cu_seqlens_q.dtype == torch.int32
    return attend_by_formula(q, k, v, cu_seqlens_q, softmax_scale)


def test_flash_attention_gets_the_sequence_boundaries(monkeypatch, kind):
    """Run transformers' code for flash-attn's variable-length kernel with a fake kernel: the real one needs a GPU."""
    functions = (None, fake_flash_attention, None, None, None)
    process = flash_utils._lazy_define_process_function(fake_flash_attention)
    monkeypatch.setattr(flash_utils, "lazy_import_flash_attention", lambda *_, **__: (functions, (process, None)))
    micro = pack(make_uneven_sequences(), [0, 7, 3, 1], CPU)
    expected = Policy(make_model(kind))(micro)
    model = make_model(kind)
    model.config._attn_implementation = "flash_attention_2"  # set_attn_implementation would require the package
    torch.testing.assert_close(Policy(model)(micro), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("attention", ["flash_attention_2", "varlen", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_packed_forward_on_a_gpu_equals_that_on_the_cpu(cuda, kind, attention, dtype):
    try:
        name = choose_attention(attention, cuda, dtype)
    except AttentionUnavailable as error:
        pytest.skip(str(error))
    sequences = make_uneven_sequences()
    expected = Policy(make_model(kind))(pack(sequences, range(len(sequences)), CPU))
    model = make_model(kind)
    model.set_attn_implementation(name)
    values = Policy(model.to(cuda, dtype))(pack(sequences, range(len(sequences)), cuda))
    tolerance = 1e-3 if dtype == torch.float32 else 5e-2
    for actual, reference in zip(values, expected, strict=True):
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual.cpu(), reference, rtol=tolerance, atol=tolerance)
