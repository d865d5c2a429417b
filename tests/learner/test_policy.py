"""A packed row gives what each sequence gives by itself: log-probs, entropies, gradients; on two architectures."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers import modeling_flash_attention_utils as flash_utils

from learner.packing import pack
from learner.policy import Policy, choose_attention
from learner.segment_attention import SEGMENT_ATTENTION, segment_attention
from tests.tiny_learner import SHAPE, VOCABULARY, sequence, sequences_of, tiny_qwen3

CPU = torch.device("cpu")


def build(kind, attention=SEGMENT_ATTENTION):
    if kind == "qwen3":
        model = tiny_qwen3(initializer_range=0.1, tie_word_embeddings=True)
    else:
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, initializer_range=0.1, tie_word_embeddings=False))
    model.set_attn_implementation(attention)
    return model


@pytest.fixture(params=["qwen3", "llama"])
def kind(request):
    return request.param


def separately(model, item):
    """Log-probs and entropies [R] by transformers' own forward pass over one sequence."""
    ids = torch.from_numpy(item.token_ids)[None]
    logits = model(ids).logits[0, item.prompt_length - 1 : -1] / item.temperature
    normalised = logits.log_softmax(-1)
    chosen = normalised.gather(1, ids[0, item.prompt_length :, None])[:, 0]
    return chosen, -(normalised.exp() * normalised).sum(-1).detach()


def uneven(seed=0):
    """Sequences of different lengths and temperatures, the shortest of two tokens."""
    temperatures = np.linspace(0.5, 1.5, 7)
    drawn = sequences_of([1.0] * 7, seed=seed)
    drawn = [dataclasses.replace(one, temperature=float(t)) for one, t in zip(drawn, temperatures, strict=True)]
    return [*drawn, sequence(response=(9,), prompt=(4,))]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_equals_separate_forwards(kind, checkpointing):
    sequences = uneven()
    reference = build(kind, "sdpa")
    model = build(kind)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
    slopes = torch.from_numpy(np.random.default_rng(0).normal(size=sum(one.response_length for one in sequences)))
    logprobs, entropies = Policy(model)(pack(sequences, range(len(sequences)), CPU))
    expected = [torch.cat(parts) for parts in zip(*(separately(reference, one) for one in sequences), strict=True)]
    torch.testing.assert_close(logprobs, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(entropies, expected[1], rtol=1e-4, atol=1e-5)
    (logprobs * slopes).sum().backward()
    (expected[0] * slopes).sum().backward()
    gradients = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-3, atol=1e-5, msg=name.__add__)


def test_the_order_in_the_row_does_not_matter(kind):
    sequences = uneven()
    policy = Policy(build(kind))
    order = [3, 0, 7, 5, 1, 2, 6, 4]
    counts = [one.response_length for one in sequences]
    with torch.no_grad():
        found = policy(pack(sequences, order, CPU))[0].split([counts[index] for index in order])
        expected = policy(pack(sequences, range(8), CPU))[0].split(counts)
    for index, piece in zip(order, found, strict=True):
        torch.testing.assert_close(piece, expected[index], rtol=1e-5, atol=1e-5)


def test_no_token_sees_another_sequence(kind):
    """Changing every token of one sequence moves no log-prob of the others, and their gradient does not reach it."""
    model = build(kind)
    policy = Policy(model)
    states = []
    model.base_model.embed_tokens.register_forward_hook(lambda *args: states.append(args[2]) or args[2].retain_grad())
    ours = sequences_of([1.0, 1.0, 1.0], seed=1)
    other = sequences_of([1.0], seed=2)[0]
    counts = [one.response_length for one in ours]
    expected, _ = policy(pack(ours, range(3), CPU))
    changed = [ours[0], dataclasses.replace(ours[1], token_ids=(ours[1].token_ids + 17) % VOCABULARY), ours[2]]
    found, _ = policy(pack(changed, range(3), CPU))
    for place in (0, 2):
        assert torch.equal(found.split(counts)[place], expected.split(counts)[place])
    assert not torch.allclose(found.split(counts)[1], expected.split(counts)[1])
    expected.split(counts)[1].sum().backward()
    reached = states[0].grad[0].abs().sum(-1).split([len(one.token_ids) for one in ours])
    assert not reached[0].any()
    assert not reached[2].any()
    assert reached[1].any()
    lengthened = policy(pack([*ours, other], range(4), CPU))[0]
    torch.testing.assert_close(lengthened[: sum(counts)], expected, rtol=1e-5, atol=1e-6)


