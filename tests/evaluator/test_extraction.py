"""Extraction of code from model responses: fences, reasoning tags, required names and running time."""

import ast
import time
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Extraction, extract_code
from evaluator.parser_process import shared_parser
from evaluator.syntax import rate_blocks

ADD_SOLUTION = "class Solution:\n    def add(self, a, b):\n        return a + b\n"
CORRECT = "a, b = map(int, input().split())\nprint(a + b)\n"
INCORRECT = CORRECT.replace("+", "-")


PYTHON_TAGS = [
    "python",
    "Python3 ",
    "py",
    "",
    'python title="x.py"',
    "python3.11",
    "{.python}",
    " PYTHON",
    "python:a.py",
]


@pytest.mark.parametrize("opening", ["~~~python", "~~~", *(f"```{tag}" for tag in PYTHON_TAGS)])
def test_python_tags_are_accepted(opening):
    closing = opening[0] * 3
    assert extract_code(f"Sure:\n{opening}\n{CORRECT}{closing}  \nDone.", None) == Extraction(CORRECT, True, blocks=1)


@pytest.mark.parametrize("tag", ["cpp", "pycon", "pytb", "python-repl x", "bash"])
def test_sessions_and_other_languages_are_rejected(tag):
    assert extract_code(f"```{tag}\n>>> {CORRECT}```", None) == Extraction(None, True, blocks=1)
    is_python = tag == "python-repl x"  # a Python tag, but a session with >>> is not a program
    assert extract_code(f"```{tag}\n{CORRECT}```", None).code == (CORRECT if is_python else None)


@pytest.mark.parametrize(
    ("response", "code", "is_closed"),
    [
        (f"```python\n{INCORRECT}```\nNo:\n```python\n{CORRECT}```\n", CORRECT, True),
        (f"```python\n{CORRECT}```\nIt prints\n```\n3\n```", CORRECT, True),
        (f"```python\n{CORRECT}```\n```bash\npython x.py\n```", CORRECT, True),
        (f"```python\n{CORRECT}```\n```python\nprint(\n```", CORRECT, True),
        (f"```\n{CORRECT}```", CORRECT, True),
        (f"Answer: ```python\n{CORRECT}```", CORRECT, True),
        (f"For `a` and `b`: ```python\n{CORRECT}```", CORRECT, True),
        (f"Not ```text``` but ```python\n{CORRECT}", None, True),
        (f"1. So:\n    ```python\n    {CORRECT.replace(chr(10), chr(10) + '    ')}\n    ```", CORRECT + "\n", True),
        (f"````python\n{CORRECT}````", CORRECT, True),
        (f"````python\n{CORRECT}```", None, False),
        (f"```python\n{CORRECT}````", CORRECT, True),
        (f"```python\n{CORRECT}~~~", None, False),
        (f"```python\n{CORRECT}```<|im_end|>", CORRECT, True),
        (f"<answer>\n```python\n{CORRECT}``` </answer></s>", CORRECT, True),
        (f"1. ```python\n   {CORRECT.replace(chr(10), chr(10) + '   ')}\n   ```", CORRECT + "\n", True),
        # The final program may have no tag; an untagged block that cannot print is sample output.
        (f"```python\n{INCORRECT}```\nFinal:\n```\n{CORRECT}```", CORRECT, True),
        (f"```python\n{CORRECT}```\ncalls\n```\nmax(1, 2)\n```", CORRECT, True),
        ("```\n3\n```", "3\n", True),
        ("```\nimport sys\nsys.stdout.write('1')\n```\n```\n3\n```", "import sys\nsys.stdout.write('1')\n", True),
        # Mistakes: a fence that is never closed, or that is closed at the end of a line of code.
        (f"```python\n{INCORRECT}\nNo:\n```python\n{CORRECT}```", CORRECT, True),
        (f"```python\n{INCORRECT}# ```\n```python\n{CORRECT}```", CORRECT, True),
        (f"```python\n{CORRECT.rstrip()}```", CORRECT, True),
        (f"```python\n{CORRECT.rstrip()}```\nThat is it.\n", CORRECT, True),
        (f"```python\n{CORRECT.rstrip()}```\nIt prints\n```\n3\n```", CORRECT, True),
        (f"```python\n{CORRECT.rstrip()}```\nOr\n```python\nprint(", CORRECT, False),
        (f"```python\r\n{CORRECT}```\r\n".replace("\n", "\r\n"), None, True),
        ("```cpp\nint main() {}\n```", None, True),
        ("```python\n```", None, True),
        ("```python\n# YOUR CODE HERE\n```", None, True),
        ("I cannot.", None, True),
        ("", None, True),
        (f"```python\n{CORRECT}", None, False),
        (f"```python\n{INCORRECT}```\nBetter:\n```python\n{CORRECT}", INCORRECT, False),
        (f"<think>\n```python\n{INCORRECT}```\n</think>\n```python\n{CORRECT}```", CORRECT, True),
        (f"reasoning from the template\n```python\n{INCORRECT}```\n</think>\nI give up.", None, True),
        (f"<think>\n```python\n{INCORRECT}```\nhmm", None, False),
        (
            f"<think>a</think>\n```python\n{CORRECT}```\n<think>\n```python\n{INCORRECT}```\n</think>\nRight.",
            CORRECT,
            True,
        ),
        (f"```python\n{CORRECT}```\n<think>\n```python\n{INCORRECT}```\nstill", CORRECT, False),
        (f"<thinking>\n```python\n{INCORRECT}```\n</thinking>\n```python\n{CORRECT}```", CORRECT, True),
        (f"<think>a <think> b</think>\n```python\n{INCORRECT}```\n</think>\n```python\n{CORRECT}```", CORRECT, True),
        (f"```python\ns = '<think>'\n{CORRECT}```", f"s = '<think>'\n{CORRECT}", True),
        ("<think>\n```python\nopen", None, False),
        ("```python\nx = '\ud800'\n```", None, True),
        ("```python\nx = '\x00'\n```", None, True),
        ("```python\n" + "-" * 200_000 + "1\n```", None, True),
        ("```python\n" + "(" * 5_000 + ")" * 5_000 + "\n```", None, True),
    ],
)
def test_code_is_extracted_from_response(response, code, is_closed):
    extraction = extract_code(response, None)
    if "\r" in response:
        assert extraction.code == CORRECT
    else:
        assert (extraction.code, extraction.is_closed) == (code, is_closed)


