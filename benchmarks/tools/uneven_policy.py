"""A policy whose responses have lengths log-uniform over about 1:8, a tenth of them with an endless loop.

The starter policy, trained further on the same problems with other answers: the program stands below a countdown of
comment lines (``# 17``, ``# 16``, ..., ``# 1``) whose first number decides the length. A tenth of the answers are a
``while True: pass`` above such a countdown and nothing else, so that a slip of the policy does not make a loop a syntax
error. What it then samples at temperature 1 has these lengths and loops, from whatever engine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from conf.schema import WarmStartConfig
from evaluator.problem import Problem
from launch.models.resolve import CACHE
from launch.models.starter_policy import default_warm_start
from launch.models.supervised_training import train
from launch.problems.prompts import answer
from launch.problems.starter import warm_start_pairs

Pair = tuple[Problem, str]
SHORTEST, LONGEST = 40, 320  # tokens of a response
MOST_TOKENS = 352  # where generation stops
LOOPING = 0.1
LOOP = "while True: pass\n"
CHANGES = {"pairs": 3000, "mistakes": 0.0, "steps": 440, "decay_steps": 480, "short_steps": 0, "learning_rate": 2e-3}


def uneven_policy(starter: Path, report: Callable[[str], None]) -> Path:
    """Its directory; trains it first if this recipe has not been trained here before."""
    config = default_warm_start(**CHANGES, model=str(starter))
    target = CACHE / f"uneven-{fingerprint(config)}"
    if not (target / "config.json").is_file():
        report(f"preparing the policy of uneven lengths in {target} ({config.steps} steps, once)")
        tokenizer = AutoTokenizer.from_pretrained(starter)
        pairs = lengthened(
            warm_start_pairs(config.pairs, config.seed),
            lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
            config.seed,
        )
        train(replace(config, output=str(target)), pairs, lambda *_: None)
    return target


def fingerprint(config: WarmStartConfig) -> str:
    """Names the recipe: its settings (the starter policy's path among them) and this module."""
    return hashlib.blake2b(repr(config).encode() + Path(__file__).read_bytes(), digest_size=6).hexdigest()


def lengthened(pairs: Sequence[Pair], count_tokens: Callable[[str], int], seed: int) -> list[Pair]:
    """Each pair's answer, made as long as drawn for it; never shorter than it is."""
    generator = np.random.default_rng(seed)
    found = []
    for problem, program in pairs:
        wanted = math.exp(generator.uniform(math.log(SHORTEST), math.log(LONGEST)))
        loops = generator.random() < LOOPING
        lines = round((wanted - count_tokens(answer(LOOP if loops else program))) / count_tokens("# 17\n"))
        found.append((problem, LOOP + countdown(lines) if loops else countdown(lines) + program))
    return found


def countdown(lines: int) -> str:
    """``lines`` comment lines; none where that is not positive."""
    return "".join(f"# {number}\n" for number in range(lines, 0, -1))
