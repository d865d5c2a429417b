"""From a problem to the prompt a model sees, and from a program to the answer it should give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from conf.schema import DatasetConfig
from evaluator.problem import Problem
from launch.problems.datasets import LIVECODEBENCH
from learner.rollout import Group, Rollout

PromptStyle = Literal["training", "livecodebench"]

# The words of LiveCodeBench's lcb_runner/prompts/code_generation.py for chat models: published figures were measured
# with them, so nothing here is to be improved.
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
    """A problem with its prompt: token ids [P] int32, and the messages (role, content) they were made of."""

    problem: Problem
    token_ids: np.ndarray
    messages: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """What the user says."""
        return self.messages[-1][1]

    def group(self, rollouts: Sequence[Rollout]) -> Group:
        """Its completions, judged, in sample order."""
        return Group(self.problem.question_id, self.text, tuple(rollouts))


def prompt_style(dataset: DatasetConfig) -> PromptStyle:
    """What ``dataset.prompt`` says; where it says nothing, LiveCodeBench is asked in its own words."""
    if dataset.prompt is not None:
        return dataset.prompt
    return "livecodebench" if dataset.name in LIVECODEBENCH else "training"


def prompted(problems: Sequence[Problem], tokenizer: Any, style: PromptStyle, longest: int) -> list[PromptedProblem]:
    """Problems with their prompts, less those whose prompt has more than ``longest`` tokens."""
    found = [
        PromptedProblem(problem, prompt_token_ids(problem, tokenizer, style), messages(problem, style))
        for problem in problems
    ]
    return [one for one in found if len(one.token_ids) <= longest]


def messages(problem: Problem, style: PromptStyle) -> tuple[tuple[str, str], ...]:
    """The chat, as (role, content), that asks for a program: in this project's words, or in the benchmark's own."""
    if style == "training":
        return (("user", instruction(problem)),)
    return (("system", LIVECODEBENCH_SYSTEM), ("user", livecodebench_question(problem)))


def instruction(problem: Problem) -> str:
    """The training prompt: the statement, and what kind of answer is expected."""
    if problem.func_name is None:
        task = "Answer with a ```python block that reads standard input."
    elif problem.starter_code.strip() in problem.question_content:  # as HumanEval's, whose statement it is
        task = "Answer with a ```python block that holds the whole function."
    else:
        task = f"Answer with a ```python block that completes:\n{problem.starter_code.rstrip()}"
    return f"{problem.question_content.strip()}\n\n{task}"


def livecodebench_question(problem: Problem) -> str:
    """LiveCodeBench's user message. As there, starter code alone decides which of the two kinds of answer is wanted."""
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


def prompt_token_ids(problem: Problem, tokenizer: Any, style: PromptStyle = "training") -> np.ndarray:
    """Token ids [P] int32 of the problem's prompt in the tokenizer's chat template, up to the answer's start."""
    chat = [{"role": role, "content": content} for role, content in messages(problem, style)]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
    return np.asarray(ids, dtype=np.int32)


def answer(program: str) -> str:
    """The answer whose only content is ``program``."""
    return f"```python\n{program.rstrip()}\n```"