def test_fences_inside_the_code_do_not_end_the_block():
    code = 's = """\n    ```\n    text\n    ```\n"""\nt = "```"\nprint(s)\n'
    assert extract_code(f"```python\n{code}```", None).code == code


def test_many_indented_fences_inside_the_code_do_not_end_the_block():
    code = 'def f():\n    """\n' + "    ```\n" * 20 + '    """\nprint(1)\n'
    assert extract_code(f"```python\n{code}```", None).code == code


@pytest.mark.parametrize("quote", ['"""', "'''"])
def test_unindented_fences_inside_a_string_do_not_end_the_block(quote):
    code = f"def f():\n    {quote}Example:\n```python\nf()\n```\n\nand\n```\n3\n```\n{quote}\nprint(3)\n"
    assert extract_code(f"```python\n{code}```\nIt prints\n```\n3\n```", None) == Extraction(code, True, blocks=2)


def test_unterminated_string_does_not_consume_the_next_block():
    assert extract_code(f"```python\nx = '''\n```\nBetter:\n```python\n{CORRECT}```", None) == Extraction(
        CORRECT, True, 2
    )


@pytest.mark.parametrize("usage", ["print(Solution().add(1, 2))", "class Solution:\n    pass", "add(1, 2)"])
def test_block_that_defines_the_required_name_is_chosen(usage):
    assert extract_code(f"```python\n{ADD_SOLUTION}```\nUsage:\n```python\n{usage}\n```", "add").code == ADD_SOLUTION


@pytest.mark.parametrize(
    ("code", "accepted"),
    [
        (ADD_SOLUTION, True),
        ("def add(a, b): return a + b\n", True),
        ("add = lambda a, b: a + b\n", True),
        ("class Base:\n    def add(self, a, b): return a + b\nclass Solution(Base): pass\n", True),
        ("class Solution:\n    add = staticmethod(lambda a, b: a + b)\n", True),
        ("class Solution:\n    async def add(self, a, b): return a + b\n", True),
        ("async def add(a, b): return a + b\n", True),
        ("from typing import Any\nadd: Any = lambda a, b: a + b\n", True),
        ("try:\n    import numpy\nexcept ImportError:\n    pass\nelse:\n    def add(a, b): return a + b\n", True),
        ("class Adder:\n    def add(self, a, b): return a + b\nSolution = Adder\n", True),
        ("class Solution:\n    if True:\n        def add(self, a, b): return a + b\n", True),
        ("add: int\n", False),
        ("def sub(a, b):\n    def add(a, b): return a + b\n", False),
        ("class Other:\n    def add(self, a, b): return a + b\n", False),
        ("def sub(a, b): return a - b\n", False),
    ],
)
def test_code_must_define_the_required_name(code, accepted):
    assert extract_code(f"```python\n{code}```", "add").code == (code if accepted else None)


