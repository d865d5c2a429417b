"""Compatibility of saved parameters and tokens with a model: lists of differences as text for error messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

MAX_LISTED = 3
"""Largest number of parameters that a message names."""
CONFIG_KEYS = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "tie_word_embeddings")
"""Keys of a Hugging Face configuration that determine the parameters' shapes."""


@dataclass(frozen=True)
class ParameterLayout:
    """Shape and dtype of a parameter."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{list(self.shape)} {str(self.dtype).removeprefix('torch.')}"


def compare_configs(saved: Any, model: Any) -> list[str]:
    """List the differences in ``CONFIG_KEYS`` between a checkpoint's Hugging Face configuration and the model's."""
    saved_values = saved.get_text_config().to_dict()
    model_values = model.get_text_config().to_dict()
    return [
        f"{key} is {saved_values.get(key)} in the checkpoint but {model_values.get(key)} in the model"
        for key in CONFIG_KEYS
        if saved_values.get(key) != model_values.get(key)
    ]


def compare_parameters(saved: Mapping[str, ParameterLayout], model: Mapping[str, ParameterLayout]) -> list[str]:
    """List the differences between a checkpoint's parameters and the model's, both as layouts by parameter name.

    At most ``MAX_LISTED`` parameters of each kind (missing, unexpected, of another layout) are named.
    """
    changed = [
        f"{name} is {saved[name]} in the checkpoint but {layout} in the model"
        for name, layout in model.items()
        if name in saved and saved[name] != layout
    ]
    return [
        *_list_names("missing parameters:", [name for name in model if name not in saved]),
        *_list_names("unexpected parameters:", [name for name in saved if name not in model]),
        *changed[:MAX_LISTED],
        *([f"and {len(changed) - MAX_LISTED} more"] if len(changed) > MAX_LISTED else []),
    ]


def _list_names(label: str, names: list[str]) -> list[str]:
    """Format ``names`` as one message after ``label``; no message if there are none."""
    if not names:
        return []
    rest = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return [f"{label} {', '.join(names[:MAX_LISTED])}{rest}"]


def compare_vocabularies(saved: Mapping[str, int], model: Mapping[str, int]) -> list[str]:
    """Describe the difference between a checkpoint's vocabulary (token to id) and the model's; empty if equal."""
    changed = sorted(token for token in saved.keys() | model.keys() if saved.get(token) != model.get(token))
    if not changed:
        return []
    example = changed[0]
    return [
        f"the tokenizers differ in {len(changed)} tokens: for example, {example!r} is {_format_id(saved, example)} in "
        f"the checkpoint but {_format_id(model, example)} in the model"
    ]


def _format_id(vocabulary: Mapping[str, int], token: str) -> str:
    return str(vocabulary[token]) if token in vocabulary else "absent"


def describe_missing_embeddings(vocabulary: Mapping[str, int], embeddings: int) -> str | None:
    """Return an error message if a token of ``vocabulary`` (token to id) has no embedding, else None.

    ``embeddings`` is the number of rows of the embedding matrix. More rows than tokens are usual, and no error.
    """
    beyond = {token: token_id for token, token_id in vocabulary.items() if token_id >= embeddings}
    if not beyond:
        return None
    example = min(beyond, key=lambda token: beyond[token])
    return (
        f"the tokenizer has {len(beyond)} tokens without an embedding (the model has {embeddings}, {example!r} is "
        f"token {beyond[example]}): it is the tokenizer of another model, or the embeddings were not resized for it"
    )
