"""Prompts and answers."""

import numpy as np
import pytest

from evaluator.extraction import extract_code
from launch.prompts import answer, instruction, prompt_token_ids
from launch.starter_model import train_tokenizer
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


def test_token_ids():
    tokenizer = train_tokenizer([instruction(problem())], 300)
    ids = prompt_token_ids(problem(), tokenizer)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == f"<|im_start|>user\n{instruction(problem())}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == ids[0]  # a token of its own, not its letters


@pytest.mark.parametrize("program", ["print(1)", "print(1)\n\n", "s = '```'\nprint(s)\n"])
def test_an_answer_holds_its_program(program):
    extraction = extract_code(answer(program), None)
    assert extraction.complete
    assert extraction.code.rstrip() == program.rstrip()
