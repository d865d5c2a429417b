"""From a problem to the prompt a model sees, and from a program to the answer it should give."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluator.problem import Problem


def instruction(problem: Problem) -> str:
    """The user message: the statement, and what kind of answer is expected."""
    if problem.func_name is None:
        task = "Answer with a ```python block that reads standard input."
    else:
        task = f"Answer with a ```python block that completes:\n{problem.starter_code.rstrip()}"
    return f"{problem.question_content.strip()}\n\n{task}"


def prompt_token_ids(problem: Problem, tokenizer: Any) -> np.ndarray:
    """Token ids [P] int32 of the problem's prompt in the tokenizer's chat template, up to the answer's start."""
    messages = [{"role": "user", "content": instruction(problem)}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    return np.asarray(ids, dtype=np.int32)


def answer(program: str) -> str:
    """The answer whose only content is ``program``."""
    return f"```python\n{program.rstrip()}\n```"