def test_response_without_fences_must_be_code():
    assert extract_code(CORRECT, None) == Extraction(CORRECT, True)
    assert extract_code(ADD_SOLUTION, "add") == Extraction(ADD_SOLUTION, True)
    assert extract_code(f"<think>hm</think>{CORRECT}", None).code == CORRECT
    assert extract_code("42", None).code is None
    assert extract_code("No", None).code is None
    assert extract_code(CORRECT, "add").code is None


@pytest.mark.parametrize(
    ("response", "incomplete"),
    [
        ("```python\nprint(1)\n```", False),
        ("```python\nprint(1\n```", False),  # complete, but a syntax error
        ("```python\nprint(1)", True),
        ("I would first", True),
        ("```cpp\nint main() {}\n```", False),
        ("```python\nprint(1)\n```\nor\n```python\nprint(", True),
        ("<think>```python\nprint(1)\n```", True),
    ],
)
def test_incomplete_marks_responses_that_were_cut_off(response: str, incomplete: bool) -> None:
    assert extract_code(response, None).is_incomplete is incomplete


RESPONSE_LINES = [
    "```",
    "```python",
    "~~~",
    "````",
    "    ```",
    "<think>",
    "</think>",
    "x = ''''",
    '"""',
    "print(1)",
    "\r",
    " ",
    "(",
]


@given(st.lists(st.sampled_from(RESPONSE_LINES) | st.text(max_size=3), max_size=30), st.sampled_from([None, "add"]))
def test_any_response_gives_valid_python_or_none(lines: list[str], func_name: str | None) -> None:
    with patch.object(shared_parser, "rate", rate_blocks):  # in this process, which saves time
        extraction = extract_code("\n".join(lines), func_name)
    if extraction.code is not None:
        assert ast.parse(extraction.code).body


CODE_LINES = st.sampled_from(
    ["x = 1", "print('```')", "s = '~~~' # ```", "if x:\n    pass", "'''\n```\n'''", '"""a\n    ```\n"""', ""]
)


@given(st.lists(CODE_LINES, min_size=1), st.sampled_from(["", "  ", "\t"]), st.sampled_from(["\n", "\r\n"]))
def test_fenced_program_is_extracted_unchanged(lines: list[str], indent: str, line_end: str) -> None:
    code = "\n".join([*lines, "print(1)", ""])
    block = "\n".join(indent + line for line in f"```python\n{code}```".split("\n"))
    response = f"So:\n\n{block}\n\nwhich prints\n```\n1\n```".replace("\n", line_end)
    with patch.object(shared_parser, "rate", rate_blocks):  # in this process, which saves time
        assert extract_code(response, None) == Extraction(code, True, blocks=2)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "response",
    [
        "`" * 200_000,
        "```\n" * 50_000,
        "```python\n" * 20_000,
        "```python\nx```\n" * 13_000,
        '```python\nx = """\n```\n' * 9_000,
        "```python\n" + "(" * 200_000 + "\n```",
        "```python\n" + "-" * 200_000 + "1\n```",
        "```python\n" + "x." * 100_000 + "x\n```",
        "```python\n" + 'f"' + "{x}" * 2_000_000 + '"\n```',
        "```python\nx = 1\n```" + "<a>" * 70_000 + "x",
        "a" * 200_000,
        "```" + "a" * 200_000 + "`",
        " " * 200_000 + "x",
        "<think>" * 30_000,
        "</think>" * 25_000,
        "\r" * 200_000,
    ],
)
def test_extraction_time_is_not_quadratic(response: str) -> None:
    began = time.process_time()
    extract_code(response, None)
    assert time.process_time() - began < 3  # at most 0.2 s when this was written; quadratic time would be minutes