def test_an_attention_that_mixes_sequences_is_refused(kind):
    with pytest.raises(ValueError, match="set_attn_implementation"):
        Policy(build(kind, "sdpa"))


def test_a_mask_is_refused():
    heads = torch.zeros(1, 2, 3, 4)
    groups = torch.zeros(1, 1, 3, 4)
    arguments = (torch.nn.Identity(), heads, groups, groups)
    assert segment_attention(*arguments, None, lengths=(2, 1), scaling=1.0)[0].shape == (1, 3, 2, 4)
    with pytest.raises(ValueError, match="without a mask"):
        segment_attention(*arguments, torch.ones(1, 3), lengths=(2, 1), scaling=1.0)


@pytest.mark.parametrize(
    ("device", "installed", "attention", "expected"),
    [
        ("cpu", True, "auto", SEGMENT_ATTENTION),
        ("cuda", False, "auto", SEGMENT_ATTENTION),
        ("cuda", True, "auto", "flash_attention_2"),
        ("cuda", True, "sdpa", SEGMENT_ATTENTION),
        ("cuda", False, "flash_attention_2", "flash_attention_2"),
    ],
)
def test_choice_of_attention(monkeypatch, device, installed, attention, expected):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    assert choose_attention(attention, torch.device(device)) == expected


@pytest.mark.parametrize("feature", [{"softcap": 30.0}, {"s_aux": torch.zeros(2)}, {"sliding_window": 2}])
def test_what_the_attention_would_leave_out_is_refused(feature):
    heads = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match=f"uses {next(iter(feature))}.*flash_attention_2"):
        segment_attention(torch.nn.Identity(), heads, heads, heads, None, lengths=(3,), scaling=1.0, **feature)
    wide: dict[str, Any] = {"lengths": (2, 1), "scaling": 1.0, "sliding_window": 2}
    assert segment_attention(torch.nn.Identity(), heads, heads, heads, None, **wide)[0].shape == (1, 3, 2, 4)


def stand_in_for_flash(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal
):
    """flash_attn_varlen_func as its signature says, by the plain formula: q [T, heads, D], k and v [T, groups, D]."""
    assert causal
    assert dropout_p == 0.0
    assert torch.equal(cu_seqlens_q, cu_seqlens_k)
    assert max_seqlen_q == max_seqlen_k == int(cu_seqlens_q.diff().max())
    assert cu_seqlens_q.dtype == torch.int32
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    outputs = []
    for start, end in itertools.pairwise(cu_seqlens_q.tolist()):
        scores = torch.einsum("ihd,jhd->hij", q[start:end], k[start:end]) * softmax_scale
        hidden = torch.ones(end - start, end - start, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        outputs.append(torch.einsum("hij,jhd->ihd", weights, v[start:end]))
    return torch.cat(outputs)


def test_flash_attention_is_told_where_sequences_end(monkeypatch, kind):
    """transformers' path to flash-attn's variable-length kernel, with a stand-in for the kernel: it needs a GPU."""
    functions = (None, stand_in_for_flash, None, None, None)
    process = flash_utils._lazy_define_process_function(stand_in_for_flash)
    monkeypatch.setattr(flash_utils, "lazy_import_flash_attention", lambda *_, **__: (functions, (process, None)))
    micro = pack(uneven(), [0, 7, 3, 1], CPU)
    expected = Policy(build(kind))(micro)
    model = build(kind)
    model.config._attn_implementation = "flash_attention_2"  # set_attn_implementation would look for the package
    torch.testing.assert_close(Policy(model)(micro), expected, rtol=1e-4, atol=1e-5)
