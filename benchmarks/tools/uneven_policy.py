"""A policy whose response lengths are log-uniform over about 1:8; a tenth of its responses loop forever.

It is the starter policy, trained further on the same problems with other answers: a countdown of comment lines
(``# 17``, ``# 16``, ..., ``# 1``), whose first number decides the length, and the program below it. A tenth of the
answers are just a ``while True: pass`` above such a countdown, so that an error of the policy cannot turn a loop into a
syntax error. Samples at temperature 1 have these lengths and loops with any engine.
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
from launch.models.starter_policy import load_warm_start_defaults
from launch.models.supervised_training import make_program_example, train_supervised
from launch.problems.prompts import format_answer
from launch.problems.starter import draw_warm_start_problems

TrainingExample = tuple[Problem, str]
"""Problem and the program that answers it."""
MIN_TOKENS = 40  # of a response
MAX_TOKENS = 320  # of a response
MAX_RESPONSE_TOKENS = 352  # length limit of generation
LOOP_SHARE = 0.1
LOOP = "while True: pass\n"
WARM_START_CHANGES = {
    "pairs": 3000,
    "mistakes": 0.0,
    "steps": 440,
    "decay_steps": 480,
    "short_steps": 0,
    "learning_rate": 2e-3,
}


def build_uneven_policy(starter: Path, report: Callable[[str], None]) -> Path:
    """Return the policy's directory, after training the policy unless it is cached.

    Args:
        starter: Checkpoint of the starter policy.
        report: Prints a line of progress.
    """
    config = load_warm_start_defaults(**WARM_START_CHANGES, model=str(starter))
    target = CACHE / f"uneven-{compute_fingerprint(config)}"
    if not (target / "config.json").is_file():
        report(f"training the policy of uneven response lengths once ({config.steps} steps), into {target}")
        tokenizer = AutoTokenizer.from_pretrained(starter)
        examples = lengthen_answers(
            [(starter.problem, starter.reference) for starter in draw_warm_start_problems(config.pairs, config.seed)],
            lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
            config.seed,
        )
        train_supervised(
            replace(config, output=str(target)),
            [make_program_example(problem, program) for problem, program in examples],
            lambda *_: None,
        )
    return target


def compute_fingerprint(config: WarmStartConfig) -> str:
    """Hash the policy's settings (with the starter policy's path) and the source of this module."""
    return hashlib.blake2b(repr(config).encode() + Path(__file__).read_bytes(), digest_size=6).hexdigest()


def lengthen_answers(
    examples: Sequence[TrainingExample], count_tokens: Callable[[str], int], seed: int
) -> list[TrainingExample]:
    """Lengthen each answer by comment lines to a random length, or replace it by a loop of that length.

    Args:
        examples: Problems with their programs.
        count_tokens: Counts the tokens of a text.
        seed: Seed of the lengths and the loops.

    Returns:
        The examples in the same order. Answers that are longer than their drawn length stay as they are.
    """
    generator = np.random.default_rng(seed)
    lengthened = []
    for problem, program in examples:
        target_tokens = math.exp(generator.uniform(math.log(MIN_TOKENS), math.log(MAX_TOKENS)))
        loops = generator.random() < LOOP_SHARE
        answer_tokens = count_tokens(format_answer(LOOP if loops else program))
        lines = round((target_tokens - answer_tokens) / count_tokens("# 17\n"))
        lengthened.append((problem, LOOP + write_countdown(lines) if loops else write_countdown(lines) + program))
    return lengthened


def write_countdown(lines: int) -> str:
    """Return ``lines`` comment lines that count down to 1, or "" if ``lines`` is not positive."""
    return "".join(f"# {number}\n" for number in range(lines, 0, -1))
