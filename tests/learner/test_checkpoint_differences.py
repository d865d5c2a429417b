"""Messages about the differences between a checkpoint and a model."""

import torch
from transformers import LlamaConfig, Qwen3Config

from learner.checkpoint_differences import (
    ParameterLayout,
    compare_configs,
    compare_parameters,
    compare_vocabularies,
    describe_missing_embeddings,
)


def make_layouts(*names, shape=(2, 3), dtype=torch.float32):
    return {name: ParameterLayout(shape, dtype) for name in names}


def test_equal_models_have_no_differences():
    assert compare_configs(Qwen3Config(), Qwen3Config()) == []
    assert compare_parameters(make_layouts("a", "b"), make_layouts("b", "a")) == []
    assert compare_vocabularies({"a": 0}, {"a": 0}) == []


def test_compare_configs_lists_changed_keys():
    assert compare_configs(LlamaConfig(vocab_size=10), Qwen3Config(vocab_size=12))[:2] == [
        "model_type is llama in the checkpoint but qwen3 in the model",
        "vocab_size is 10 in the checkpoint but 12 in the model",
    ]


def test_compare_parameters_lists_missing_unexpected_and_changed_parameters():
    assert compare_parameters(make_layouts("a", "b", "c", "d", "e"), make_layouts("e", "f")) == [
        "missing parameters: f",
        "unexpected parameters: a, b, c and 1 more",
    ]
    assert compare_parameters(make_layouts("a"), make_layouts("a", shape=(2, 4), dtype=torch.bfloat16)) == [
        "a is [2, 3] float32 in the checkpoint but [2, 4] bfloat16 in the model"
    ]
    differences = compare_parameters(make_layouts(*"abcde"), make_layouts(*"abcde", shape=()))
    assert differences[0] == "a is [2, 3] float32 in the checkpoint but [] float32 in the model"
    assert differences[3] == "and 2 more"


def test_compare_vocabularies_names_an_example():
    assert compare_vocabularies({"a": 0, "b": 1}, {"a": 0, "c": 1}) == [
        "the tokenizers differ in 2 tokens: for example, 'b' is 1 in the checkpoint but absent in the model"
    ]


def test_tokens_without_an_embedding_are_described():
    assert describe_missing_embeddings({"a": 0, "b": 1}, 2) is None
    assert describe_missing_embeddings({"a": 0}, 1000) is None
    message = describe_missing_embeddings(dict(zip("abcd", range(4), strict=True)), 2)
    assert message is not None and "2 tokens without an embedding (the model has 2, 'c' is token 2)" in message
