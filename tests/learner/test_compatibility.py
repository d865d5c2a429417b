"""Differences between models, in words."""

import torch
from transformers import LlamaConfig, Qwen3Config

from learner.compatibility import (
    Layout,
    config_differences,
    parameter_differences,
    token_differences,
    tokens_beyond,
)


def layouts(*names, shape=(2, 3), dtype=torch.float32):
    return {name: Layout(shape, dtype) for name in names}


def test_equal_models_have_no_differences():
    assert config_differences(Qwen3Config(), Qwen3Config()) == []
    assert parameter_differences(layouts("a", "b"), layouts("b", "a")) == []
    assert token_differences({"a": 0}, {"a": 0}) == []


def test_configurations():
    assert config_differences(LlamaConfig(vocab_size=10), Qwen3Config(vocab_size=12))[:2] == [
        "model_type is llama there and qwen3 here",
        "vocab_size is 10 there and 12 here",
    ]


def test_parameters():
    assert parameter_differences(layouts("a", "b", "c", "d", "e"), layouts("e", "f")) == [
        "it lacks f",
        "it has besides a, b, c and 1 more",
    ]
    assert parameter_differences(layouts("a"), layouts("a", shape=(2, 4), dtype=torch.bfloat16)) == [
        "a is [2, 3] float32 there and [2, 4] bfloat16 here"
    ]
    many = parameter_differences(layouts(*"abcde"), layouts(*"abcde", shape=()))
    assert many[0] == "a is [2, 3] float32 there and [] float32 here"
    assert many[3] == "and 2 more"


def test_tokens():
    assert token_differences({"a": 0, "b": 1}, {"a": 0, "c": 1}) == [
        "its tokenizer is another one: 2 tokens differ, for example 'b' is 1 there and absent here"
    ]


def test_tokens_without_an_embedding():
    assert tokens_beyond({"a": 0, "b": 1}, 2) is None
    assert tokens_beyond({"a": 0}, 1000) is None
    wrong = tokens_beyond(dict(zip("abcd", range(4), strict=True)), 2)
    assert wrong is not None and "2 tokens without an embedding (the model has 2, 'c' is token 2)" in wrong
