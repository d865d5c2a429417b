"""Prompts and answers."""

import numpy as np
import pytest

from evaluator.extraction import extract_code
from launch.models.starter_model import train_tokenizer
from launch.problems.prompts import answer, instruction, messages, prompt_token_ids
from tests.factories import problem

STARTER_CODE = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        \n"


def test_standard_input():
    text = instruction(problem(starter_code=STARTER_CODE))
    assert text.startswith("Add two numbers.\n\n")
    assert "```python" in text
    assert "standard input" in text
    assert "Solution" not in text


def test_functional():
    text = instruction(problem(func_name="add", starter_code=STARTER_CODE))
    assert text.startswith("Add two numbers.\n\n")
    assert "```python" in text
    assert text.endswith(STARTER_CODE.rstrip())
    assert "standard input" not in text


def test_starter_code_that_is_the_statement_is_not_said_twice():
    code = 'def add(a, b):\n    """The sum."""\n'
    text = instruction(problem(func_name="add", starter_code=code, question_content=f"Complete:\n{code}"))
    assert text.count("def add") == 1
    assert text.endswith("Answer with a ```python block that holds the whole function.")


def test_token_ids():
    tokenizer = train_tokenizer([instruction(problem())], 300)
    ids = prompt_token_ids(problem(), tokenizer)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == f"<|im_start|>user\n{instruction(problem())}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == ids[0]  # a token of its own, not its letters


SYSTEM = (
    "system",
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a "
    "correct Python program that matches the specification and passes all tests.",
)


def test_livecodebench_with_starter_code():
    starter = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "
    assert messages(problem(func_name="add", starter_code=starter), "livecodebench") == (
        SYSTEM,
        (
            "user",
            "### Question:\nAdd two numbers.\n\n\n"
            "### Format: You will use the following starter code to write the solution to the problem and enclose your "
            "code within delimiters.\n"
            "```python\nclass Solution:\n    def add(self, a: int, b: int) -> int:\n        \n```\n\n"
            "### Answer: (use the provided format with backticks)\n\n",
        ),
    )


def test_livecodebench_without_starter_code():
    assert messages(problem(), "livecodebench") == (
        SYSTEM,
        (
            "user",
            "### Question:\nAdd two numbers.\n\n\n"
            "### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not directly "
            "test on the sample inputs). Enclose your code within delimiters as follows. Ensure that when the python "
            "program runs, it reads the inputs, runs the algorithm and writes output to STDOUT.\n"
            "```python\n# YOUR CODE HERE\n```\n\n"
            "### Answer: (use the provided format with backticks)\n\n",
        ),
    )


def test_the_training_prompt_is_one_message():
    assert messages(problem(), "training") == (("user", instruction(problem())),)


def test_token_ids_of_a_chat_with_a_system_message():
    (_, system), (_, question) = messages(problem(), "livecodebench")
    tokenizer = train_tokenizer([system, question], 300)
    assert tokenizer.decode(prompt_token_ids(problem(), tokenizer, "livecodebench")) == (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("program", ["print(1)", "print(1)\n\n", "s = '```'\nprint(s)\n"])
def test_an_answer_holds_its_program(program):
    extraction = extract_code(answer(program), None)
    assert extraction.complete
    assert extraction.code.rstrip() == program.rstrip()
