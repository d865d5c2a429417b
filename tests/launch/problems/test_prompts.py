"""Prompts that ask for a program, and the format of answers."""

import numpy as np
import pytest

from evaluator.extraction import extract_code
from launch.models.starter_model import train_tokenizer
from launch.problems.prompts import build_messages, build_training_prompt, encode_prompt, format_answer
from launch.problems.usable_problems import make_prompt_texts_unicode
from tests.factories import make_problem

STARTER_CODE = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        \n"


def test_training_prompt_asks_for_standard_input():
    text = build_training_prompt(make_problem(starter_code=STARTER_CODE))
    assert text.startswith("Add two numbers.\n\n")
    assert "```python" in text
    assert "standard input" in text
    assert "Solution" not in text


def test_training_prompt_shows_starter_code_of_functional_problem():
    text = build_training_prompt(make_problem(func_name="add", starter_code=STARTER_CODE))
    assert text.startswith("Add two numbers.\n\n")
    assert "```python" in text
    assert text.endswith(STARTER_CODE.rstrip())
    assert "standard input" not in text


def test_training_prompt_does_not_repeat_starter_code_in_statement():
    code = 'def add(a, b):\n    """The sum."""\n'
    text = build_training_prompt(
        make_problem(func_name="add", starter_code=code, question_content=f"Complete:\n{code}")
    )
    assert text.count("def add") == 1
    assert text.endswith("Answer with a ```python block that holds the whole function.")


def test_encode_prompt_applies_chat_template():
    tokenizer = train_tokenizer([build_training_prompt(make_problem())], 300)
    ids = encode_prompt(make_problem(), tokenizer)
    assert ids.dtype == np.int32
    assert (
        tokenizer.decode(ids)
        == f"<|im_start|>user\n{build_training_prompt(make_problem())}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.convert_tokens_to_ids("<|im_start|>") == ids[0]  # a single token, not its characters


@pytest.mark.parametrize("style", ["training", "livecodebench"])
def test_text_that_is_not_unicode_can_be_tokenized(style):
    texts = make_problem(question_content="a \ud800\udfff\udcff b", starter_code="x = '\udfff'", func_name="f")
    problem = make_prompt_texts_unicode(texts)
    tokenizer = train_tokenizer([build_training_prompt(problem)], 300)
    text = tokenizer.decode(encode_prompt(problem, tokenizer, style))
    assert "a \U000103ff\ufffd b" in text
    assert "x = '\ufffd'" in text
    assert build_messages(problem, style)[-1][1] in text


SYSTEM = (
    "system",
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a "
    "correct Python program that matches the specification and passes all tests.",
)


def test_livecodebench_messages_with_starter_code():
    starter = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        "
    assert build_messages(make_problem(func_name="add", starter_code=starter), "livecodebench") == (
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


def test_livecodebench_messages_without_starter_code():
    assert build_messages(make_problem(), "livecodebench") == (
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


def test_training_messages_are_one_user_message():
    assert build_messages(make_problem(), "training") == (("user", build_training_prompt(make_problem())),)


def test_encode_prompt_includes_system_message():
    (_, system), (_, question) = build_messages(make_problem(), "livecodebench")
    tokenizer = train_tokenizer([system, question], 300)
    assert tokenizer.decode(encode_prompt(make_problem(), tokenizer, "livecodebench")) == (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("program", ["print(1)", "print(1)\n\n", "s = '```'\nprint(s)\n"])
def test_program_can_be_extracted_from_formatted_answer(program):
    extraction = extract_code(format_answer(program), None)
    assert extraction.is_closed
    assert extraction.code.rstrip() == program.rstrip()
