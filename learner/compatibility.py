"""Whether saved parameters and tokens fit a model: the differences, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

SHOWN = 3
CONFIG_KEYS = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "tie_word_embeddings")


@dataclass(frozen=True)
class Layout:
    """Shape and dtype of a parameter."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{list(self.shape)} {str(self.dtype).removeprefix('torch.')}"


def config_differences(saved: Any, here: Any) -> list[str]:
    """Between two Hugging Face configurations, in what decides the parameters' shapes."""
    one = saved.get_text_config().to_dict()
    other = here.get_text_config().to_dict()
    return [
        f"{key} is {one.get(key)} there and {other.get(key)} here"
        for key in CONFIG_KEYS
        if one.get(key) != other.get(key)
    ]


def parameter_differences(saved: Mapping[str, Layout], here: Mapping[str, Layout]) -> list[str]:
    """Between the parameters of two models, by name; at most ``SHOWN`` of each kind are named."""
    changed = [
        f"{name} is {saved[name]} there and {layout} here"
        for name, layout in here.items()
        if name in saved and saved[name] != layout
    ]
    return [
        *_some("it lacks", [name for name in here if name not in saved]),
        *_some("it has besides", [name for name in saved if name not in here]),
        *changed[:SHOWN],
        *([f"and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []),
    ]


def _some(what: str, found: list[str]) -> list[str]:
    if not found:
        return []
    rest = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [f"{what} {', '.join(found[:SHOWN])}{rest}"]


def token_differences(saved: Mapping[str, int], here: Mapping[str, int]) -> list[str]:
    """Between two vocabularies, token to id."""
    wrong = sorted(token for token in saved.keys() | here.keys() if saved.get(token) != here.get(token))
    if not wrong:
        return []
    example = wrong[0]
    return [
        f"its tokenizer is another one: {len(wrong)} tokens differ, "
        f"for example {example!r} is {_id(saved, example)} there and {_id(here, example)} here"
    ]


def _id(vocabulary: Mapping[str, int], token: str) -> str:
    return str(vocabulary[token]) if token in vocabulary else "absent"


def tokens_beyond(vocabulary: Mapping[str, int], embeddings: int) -> str | None:
    """What is wrong where a token has no row among ``embeddings``, else None. Spare rows are usual."""
    beyond = {token: place for token, place in vocabulary.items() if place >= embeddings}
    if not beyond:
        return None
    example = min(beyond, key=lambda token: beyond[token])
    return (
        f"the tokenizer has {len(beyond)} tokens without an embedding (the model has {embeddings}, {example!r} is "
        f"token {beyond[example]}): it is the tokenizer of another model, or the embeddings were not resized for it"
    )
