"""Supervised warm start of a causal language model on (problem, solution) rows.

    python -m launch.warm_start                                        # builds the starter policy, once
    python -m launch.warm_start model=DIR problems=P.jsonl solutions=S.jsonl output=DIR

The loss is the mean negative log-likelihood of the answer's tokens; the prompt is only read. ``model=null`` trains a
tokenizer and a small Qwen3 model from nothing. Same inputs, same machine, same threads: same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from conf.schema import ConfigError, WarmStartConfig
from conf.validation import parse_warm_start
from evaluator.problem import Problem, load_problems
from launch.models.resolve import CACHE
from launch.models.starter_model import train_tokenizer, untrained_model
from launch.problems.prompts import answer, instruction, prompt_token_ids
from launch.problems.starter import warm_start_pairs
from learner.packing import pack
from learner.policy import Policy, choose_attention
from learner.rollout import TrainSequence

Pair = tuple[Problem, str]
Report = Callable[[int, int, float, float], None]
DEFAULTS = Path(__file__).parents[1] / "conf" / "warm_start.yaml"


def default_warm_start(**changes: Any) -> WarmStartConfig:
    """The defaults of this command (``conf/warm_start.yaml``) with ``changes``; without Hydra, inside any command."""
    values: Any = OmegaConf.to_container(OmegaConf.load(DEFAULTS))
    hydra_keys = ("defaults", "hydra")
    return parse_warm_start({key: value for key, value in values.items() if key not in hydra_keys} | changes)


def starter_policy(config: WarmStartConfig, console: Console) -> Path:
    """The starter policy's directory; trains it first if this recipe has not been trained here before."""
    pairs = with_mistakes(warm_start_pairs(config.pairs, config.seed), config.mistakes, config.seed)
    target = CACHE / f"starter-{_fingerprint(config, pairs)}"
    if not (target / "config.json").is_file():
        console.print(f"building the starter policy ({config.steps} steps, once) in {target}")
        train(replace(config, output=str(target)), pairs, _reporter(console))
    return target


def with_mistakes(pairs: Sequence[Pair], share: float, seed: int) -> list[Pair]:
    """Give ``share`` of the starter problems the program of another variant of their family.

    The policy then knows what programs look like and how to follow a statement, but often does not: what a pretrained
    model is like before reinforcement learning, and what the reward can teach in a few minutes.
    """
    generator = np.random.default_rng(seed)
    families: dict[str, list[str]] = defaultdict(list)
    for problem, program in pairs:
        families[problem.extra["family"]].append(program)
    return [
        (problem, str(generator.choice(families[problem.extra["family"]])) if generator.random() < share else program)
        for problem, program in pairs
    ]


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


def read_pairs(config: WarmStartConfig) -> list[Pair]:
    """(problem, program) rows from files in the formats of docs/formats.md.

    Raises ConfigError when a file is missing or nothing matches.
    """
    for key, path in (("problems", config.problems), ("solutions", config.solutions)):
        if path is None or not Path(path).is_file():
            raise ConfigError(f"{key}={path}: no such file; problems and solutions are given together")
    problems = {problem.question_id: problem for problem in load_problems(str(config.problems)).problems}
    rows = [json.loads(line) for line in Path(str(config.solutions)).read_text().splitlines() if line.strip()]
    pairs = [
        (problems[row["question_id"]], code)
        for row in rows
        if row["question_id"] in problems
        for code in row["code_list"]
    ]
    if not pairs:
        raise ConfigError(f"solutions={config.solutions}: no row answers a problem of {config.problems}")
    return pairs


def _fingerprint(config: WarmStartConfig, pairs: Sequence[Pair]) -> str:
    """Names the recipe: its settings, its data and the code that applies it."""
    recipe = hashlib.blake2b(digest_size=6)
    recipe.update(repr(sorted(asdict(config).items())).encode())
    for problem, program in pairs:
        recipe.update(f"{instruction(problem)}\0{answer(program)}\0".encode())
    for source in ("warm_start.py", "models/starter_model.py", "problems/prompts.py"):
        recipe.update((Path(__file__).parent / source).read_bytes())
    return recipe.hexdigest()


def _reporter(console: Console) -> Report:
    def report(step: int, steps: int, loss: float, seconds: float) -> None:
        if step % max(1, steps // 10) == 0 or step == steps:
            console.print(f"warm start {step}/{steps}  loss {loss:.3f}  {seconds:.0f} s", highlight=False)

    return report


@hydra.main(config_path="../conf", config_name="warm_start", version_base="1.3")
def main(values: DictConfig) -> None:
    console = Console()
    try:
        config = parse_warm_start(OmegaConf.to_container(values, resolve=True))
        if config.model is None and config.problems is None:
            console.print(f"starter policy: {starter_policy(config, console)}")
        else:
            train(config, read_pairs(config), _reporter(console))
            console.print(f"saved to {config.output}")
    except ConfigError as error:
        console.print(f"error: {error}", style="red", highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
