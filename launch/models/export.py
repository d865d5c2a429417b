"""Export of a run's checkpoint: a model directory that transformers and vLLM load, with a model card.

A checkpoint is already one in float32, with the trainer's state beside it. The export has no trainer state, the weights
in one dtype, sampling defaults that are those of the run's evaluation, and a model card.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from conf.schema import Config, ExportConfig
from conf.validation import parse_config
from launch.models.export_path import check_output
from launch.models.model_card import model_card
from launch.records.best_checkpoint import read_best
from launch.records.run_path import RunDirectoryError, check_training_run
from learner.checkpoint import CheckpointError, complete_checkpoints, remove_checkpoint
from learner.compatibility import tokens_beyond
from learner.learner import DTYPES


def export(settings: ExportConfig) -> Path:
    """Write the model whole or not at all; returns the checkpoint it was made of.

    Raises ConfigError when ``output`` is taken, RunDirectoryError when the run has no such checkpoint, CheckpointError
    when it is damaged, OSError when the disk refuses.
    """
    run = Path(settings.run)
    output = Path(settings.output)
    check_output(output, settings.overwrite)
    checkpoint = chosen_checkpoint(run, settings.step)
    config = parse_config(yaml.safe_load((run / "config.yaml").read_text()))
    dtype = settings.dtype or config.model.dtype
    model, tokenizer = read_model(checkpoint, dtype)
    model.generation_config = sampling_as_evaluated(model.generation_config, tokenizer, config)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    environment = json.loads((run / "environment.json").read_text())
    step = int(checkpoint.name.removeprefix("step_"))
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    except SafetensorError as error:
        raise OSError(f"{output}: cannot be written: {error}") from error
    for weights in unfinished.glob("*.safetensors"):  # written for the owner alone: a server may be another user
        shutil.copymode(unfinished / "config.json", weights)
    (unfinished / "README.md").write_text(model_card(config, step, dtype, rows, environment))
    remove_checkpoint(output)
    unfinished.rename(output)
    return checkpoint


def chosen_checkpoint(run: Path, step: int | str) -> Path:
    """The checkpoint of ``run`` that ``step`` (a number, ``best`` or ``last``) means. Raises RunDirectoryError."""
    folder = run / "checkpoints"
    found = {int(path.name.removeprefix("step_")): path for path in complete_checkpoints(folder)}
    check_training_run(run)
    if not found:
        raise RunDirectoryError(f"run={run}: it has no complete checkpoint yet")
    if step == "last":
        return found[max(found)]
    if step == "best":
        best = read_best(folder / "best.json")
        if best is None:
            raise RunDirectoryError(f"run={run}: no checkpoint of it was evaluated, so none is the best: try step=last")
        step = best.step
    if step not in found:
        there = ", ".join(str(each) for each in sorted(found))
        raise RunDirectoryError(f"run={run}: no checkpoint of step {step}; there are those of {there}")
    return found[int(step)]


def read_model(checkpoint: Path, dtype: str) -> tuple[Any, Any]:
    """Model and tokenizer, neither with anything missing. Raises CheckpointError."""
    if not (checkpoint / "config.json").is_file():
        raise CheckpointError(f"{checkpoint}: it has no config.json: not a checkpoint, or damaged")
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=DTYPES[dtype], output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint}: cannot be read: {error}") from error
    missing = sorted(loaded["missing_keys"])
    if missing:  # transformers would fill them with random numbers
        raise CheckpointError(f"{checkpoint}: damaged: it lacks {len(missing)} parameters, for example {missing[0]}")
    if wrong := tokens_beyond(tokenizer.get_vocab(), model.get_input_embeddings().num_embeddings):
        raise CheckpointError(f"{checkpoint}: {wrong}")
    if tokenizer.chat_template is None:
        raise CheckpointError(f"{checkpoint}: its tokenizer has no chat template, but problems are put as chats")
    return model, tokenizer


def sampling_as_evaluated(of_base: GenerationConfig, tokenizer: Any, config: Config) -> GenerationConfig:
    """Defaults for transformers and vLLM: nucleus sampling as in the evaluation, ends as in the base model.

    Anything else that the base model's defaults have (top-k, penalties) had no part in training or evaluation.
    """
    return GenerationConfig(
        do_sample=True,
        temperature=config.evaluation.temperature,
        top_p=config.evaluation.top_p,
        top_k=0,
        bos_token_id=of_base.bos_token_id,
        eos_token_id=tokenizer.eos_token_id if of_base.eos_token_id is None else of_base.eos_token_id,
        pad_token_id=tokenizer.pad_token_id if of_base.pad_token_id is None else of_base.pad_token_id,
    )
