"""Checkpoints: an ordinary Hugging Face checkpoint, beside it the sharded trainer state; complete or absent.

    step_000010/            config.json, model.safetensors, tokenizer files: from_pretrained reads it
    step_000010/trainer/    parameters, optimizer and counters as a torch distributed checkpoint, RNG state per rank,
                            the driver's files (``launch.training.driver_state``)

A checkpoint is written into a hidden folder beside its place and renamed when everything is on disk; to be removed, it
is renamed first. When one rank cannot write or read its part, all ranks fail at once, with its reason.
"""

from __future__ import annotations

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
from learner.agreement import failing_together
from learner.compatibility import Layout, config_differences, parameter_differences, token_differences
from learner.learner import Learner
from learner.policy import full_parameters


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be written or used; the message says which and why."""


TRAINER = "trainer"


def save_checkpoint(learner: Learner, path: Path, driver_files: Mapping[str, bytes]) -> None:
    """Write ``path`` whole, with the driver's files, by name, beside the learner's state.

    Collective; raises CheckpointError on every rank when the disk refuses one of them.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    what = f"{path}: cannot be written"
    with failing_together(what, CheckpointError):
        if learner.rank == 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            (unfinished / TRAINER).mkdir(parents=True)
    try:
        dcp.save(_state(learner), checkpoint_id=str(unfinished / TRAINER))
    except dcp.api.CheckpointException as error:  # a BaseException: it would pass every handler of Exception
        raise CheckpointError(f"{what}: {_reasons(error)}") from error
    weights = full_parameters(learner.policy)
    with failing_together(what, CheckpointError):
        torch.save(_random_state(learner), unfinished / TRAINER / _random_state_name(learner))
        if learner.rank == 0:
            learner.policy.model.save_pretrained(unfinished, state_dict=weights)
            AutoTokenizer.from_pretrained(learner.settings.model_path).save_pretrained(unfinished)
            for name, content in driver_files.items():
                (unfinished / TRAINER / name).write_bytes(content)
    with failing_together(what, CheckpointError):
        if learner.rank == 0:
            _sync_folder(unfinished)
            remove_checkpoint(path)
            os.rename(unfinished, path)
            _sync(path.parent)


def load_checkpoint(learner: Learner, path: Path) -> None:
    """Restore parameters, optimizer, counters and RNG, whatever the number of ranks that saved them. Collective.

    The optimizer's hyperparameters stay those of the configuration. RNG states are those of ranks, so they are restored
    only where there are as many ranks as there were; else each keeps the one it was started with.
    Raises CheckpointError on every rank when ``path`` is damaged, or not a checkpoint of this model.
    """
    state = _state(learner)
    with failing_together(f"{path}: not a checkpoint of {learner.settings.model_path}", CheckpointError):
        _refuse_another_model(learner, path, state["model"])
        random_state = _read_random_state(learner, path / TRAINER)
    try:
        dcp.load(state, checkpoint_id=str(path / TRAINER))
    except dcp.api.CheckpointException as error:
        raise CheckpointError(f"{path}: cannot be read: {_reasons(error)}") from error
    configured = [{key: value for key, value in group.items() if key != "params"} for group in _groups(learner)]
    set_state_dict(
        learner.policy,
        learner.optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
    )
    for group, own in zip(_groups(learner), configured, strict=True):
        group.update(own)
    with failing_together(f"{path}: cannot be used", CheckpointError):
        learner.guarded.load_state_dict(state["updates"])
        _set_random_state(random_state)


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in ``folder``, oldest first."""
    return sorted(path for path in folder.glob("step_*") if path.is_dir())


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint, if it is there, so that a kill meanwhile leaves no half of it under its name."""
    if path.exists():
        hidden = path.with_name(f".{path.name}.removed")
        shutil.rmtree(hidden, ignore_errors=True)
        os.rename(path, hidden)
        shutil.rmtree(hidden)


def remove_remains(folder: Path) -> None:
    """Delete what kills have left of checkpoints that were being written or removed."""
    for path in [*folder.glob(".step_*.unfinished"), *folder.glob(".step_*.removed")]:
        shutil.rmtree(path)


def _state(learner: Learner) -> dict[str, Any]:
    model, optimizer = get_state_dict(learner.policy, learner.optimizer)
    return {"model": model, "optimizer": optimizer, "updates": learner.guarded.state_dict()}


def _groups(learner: Learner) -> list[dict[str, Any]]:
    return learner.optimizer.param_groups


def _refuse_another_model(learner: Learner, path: Path, model: dict[str, Tensor]) -> None:
    """Raises CheckpointError with the differences; loading would leave some parameters out silently."""
    if not path.is_dir():
        raise CheckpointError("there is no such folder")
    if not (path / "config.json").is_file():
        raise CheckpointError("it has no config.json: not a checkpoint, or damaged")
    found = config_differences(AutoConfig.from_pretrained(path), learner.policy.model.config)
    saved = dcp.FileSystemReader(str(path / TRAINER)).read_metadata().state_dict_metadata
    layouts = {
        name.removeprefix("model."): Layout(tuple(entry.size), entry.properties.dtype)
        for name, entry in saved.items()
        if name.startswith("model.") and isinstance(entry, TensorStorageMetadata)
    }
    here = {name: Layout(tuple(value.shape), value.dtype) for name, value in model.items()}
    found = found or parameter_differences(layouts, here)
    found = found or token_differences(*(_vocabulary(folder) for folder in (path, Path(learner.settings.model_path))))
    if found:
        raise CheckpointError("; ".join(found))


def _vocabulary(folder: Path) -> dict[str, int]:
    vocabulary: dict[str, int] = AutoTokenizer.from_pretrained(folder).get_vocab()
    return vocabulary


def _random_state(learner: Learner) -> list[Tensor]:
    """Of the CPU, and of the rank's GPU where it has one."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if learner.device.type == "cuda" else [])]


def _random_state_name(learner: Learner) -> str:
    return f"rng_{learner.rank}_of_{learner.ranks}.pt"


def _read_random_state(learner: Learner, folder: Path) -> list[Tensor]:
    """Empty where the checkpoint is one of another number of ranks."""
    if [*folder.glob("rng_*.pt")] and not [*folder.glob(f"rng_*_of_{learner.ranks}.pt")]:
        return []
    states: list[Tensor] = torch.load(folder / _random_state_name(learner), weights_only=True)
    return states


def _set_random_state(states: list[Tensor]) -> None:
    if states:
        torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(states[1])


def _reasons(error: dcp.api.CheckpointException) -> str:
    """Without the tracebacks of every rank."""
    return "; ".join(f"rank {rank}: {type(one).__name__}: {one}" for rank, (one, _) in error.failures.items())


def _sync_folder(folder: Path) -> None:
    """Flush to disk before the rename: a renamed folder must not hold empty files after a power cut."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
