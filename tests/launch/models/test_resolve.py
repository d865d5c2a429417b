"""Checks of ``model.path`` before a run starts."""

import pytest
from transformers import AutoTokenizer

from launch.models.model_path import ModelError
from launch.models.resolve import resolve_model
from tests.tiny_learner import save_tiny_model


def test_local_model_with_its_tokenizer_is_accepted(tmp_path):
    path = save_tiny_model(tmp_path / "model")
    assert resolve_model(str(path), lambda: tmp_path) == path


def test_tokenizer_with_more_tokens_than_embeddings_is_rejected(tmp_path):
    path = save_tiny_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(path)
    with pytest.raises(ModelError, match=r"model\.path=.*model: the tokenizer has 1 tokens without an embedding"):
        resolve_model(str(path), lambda: tmp_path)


def test_folder_without_configuration_is_rejected(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json in it"):
        resolve_model(str(tmp_path), lambda: tmp_path)
