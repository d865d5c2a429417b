"""Supervised training of a causal language model on (problem, program) pairs.

The loss is the mean negative log-likelihood of the answer's tokens; the prompt is only read. Without a model to start
from, a tokenizer and a small Qwen3 model are made first. Same inputs, same machine, same threads: same weights.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from conf.schema import WarmStartConfig
from evaluator.problem import Problem
from launch.models.starter_model import train_tokenizer, untrained_model
from launch.problems.prompts import answer, instruction, prompt_token_ids
from learner.packing import pack
from learner.policy import Policy, choose_attention
from learner.rollout import TrainSequence

Pair = tuple[Problem, str]
Report = Callable[[int, int, float, float], None]


def train(config: WarmStartConfig, pairs: Sequence[Pair], report: Report) -> None:
    """Train on ``pairs`` and save a Hugging Face checkpoint to ``config.output``; ``report(step, steps, loss, s)``."""
    torch.set_num_threads(config.threads)
    if config.model is None:
        texts = [f"{instruction(problem)}\n{answer(program)}" for problem, program in pairs]
        tokenizer = train_tokenizer(texts, config.vocabulary)
        model: Any = untrained_model(len(tokenizer), config.seed)
    else:
        tokenizer = AutoTokenizer.from_pretrained(config.model)
        model = AutoModelForCausalLM.from_pretrained(config.model, dtype=torch.float32)
    model.set_attn_implementation(choose_attention("auto", torch.device("cpu")))
    torch.manual_seed(config.seed)
    sequences = [supervised_sequence(problem, program, tokenizer) for problem, program in pairs]
    fit(Policy(model), sequences, config, report)
    output = Path(config.output)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished.rename(output)


def supervised_sequence(problem: Problem, program: str, tokenizer: Any) -> TrainSequence:
    """The prompt, then the answer and the end-of-sequence token; advantage and sampler log-probs play no part."""
    prompt = prompt_token_ids(problem, tokenizer)
    response = [*tokenizer(answer(program), add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return TrainSequence(
        token_ids=np.concatenate([prompt, response]).astype(np.int64),
        prompt_length=len(prompt),
        sampler_logprobs=np.zeros(len(response), dtype=np.float32),
        temperature=1.0,
        advantage=0.0,
        name=problem.question_id,
    )


def fit(policy: Policy, sequences: Sequence[TrainSequence], config: WarmStartConfig, report: Report) -> None:
    """AdamW with linear warm-up and cosine decay; every epoch is a new permutation."""
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
            batches = batches_of_similar_length(pool, config.batch_size, generator)
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
        report(step + 1, config.steps, float(loss.detach()), time.monotonic() - started)


def batches_of_similar_length(by_length: np.ndarray, size: int, generator: np.random.Generator) -> list[list[int]]:
    """One epoch's batches in random order; sequences of similar length share one, so that little is padded.

    ``by_length`` holds indices sorted by length. Random groups of four batches are sorted and cut.
    """
    rank = np.empty(by_length.max() + 1, dtype=np.int64)
    rank[by_length] = np.arange(len(by_length))
    order = generator.permutation(by_length)
    batches = []
    for start in range(0, len(order), 4 * size):
        group = sorted(order[start : start + 4 * size].tolist(), key=lambda index: rank[index])
        batches += [group[first : first + size] for first in range(0, len(group), size)]
    return [batches[place] for place in generator.permutation(len(batches))]


def progress_printer(console: Console) -> Report:
    """Prints a line every tenth of the steps."""

    def report(step: int, steps: int, loss: float, seconds: float) -> None:
        if step % max(1, steps // 10) == 0 or step == steps:
            console.print(f"warm start {step}/{steps}  loss {loss:.3f}  {seconds:.0f} s", highlight=False)

    return report
