"""Prompts that put a problem to a model, and the answer format for a given program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from conf.schema import DatasetConfig
from evaluator.problem import Problem
from learner.rollout import Group, Rollout

PromptStyle = Literal["training", "livecodebench"]
Thinking = Literal["template", "on", "off"]

# Values of ``dataset.name`` that mean LiveCodeBench, whose own prompt is then the default.
LIVECODEBENCH_NAMES = ("lcb_v6", "lcb_2024_08", "livecodebench")
# Copied from LiveCodeBench's lcb_runner/prompts/code_generation.py (chat models). Published results were measured with
# these words, so do not improve them.
LIVECODEBENCH_SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a "
    "correct Python program that matches the specification and passes all tests."
)
LIVECODEBENCH_WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters."
)
LIVECODEBENCH_WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the sample "
    "inputs). Enclose your code within delimiters as follows. Ensure that when the python program runs, it reads the "
    "inputs, runs the algorithm and writes output to STDOUT."
)


@dataclass(frozen=True)
class PromptedProblem:
    """A problem with its prompt.

    Attributes:
        problem: the problem.
        token_ids: [P] int32, the prompt's token ids.
        messages: the chat messages (role, content) that the prompt was made of; the user's message is the last.
    """

    problem: Problem
    token_ids: np.ndarray
    messages: tuple[tuple[str, str], ...]

    @property
    def user_message(self) -> str:
        """Content of the user's message."""
        return self.messages[-1][1]

    def make_group(self, rollouts: Sequence[Rollout]) -> Group:
        """Build the problem's group from its judged completions, which are given in sample order."""
        return Group(self.problem.question_id, self.user_message, tuple(rollouts))


def select_prompt_style(dataset: DatasetConfig) -> PromptStyle:
    """Return ``dataset.prompt`` if it is set; otherwise ``livecodebench`` for LiveCodeBench, else ``training``."""
    if dataset.prompt is not None:
        return dataset.prompt
    return "livecodebench" if dataset.name in LIVECODEBENCH_NAMES else "training"


def build_prompts(
    problems: Sequence[Problem], tokenizer: Any, style: PromptStyle, max_tokens: int, thinking: Thinking = "template"
) -> list[PromptedProblem]:
    """Build the prompt of every problem, and drop problems whose prompt has more than ``max_tokens`` tokens."""
    prompts = [
        PromptedProblem(problem, encode_prompt(problem, tokenizer, style, thinking), build_messages(problem, style))
        for problem in problems
    ]
    return [prompt for prompt in prompts if len(prompt.token_ids) <= max_tokens]


def build_messages(problem: Problem, style: PromptStyle) -> tuple[tuple[str, str], ...]:
    """Build the chat messages (role, content) that ask for a program."""
    if style == "training":
        return (("user", build_training_prompt(problem)),)
    return (("system", LIVECODEBENCH_SYSTEM), ("user", build_livecodebench_question(problem)))


def build_training_prompt(problem: Problem) -> str:
    """Build the user message of the ``training`` style: the statement, then the expected kind of answer."""
    if problem.func_name is None:
        task = "Answer with a ```python block that reads standard input."
    elif problem.starter_code.strip() in problem.question_content:  # HumanEval: the statement is the starter code
        task = "Answer with a ```python block that holds the whole function."
    else:
        task = f"Answer with a ```python block that completes:\n{problem.starter_code.rstrip()}"
    return f"{problem.question_content.strip()}\n\n{task}"


def build_livecodebench_question(problem: Problem) -> str:
    """Build LiveCodeBench's user message.

    As in LiveCodeBench, the presence of starter code alone selects between its two answer formats.
    """
    if problem.starter_code:
        task = LIVECODEBENCH_WITH_STARTER
        code = problem.starter_code
    else:
        task = LIVECODEBENCH_WITHOUT_STARTER
        code = "# YOUR CODE HERE"
    return (
        f"### Question:\n{problem.question_content}\n\n"
        f"### Format: {task}\n```python\n{code}\n```\n\n"
        "### Answer: (use the provided format with backticks)\n\n"
    )


def encode_prompt(
    problem: Problem, tokenizer: Any, style: PromptStyle = "training", thinking: Thinking = "template"
) -> np.ndarray:
    """Return the token ids [P] int32 of the problem's chat, up to the start of the assistant's answer."""
    chat = [{"role": role, "content": content} for role, content in build_messages(problem, style)]
    ids = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=False, **make_template_arguments(thinking)
    )
    return np.asarray(ids, dtype=np.int32)


def make_template_arguments(thinking: Thinking) -> dict[str, bool]:
    """Return the arguments of the chat template for a thinking mode; a template without one ignores them."""
    return {} if thinking == "template" else {"enable_thinking": thinking == "on"}


def format_answer(program: str) -> str:
    """Return the answer that contains only ``program``, in a code block."""
    return f"```python\n{program.rstrip()}\n```"
