"""Supervised training of a causal language model on problems with programs.

The loss is the mean negative log-likelihood of the answer's tokens; prompt tokens have no loss. Without a model to
start from, a tokenizer and a small Qwen3 model are created first. Training is deterministic for the same inputs,
machine and number of threads.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from conf.schema import WarmStartConfig
from evaluator.problem import Problem
from launch.models.starter_model import build_untrained_model, train_tokenizer
from launch.problems.prompts import build_training_prompt, encode_prompt, format_answer
from learner.packing import pack
from learner.policy import Policy, choose_attention
from learner.rollout import TrainSequence


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisedExample:
    """A problem with an answer to learn from.

    Attributes:
        problem: the problem.
        answer: text of the answer.
        complete: an end-of-sequence token follows the answer.
    """

    problem: Problem
    answer: str
    complete: bool = True


def make_program_example(problem: Problem, program: str) -> SupervisedExample:
    """Make the example whose answer is only ``program``, in a code block."""
    return SupervisedExample(problem=problem, answer=format_answer(program))


ProgressCallback = Callable[[int, int, float, float], None]
"""Function (step, steps, loss, seconds since the start) -> None."""


def train_supervised(
    config: WarmStartConfig, examples: Sequence[SupervisedExample], report_progress: ProgressCallback
) -> None:
    """Train on ``examples`` and save a Hugging Face checkpoint to ``config.output``.

    Args:
        config: settings of the training.
        examples: problems with answers.
        report_progress: called after every step.
    """
    torch.set_num_threads(config.threads)
    if config.model is None:
        texts = [f"{build_training_prompt(example.problem)}\n{example.answer}" for example in examples]
        tokenizer = train_tokenizer(texts, config.vocabulary)
        model: Any = build_untrained_model(len(tokenizer), config.seed)
    else:
        tokenizer = AutoTokenizer.from_pretrained(config.model)
        model = AutoModelForCausalLM.from_pretrained(config.model, dtype=torch.float32)
    model.set_attn_implementation(choose_attention("auto", torch.device("cpu")))
    torch.manual_seed(config.seed)
    sequences = [build_supervised_sequence(example, tokenizer) for example in examples]
    fit(Policy(model), sequences, config, report_progress)
    output = Path(config.output)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished.rename(output)


def build_supervised_sequence(example: SupervisedExample, tokenizer: Any) -> TrainSequence:
    """Tokenize prompt and answer, and the end-of-sequence token of a complete answer.

    Advantage and sampler log-probs are placeholders, because supervised training does not use them.
    """
    prompt = encode_prompt(example.problem, tokenizer)
    response = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    if example.complete:
        response = [*response, tokenizer.eos_token_id]
    return TrainSequence(
        token_ids=np.concatenate([prompt, response]).astype(np.int64),
        prompt_length=len(prompt),
        sampler_logprobs=np.zeros(len(response), dtype=np.float32),
        temperature=1.0,
        advantage=0.0,
        name=example.problem.question_id,
    )


def fit(
    policy: Policy, sequences: Sequence[TrainSequence], config: WarmStartConfig, report_progress: ProgressCallback
) -> None:
    """Train with AdamW, linear warm-up and cosine decay. Every epoch is a new permutation of the sequences.

    Args:
        policy: model to train, in place.
        sequences: tokenized examples.
        config: settings of the training.
        report_progress: called after every step.
    """
    optimizer = torch.optim.AdamW(policy.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    warmup = max(1, config.steps // 20)
    by_length = np.argsort([len(sequence.token_ids) for sequence in sequences], kind="stable")
    short = by_length[: max(config.batch_size, len(sequences) // 4)]
    generator = np.random.default_rng(config.seed)
    batches: list[list[int]] = []
    started = time.monotonic()
    for step in range(config.steps):
        if not batches or step == config.short_steps:
            pool = short if step < config.short_steps else by_length
            batches = batch_by_length(pool, config.batch_size, generator)
        batch = batches.pop()
        decay = 0.5 * (1 + math.cos(math.pi * step / config.decay_steps))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min(1.0, (step + 1) / warmup) * decay
        logprobs, _ = policy(pack(sequences, batch, torch.device("cpu")))
        loss = -logprobs.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        report_progress(step + 1, config.steps, float(loss.detach()), time.monotonic() - started)


def batch_by_length(by_length: np.ndarray, size: int, generator: np.random.Generator) -> list[list[int]]:
    """Return the batches of one epoch, each of sequences of similar length, in random order.

    Random groups of four batches are sorted by length and split.

    Args:
        by_length: indices of the sequences, sorted by length, int64 [n].
        size: sequences per batch.
        generator: source of random numbers.

    Returns:
        The sequence indices of each batch.
    """
    rank = np.empty(by_length.max() + 1, dtype=np.int64)
    rank[by_length] = np.arange(len(by_length))
    order = generator.permutation(by_length)
    batches = []
    for start in range(0, len(order), 4 * size):
        group = sorted(order[start : start + 4 * size].tolist(), key=lambda index: rank[index])
        batches += [group[first : first + size] for first in range(0, len(group), size)]
    return [batches[index] for index in generator.permutation(len(batches))]


def make_progress_printer(console: Console) -> ProgressCallback:
    """Return a callback that prints a line after every tenth of the steps."""

    def print_progress(step: int, steps: int, loss: float, seconds: float) -> None:
        if step % max(1, steps // 10) == 0 or step == steps:
            console.print(f"warm start {step}/{steps}  loss {loss:.3f}  {seconds:.0f} s", highlight=False)

    return print_progress
