"""Export a checkpoint of a run as a model directory that transformers and vLLM load.

A checkpoint is itself such a directory, with float32 weights and the trainer's state. The export has weights in the
requested dtype, no trainer state, the sampling settings of the run's evaluation as defaults, and a model card.
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
from launch.models.model_card import format_model_card
from launch.records.best_checkpoint import read_best_checkpoint
from launch.records.run_path import RunDirectoryError, check_training_run
from learner.checkpoint import CheckpointError, list_complete_checkpoints, remove_checkpoint
from learner.checkpoint_differences import describe_missing_embeddings
from learner.learner import DTYPES


def export_checkpoint(settings: ExportConfig) -> Path:
    """Write the exported model, atomically; return the path of the checkpoint that was exported.

    Raises:
        ConfigError: ``output`` exists and must not be replaced.
        RunDirectoryError: the run has no such checkpoint.
        CheckpointError: the checkpoint is damaged.
        OSError: the model cannot be written.
    """
    run = Path(settings.run)
    output = Path(settings.output)
    check_output(output, settings.overwrite)
    checkpoint = find_checkpoint(run, settings.step)
    config = parse_config(yaml.safe_load((run / "config.yaml").read_text()))
    dtype = settings.dtype or config.model.dtype
    model, tokenizer = load_model_and_tokenizer(checkpoint, dtype)
    model.generation_config = build_generation_config(model.generation_config, tokenizer, config)
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
    # safetensors makes its files readable only by the owner, but the server may run as another user.
    for weights in unfinished.glob("*.safetensors"):
        shutil.copymode(unfinished / "config.json", weights)
    best = read_best_checkpoint(run / "checkpoints" / "best.json")
    is_best = best is not None and best.step == step
    card = format_model_card(config, step, dtype, rows, environment, is_best=is_best)
    (unfinished / "README.md").write_text(card)
    remove_checkpoint(output)
    unfinished.rename(output)
    return checkpoint


def find_checkpoint(run: Path, step: int | str) -> Path:
    """Return the path of a run's checkpoint.

    Args:
        run: run directory.
        step: number of a step, "best" or "last".

    Raises:
        RunDirectoryError: the run has no such checkpoint.
    """
    folder = run / "checkpoints"
    checkpoints = {int(path.name.removeprefix("step_")): path for path in list_complete_checkpoints(folder)}
    check_training_run(run)
    if not checkpoints:
        raise RunDirectoryError(f"run={run}: it has no complete checkpoint yet")
    if step == "last":
        return checkpoints[max(checkpoints)]
    if step == "best":
        best = read_best_checkpoint(folder / "best.json")
        if best is None:
            raise RunDirectoryError(f"run={run}: none of its checkpoints was evaluated, so none is best: try step=last")
        step = best.step
    if step not in checkpoints:
        steps = ", ".join(map(str, sorted(checkpoints)))
        raise RunDirectoryError(f"run={run}: no checkpoint of step {step}; available steps: {steps}")
    return checkpoints[int(step)]


def load_model_and_tokenizer(checkpoint: Path, dtype: str) -> tuple[Any, Any]:
    """Load a checkpoint and check that nothing is missing.

    Args:
        checkpoint: directory of the checkpoint.
        dtype: "float32" or "bfloat16", to which the weights are converted.

    Returns:
        Model and tokenizer.

    Raises:
        CheckpointError: the checkpoint is damaged or incomplete.
    """
    if not (checkpoint / "config.json").is_file():
        raise CheckpointError(f"{checkpoint}: it has no config.json: not a checkpoint, or damaged")
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=DTYPES[dtype], output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint}: cannot be read: {error}") from error
    missing = sorted(loaded["missing_keys"])
    if missing:  # transformers would fill them with random numbers
        raise CheckpointError(f"{checkpoint}: damaged: {len(missing)} parameters are missing, for example {missing[0]}")
    if problem := describe_missing_embeddings(tokenizer.get_vocab(), model.get_input_embeddings().num_embeddings):
        raise CheckpointError(f"{checkpoint}: {problem}")
    if tokenizer.chat_template is None:
        raise CheckpointError(f"{checkpoint}: its tokenizer has no chat template, but prompts are formatted as chats")
    return model, tokenizer


def build_generation_config(base: GenerationConfig, tokenizer: Any, config: Config) -> GenerationConfig:
    """Build the default sampling settings for transformers and vLLM: nucleus sampling as in the run's evaluation.

    Special tokens are those of the base model. Its other defaults (top-k, penalties) are dropped, because training and
    evaluation did not use them.

    Args:
        base: generation configuration of the checkpoint, which is that of the base model.
        tokenizer: tokenizer of the checkpoint.
        config: configuration of the run.
    """
    return GenerationConfig(
        do_sample=True,
        temperature=config.evaluation.temperature,
        top_p=config.evaluation.top_p,
        top_k=0,
        bos_token_id=base.bos_token_id,
        eos_token_id=tokenizer.eos_token_id if base.eos_token_id is None else base.eos_token_id,
        pad_token_id=tokenizer.pad_token_id if base.pad_token_id is None else base.pad_token_id,
    )
