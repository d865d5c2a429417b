"""Checkpoints: a Hugging Face checkpoint with the sharded trainer state beside it; either complete or absent.

    step_000010/            config.json, model.safetensors, tokenizer files: readable by from_pretrained. Weights have
                            the dtype of the computation
    step_000010/trainer/    float32 parameters, optimizer and counters as a torch distributed checkpoint, RNG state per
                            rank, the driver's files (``launch.training.driver_state``)

A checkpoint is written into a hidden folder beside its final path and renamed when everything is on disk. Before it is
removed, it is renamed to a hidden name. When one rank cannot write or read its part, all ranks raise its error at once.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from transformers import AutoConfig, AutoTokenizer

from evaluator.errors import UserError
from learner.checkpoint_differences import ParameterLayout, compare_configs, compare_parameters, compare_vocabularies
from learner.collective_errors import raise_on_all_ranks
from learner.learner import DTYPES, Learner
from learner.policy import gather_parameters


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be written, read or used; the message names the checkpoint and the reason."""


TRAINER_FOLDER = "trainer"


def save_checkpoint(learner: Learner, path: Path, driver_files: Mapping[str, bytes]) -> None:
    """Write a complete checkpoint to ``path``, replacing an existing one. Collective.

    Args:
        learner: this rank's learner.
        path: folder of the checkpoint, named ``step_NNNNNN``.
        driver_files: content of the driver's files by name, written beside the learner's state.

    Raises:
        CheckpointError: on every rank, when any rank cannot write its part.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    message = f"{path}: cannot be written"
    with raise_on_all_ranks(message, CheckpointError):
        if learner.rank == 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            (unfinished / TRAINER_FOLDER).mkdir(parents=True)
    try:
        dcp.save(_training_state(learner), checkpoint_id=str(unfinished / TRAINER_FOLDER))
    except dcp.api.CheckpointException as error:  # a BaseException: handlers of Exception would not catch it
        raise CheckpointError(f"{message}: {_format_failures(error)}") from error
    weights = gather_parameters(learner.policy, DTYPES[learner.settings.compute_dtype], keep=learner.rank == 0)
    with raise_on_all_ranks(message, CheckpointError):
        torch.save(_random_states(learner), unfinished / TRAINER_FOLDER / _random_state_name(learner))
        if learner.rank == 0:
            _save_model(learner, unfinished, weights)
            AutoTokenizer.from_pretrained(learner.settings.model_path).save_pretrained(unfinished)
            for name, content in driver_files.items():
                (unfinished / TRAINER_FOLDER / name).write_bytes(content)
    with raise_on_all_ranks(message, CheckpointError):
        if learner.rank == 0:
            _sync_folder(unfinished)
            remove_checkpoint(path)
            os.rename(unfinished, path)
            _sync(path.parent)


def load_checkpoint(learner: Learner, path: Path) -> None:
    """Restore parameters, optimizer, counters and RNG, even if the number of ranks has changed. Collective.

    The optimizer's hyperparameters remain those of the configuration. RNG states belong to ranks: they are restored
    only if the number of ranks is the same as when saving; otherwise each rank keeps its current RNG state.

    Raises:
        CheckpointError: on every rank, when ``path`` is damaged or is not a checkpoint of this model.
    """
    state = _training_state(learner)
    with raise_on_all_ranks(f"{path}: not a checkpoint of {learner.settings.model_path}", CheckpointError):
        _check_same_model(learner, path, state["model"])
        random_states = _read_random_states(learner, path / TRAINER_FOLDER)
    try:
        dcp.load(state, checkpoint_id=str(path / TRAINER_FOLDER))
    except dcp.api.CheckpointException as error:
        raise CheckpointError(f"{path}: cannot be read: {_format_failures(error)}") from error
    configured = [
        {key: value for key, value in group.items() if key != "params"} for group in learner.optimizer.param_groups
    ]
    set_state_dict(
        learner.policy,
        learner.optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
    )
    for group, hyperparameters in zip(learner.optimizer.param_groups, configured, strict=True):
        group.update(hyperparameters)
    with raise_on_all_ranks(f"{path}: cannot be used", CheckpointError):
        learner.guarded_optimizer.load_state_dict(state["updates"])
        _set_random_states(random_states)


def list_complete_checkpoints(folder: Path) -> list[Path]:
    """List the complete checkpoints in ``folder``, oldest first."""
    return sorted(path for path in folder.glob("step_*") if path.is_dir())


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint if it exists; if killed meanwhile, no partial checkpoint remains under its name."""
    if path.exists():
        hidden = path.with_name(f".{path.name}.removed")
        shutil.rmtree(hidden, ignore_errors=True)
        os.rename(path, hidden)
        shutil.rmtree(hidden)


