"""Child process of ``benchmarks.learner``: one update by TRL's GRPOTrainer, in TRL's environment.

Runs TRL's own ``training_step`` (loss and backward pass), then clipping and AdamW as TRL's training loop calls them.
Only generation is replaced: ``_prepare_inputs`` returns the batch of the request, padded as TRL pads (prompts on the
left, completions on the right, to the longest of the batch).

The request is ``{"model", "batch", "threads", "checkpointing", "old_logprob"}``, the result that of
``update_measurement.measure_update``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad

from benchmarks.tools.processes import serve
from benchmarks.tools.update_measurement import measure_update


class PreparedTrainer(GRPOTrainer):
    """GRPOTrainer that trains on prepared inputs instead of generating them."""

    def _prepare_inputs(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return inputs


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """Build a trainer and create its optimizer state by one update on the shortest sequence."""
    torch.set_num_threads(request["threads"])
    batch = request["batch"]
    old_logprob = request["old_logprob"]
    shortest = min(batch, key=lambda row: len(row["prompt"]) + len(row["response"]))
    warm_up_inputs = build_inputs([shortest], old_logprob)
    inputs = build_inputs(batch, old_logprob)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(request, folder)
        model = trainer.model
        optimizer = trainer.create_optimizer()
        gradient_bytes = sum(4 * parameter.numel() for parameter in model.parameters())

        def update(selected_inputs: dict[str, torch.Tensor]) -> tuple[float, float]:
            loss = trainer.training_step(model, dict(selected_inputs), None)
            norm = trainer.accelerator.clip_grad_norm_(model.parameters(), trainer.args.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            return float(loss), float(norm)

        update(warm_up_inputs)
        yield lambda: measure_update(lambda: update(inputs), gradient_bytes)


def build_trainer(request: dict[str, Any], folder: str) -> GRPOTrainer:
    """Build a trainer with this project's hyperparameters, DAPO's loss (token mean) and one micro-batch per batch."""
    count = len(request["batch"])
    settings = GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        model_init_kwargs={"dtype": "float32"},
        per_device_train_batch_size=count,
        num_generations=count,
        gradient_accumulation_steps=1,
        gradient_checkpointing=request["checkpointing"],
        loss_type="dapo",
        epsilon=0.2,
        epsilon_high=0.28,
        beta=0.0,
        temperature=1.0,
        learning_rate=1e-6,
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        report_to="none",
    )
    trainer = PreparedTrainer(
        model=request["model"],
        args=settings,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=Dataset.from_list([{"prompt": "none"}] * count),
    )
    # TRL's training loop does the following before its first step; here no such loop runs.
    trainer.current_gradient_accumulation_steps = 1
    if settings.gradient_checkpointing:
        trainer.model.gradient_checkpointing_enable(settings.gradient_checkpointing_kwargs)
    trainer.model.train()
    return trainer


def build_inputs(batch: list[dict[str, Any]], old_logprob: float) -> dict[str, torch.Tensor]:
    """Build the inputs that ``GRPOTrainer._generate_and_score_completions`` would return for ``batch``."""
    prompts = [torch.tensor(row["prompt"]) for row in batch]
    responses = [torch.tensor(row["response"]) for row in batch]
    completion_mask = pad([torch.ones_like(response) for response in responses], padding_value=0, padding_side="right")
    return {
        "prompt_ids": pad(prompts, padding_value=0, padding_side="left"),
        "prompt_mask": pad([torch.ones_like(prompt) for prompt in prompts], padding_value=0, padding_side="left"),
        "completion_ids": pad(responses, padding_value=0, padding_side="right"),
        "completion_mask": completion_mask,
        "advantages": torch.tensor([row["advantage"] for row in batch]),
        "old_per_token_logps": torch.full(completion_mask.shape, old_logprob),
        "num_items_in_batch": completion_mask.sum(),
    }


if __name__ == "__main__":
    serve(open_session)
