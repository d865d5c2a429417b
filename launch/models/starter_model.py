"""The starter policy's shape: a tokenizer trained on its own corpus and a small untrained Qwen3 model."""

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
    """Byte-level BPE over ``texts``. A number is cut into pairs of digits, so that most constants are one token."""
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


def untrained_model(vocabulary: int, seed: int, tied: bool = True) -> Qwen3ForCausalLM:
    """Build a Qwen3 of 3 layers and width 256: 2.9M parameters at a vocabulary of 2,048 if its embeddings are tied."""
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
        start_by_copying(layer.self_attn)
    return model


@torch.no_grad()
def start_by_copying(attention: Qwen3Attention) -> None:
    """Initialise value and output projections so that every head hands on what it attends to.

    Programs repeat the constants of their statements. From an ordinary random start a small model learns that only
    after many times the data; mimetic initialisation (arXiv 2305.09828: W_V W_O close to the identity) skips the
    plateau. Each key-value head projects onto a subspace of its own, its query heads map back from it.
    """
    values = attention.v_proj.weight
    outputs = attention.o_proj.weight
    size = attention.head_dim
    basis = torch.linalg.qr(torch.randn(values.shape[1], values.shape[0]))[0].T
    values.copy_(basis)
    queries = outputs.shape[1] // size
    per_value = queries // (values.shape[0] // size)
    for head in range(queries):
        place = head // per_value
        mapped = basis[place * size : (place + 1) * size].T / per_value
        outputs[:, head * size : (head + 1) * size] = mapped