def remove_partial_checkpoints(folder: Path) -> None:
    """Delete the hidden folders that interrupted calls of ``save_checkpoint`` and ``remove_checkpoint`` left behind."""
    for path in [*folder.glob(".step_*.unfinished"), *folder.glob(".step_*.removed")]:
        shutil.rmtree(path)


def _training_state(learner: Learner) -> dict[str, Any]:
    model, optimizer = get_state_dict(learner.policy, learner.optimizer)
    return {"model": model, "optimizer": optimizer, "updates": learner.guarded_optimizer.state_dict()}


def _save_model(learner: Learner, folder: Path, weights: dict[str, Tensor]) -> None:
    """Write ``weights``, which are in the dtype of the computation, as a Hugging Face checkpoint of that dtype."""
    model = learner.policy.model
    model.save_pretrained(folder, state_dict=weights)
    # transformers writes the dtype of the model's own parameters, and would convert the weights to it in every loading.
    config = copy.deepcopy(model.config)
    config.dtype = DTYPES[learner.settings.compute_dtype]
    config.save_pretrained(folder)


def _check_same_model(learner: Learner, path: Path, model: dict[str, Tensor]) -> None:
    """Raise CheckpointError if the checkpoint belongs to another model.

    Loading alone would not notice: it silently skips parameters that only one side has.
    """
    if not path.is_dir():
        raise CheckpointError("no such folder")
    if not (path / "config.json").is_file():
        raise CheckpointError("config.json is missing: not a checkpoint, or damaged")
    differences = compare_configs(AutoConfig.from_pretrained(path), learner.policy.model.config)
    metadata = dcp.FileSystemReader(str(path / TRAINER_FOLDER)).read_metadata().state_dict_metadata
    saved_layouts = {
        name.removeprefix("model."): ParameterLayout(tuple(entry.size), entry.properties.dtype)
        for name, entry in metadata.items()
        if name.startswith("model.") and isinstance(entry, TensorStorageMetadata)
    }
    model_layouts = {name: ParameterLayout(tuple(value.shape), value.dtype) for name, value in model.items()}
    differences = differences or compare_parameters(saved_layouts, model_layouts)
    differences = differences or compare_vocabularies(
        _read_vocabulary(path), _read_vocabulary(Path(learner.settings.model_path))
    )
    if differences:
        raise CheckpointError("; ".join(differences))


def _read_vocabulary(folder: Path) -> dict[str, int]:
    vocabulary: dict[str, int] = AutoTokenizer.from_pretrained(folder).get_vocab()
    return vocabulary


def _random_states(learner: Learner) -> list[Tensor]:
    """RNG state of the CPU, followed by that of the rank's GPU if it has one."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if learner.device.type == "cuda" else [])]


def _random_state_name(learner: Learner) -> str:
    return f"rng_{learner.rank}_of_{learner.ranks}.pt"


def _read_random_states(learner: Learner, folder: Path) -> list[Tensor]:
    """Read this rank's RNG states; empty if the checkpoint was saved by another number of ranks."""
    if [*folder.glob("rng_*.pt")] and not [*folder.glob(f"rng_*_of_{learner.ranks}.pt")]:
        return []
    states: list[Tensor] = torch.load(folder / _random_state_name(learner), weights_only=True)
    return states


def _set_random_states(states: list[Tensor]) -> None:
    if states:
        torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[1])


def _format_failures(error: dcp.api.CheckpointException) -> str:
    """Format the error of each failed rank without its traceback."""
    return "; ".join(f"rank {rank}: {type(reason).__name__}: {reason}" for rank, (reason, _) in error.failures.items())


def _sync_folder(folder: Path) -> None:
    """Flush all files to disk before the rename, so that a renamed folder has no empty files after a power failure."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
