import pytest

from evaluator import Extraction, extract_code

ADD = "class Solution:\n    def add(self, a, b):\n        return a + b\n"
RIGHT = "a, b = map(int, input().split())\nprint(a + b)\n"
WRONG = RIGHT.replace("+", "-")


@pytest.mark.parametrize("opening", ["```python", "```Python3 ", "```py", "```", '```python title="x.py"', "~~~python"])
def test_tags(opening):
    closing = opening[0] * 3
    assert extract_code(f"Sure:\n{opening}\n{RIGHT}{closing}  \nDone.", None) == Extraction(RIGHT, True, blocks=1)


@pytest.mark.parametrize(
    ("response", "code", "complete"),
    [
        (f"```python\n{WRONG}```\nNo:\n```python\n{RIGHT}```\n", RIGHT, True),
        (f"```python\n{RIGHT}```\nIt prints\n```\n3\n```", RIGHT, True),
        (f"```python\n{RIGHT}```\n```bash\npython x.py\n```", RIGHT, True),
        (f"```python\n{RIGHT}```\n```python\nprint(\n```", RIGHT, True),
        (f"```\n{RIGHT}```", RIGHT, True),
        (f"Answer: ```python\n{RIGHT}```", RIGHT, True),
        (f"1. So:\n    ```python\n    {RIGHT.replace(chr(10), chr(10) + '    ')}\n    ```", RIGHT + "\n", True),
        (f"````python\n{RIGHT}````", RIGHT, True),
        (f"```python\r\n{RIGHT}```\r\n".replace("\n", "\r\n"), None, True),
        ("```cpp\nint main() {}\n```", None, True),
        ("```python\n```", None, True),
        ("```python\n# YOUR CODE HERE\n```", None, True),
        ("I cannot.", None, True),
        ("", None, True),
        (f"```python\n{RIGHT}", None, False),
        (f"```python\n{WRONG}```\nBetter:\n```python\n{RIGHT}", WRONG, False),
        (f"<think>\n```python\n{WRONG}```\n</think>\n```python\n{RIGHT}```", RIGHT, True),
        (f"reasoning from the template\n```python\n{WRONG}```\n</think>\nI give up.", None, True),
        (f"<think>\n```python\n{WRONG}```\nhmm", None, False),
        ("<think>\n```python\nopen", None, False),
        ("```python\nx = '\ud800'\n```", None, True),
        ("```python\nx = '\x00'\n```", None, True),
        ("```python\n" + "-" * 200_000 + "1\n```", None, True),
        ("```python\n" + "(" * 5_000 + ")" * 5_000 + "\n```", None, True),
    ],
)
def test_responses(response, code, complete):
    found = extract_code(response, None)
    if "\r" in response:
        assert found.code == RIGHT
    else:
        assert (found.code, found.complete) == (code, complete)


def test_fences_in_the_code_do_not_end_it():
    code = 's = """\n    ```\n    text\n    ```\n"""\nt = "```"\nprint(s)\n'
    assert extract_code(f"```python\n{code}```", None).code == code


@pytest.mark.parametrize("usage", ["print(Solution().add(1, 2))", "class Solution:\n    pass", "add(1, 2)"])
def test_the_required_name_decides(usage):
    assert extract_code(f"```python\n{ADD}```\nUsage:\n```python\n{usage}\n```", "add").code == ADD


@pytest.mark.parametrize(
    ("code", "fits"),
    [
        (ADD, True),
        ("def add(a, b): return a + b\n", True),
        ("add = lambda a, b: a + b\n", True),
        ("class Base:\n    def add(self, a, b): return a + b\nclass Solution(Base): pass\n", True),
        ("class Solution:\n    add = staticmethod(lambda a, b: a + b)\n", True),
        ("class Other:\n    def add(self, a, b): return a + b\n", False),
        ("def sub(a, b): return a - b\n", False),
    ],
)
def test_definitions(code, fits):
    assert extract_code(f"```python\n{code}```", "add").code == (code if fits else None)


def test_a_text_without_fences():
    assert extract_code(RIGHT, None) == Extraction(RIGHT, True)
    assert extract_code(ADD, "add") == Extraction(ADD, True)
    assert extract_code(f"<think>hm</think>{RIGHT}", None).code == RIGHT
    assert extract_code("42", None).code is None
    assert extract_code("No", None).code is None
    assert extract_code(RIGHT, "add").code is None


@pytest.mark.parametrize(
    ("response", "incomplete"),
    [
        ("```python\nprint(1)\n```", False),
        ("```python\nprint(1\n```", False),  # finished and wrong
        ("```python\nprint(1)", True),
        ("I would first", True),
        ("```python\nprint(1)\n```\nor\n```python\nprint(", True),
        ("<think>```python\nprint(1)\n```", True),
    ],
)
def test_incomplete_is_what_the_truncation_mask_means(response: str, incomplete: bool) -> None:
    assert extract_code(response, None).incomplete is incomplete
