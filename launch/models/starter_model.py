"""Tokenizer and untrained model of the starter policy: byte-level BPE and a small Qwen3."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention

PAD = "<|endoftext|>"
START = "<|im_start|>"
END = "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer on ``texts``.

    Numbers are split into groups of at most two digits, so that most constants in programs are one token.

    Args:
        texts: training corpus.
        vocabulary: largest size of the vocabulary, with special tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r"\n *| ?[A-Za-z_]+|\d{1,2}| ?[^\sA-Za-z_\d]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, additional_special_tokens=[START]
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_untrained_model(vocabulary: int, seed: int, tied: bool = True) -> Qwen3ForCausalLM:
    """Build an untrained Qwen3 model with 3 layers and width 256.

    It has 2.9M parameters with a vocabulary of 2,048 tokens and tied embeddings.

    Args:
        vocabulary: size of the vocabulary.
        seed: seed of the initial weights.
        tied: share the weights of the input and output embeddings.
    """
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=768,
        max_position_embeddings=1024,
        tie_word_embeddings=tied,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=2,
    )
    model = Qwen3ForCausalLM(config)
    for layer in model.model.layers:
        initialise_for_copying(layer.self_attn)
    return model


@torch.no_grad()
def initialise_for_copying(attention: Qwen3Attention) -> None:
    """Initialise value and output projections so that every head copies what it attends to.

    Programs repeat the constants of their problem statements. With the usual random initialisation a small model needs
    many times the data to learn this copying; mimetic initialisation (arXiv 2305.09828: W_V W_O close to the identity)
    avoids the plateau. Each key-value head projects onto its own subspace, and its query heads map back from it.
    """
    values = attention.v_proj.weight
    outputs = attention.o_proj.weight
    size = attention.head_dim
    basis = torch.linalg.qr(torch.randn(values.shape[1], values.shape[0]))[0].T
    values.copy_(basis)
    query_heads = outputs.shape[1] // size
    queries_per_value = query_heads // (values.shape[0] // size)
    for query_head in range(query_heads):
        value_head = query_head // queries_per_value
        mapped = basis[value_head * size : (value_head + 1) * size].T / queries_per_value
        outputs[:, query_head * size : (query_head + 1) * size] = mapped
