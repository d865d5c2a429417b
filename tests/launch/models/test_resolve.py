"""What is refused as a model before anything starts."""

import pytest
from transformers import AutoTokenizer

from launch.models.model_path import ModelError
from launch.models.resolve import resolve_model
from tests.tiny_learner import tiny_model


def test_a_model_with_its_tokenizer(tmp_path):
    path = tiny_model(tmp_path / "model")
    assert resolve_model(str(path), lambda: tmp_path) == path


def test_a_tokenizer_with_more_tokens_than_embeddings(tmp_path):
    path = tiny_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(path)
    with pytest.raises(ModelError, match=r"model\.path=.*model: the tokenizer has 1 tokens without an embedding"):
        resolve_model(str(path), lambda: tmp_path)


def test_a_folder_without_a_configuration(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json in it"):
        resolve_model(str(tmp_path), lambda: tmp_path)
