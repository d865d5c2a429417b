"""Answers as models write them, with the program that must be extracted from each."""

import pytest

from evaluator import extract_code

# For standard input: reads n and n numbers, prints their sum.
SUM = "n = int(input())\nprint(sum(map(int, input().split())))\n"
DRAFT = SUM.replace("sum(map", "max(map")
MAIN = """import sys


def main():
    data = sys.stdin.read().split()
    sys.stdout.write(str(sum(map(int, data[1:]))) + "\\n")


if __name__ == "__main__":
    main()
"""
# For functions: the method ``total`` of LeetCode's form.
METHOD = "class Solution:\n    def total(self, nums: List[int]) -> int:\n        return sum(nums)\n"
METHOD_DRAFT = METHOD.replace("sum(nums)", "max(nums)")
FUNCTION = "def total(nums):\n    return sum(nums)\n"


def fence(code: str, tag: str = "python", mark: str = "```") -> str:
    return f"{mark}{tag}\n{code}{mark}\n"


def indent(text: str, prefix: str) -> str:
    return "".join(prefix + line for line in text.splitlines(keepends=True))


LATER_BLOCKS = {
    "literal": fence("6\n"),
    "untagged literal": fence("6\n", ""),
    "tuple": fence("(1, 2, 3)\n"),
    "string": fence('"Case #1: 6"\n'),
    "sample assignment": fence("n = 3\na = [1, 2, 3]\n"),
    "sample input": fence("3\n1 2 3\n", ""),
    "sample input tagged as text": fence("3\n1 2 3\n", "text"),
    "sample output tagged as output": fence("6\n", "output"),
    "assertion": fence("assert solve([1, 2, 3]) == 6\n"),
    "assertion with output": fence("assert solve([1, 2, 3]) == 6\nprint('ok')\n"),
    "example of use": fence("print(solve([1, 2, 3]))  # 6\n"),
    "example of use in a loop": fence("for case in [[1], [2, 3]]:\n    print(solve(case))\n"),
    "expression": fence("max(1, 2)\n", ""),
    "shell": fence("echo '3\\n1 2 3' | python solution.py\n", "bash"),
    "shell without a tag": fence("python solution.py < input.txt\n", ""),
    "shell word tagged as Python": fence("pytest\n"),
    "formula": fence("total = a[0] + a[1]\n"),
    "import": fence("import sys\ninput = sys.stdin.readline\n"),
    "reading": fence("n = int(input())\n"),
    "function that is not called": fence("def add(a, b):\n    print(a + b)\n"),
    "demonstration": fence("values = [1, 2, 3]\nprint(sum(values))\n"),
    "excerpt": fence("def solve():\n    n = int(input())\n    print(compute(n))\n\n\nsolve()\n"),
    "session": fence(">>> solve([1, 2, 3])\n6\n"),
    "another language": fence("int main() { return 0; }\n", "cpp"),
    "JavaScript that parses as Python": fence("console.log(n)\n", "javascript"),
    "Lua that parses as Python": fence('print(io.read("n"))\n', "lua"),
    "broken": fence("print(sum(map(int, input().split()))\n"),
    "unit test": fence("import unittest\n\n\nclass T(unittest.TestCase):\n    pass\n\n\nunittest.main()\n"),
    "empty": fence(""),
    "comment": fence("# O(n) time\n"),
    "JSON": fence('{"n": 3}\n', "json"),
    "pseudo-code": fence("for each x in a:\n    add x\n", ""),
}


@pytest.mark.parametrize("later", LATER_BLOCKS.values(), ids=LATER_BLOCKS)
@pytest.mark.parametrize("program", [SUM, MAIN], ids=["script", "main"])
def test_later_block_that_cannot_be_the_program_does_not_win(program: str, later: str) -> None:
    answer = f"Solution:\n\n{fence(program)}\nExplanation and example:\n\n{later}\nThat is all."
    assert extract_code(answer, None).code == program


WRITERS = {
    "print": SUM,
    "write": MAIN,
    "buffer": "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())\n",
    "os.write": "import os\nos.write(1, os.read(0, 9))\n",
    "pprint": "from pprint import pprint\npprint(int(input()))\n",
    "alias": "from builtins import print as p\np(input())\n",
    "alias by assignment": "p = print\np(input())\n",
    "star import": "from sys import *\nstdout.write(stdin.read())\n",
    "exec": "exec(open(0).read())\n",
    "system": "import os\nos.system('cat')\n",
    "subprocess": "import subprocess\nsubprocess.run(['cat'])\n",
    "file": "import sys\nprint(sys.stdin.read(), file=open(1, 'w'))\n",
    "class": "class A:\n    def __init__(self):\n        print(input())\n\n\nA()\n",
    "lambda": "(lambda: print(input()))()\n",
    "comprehension": "[print(input()) for _ in range(int(input()))]\n",
    "async": "import asyncio\n\n\nasync def f():\n    print(input())\n\n\nasyncio.run(f())\n",
    "thread": "import threading\n\n\ndef f():\n    print(input())\n\n\nt = threading.Thread(target=f)\nt.start()\n",
    "decorator": "def run(f):\n    f()\n    return f\n\n\n@run\ndef main():\n    print(input())\n",
    "NameError fallback": "try:\n    read = raw_input\nexcept NameError:\n    read = input\nprint(read())\n",
    "match": "match input():\n    case x:\n        print(x)\n",
    "annotation": "def f(x: 'Undefined') -> Undefined2:\n    y: Undefined3 = x\n    print(y)\n\n\nf(input())\n",
}


@pytest.mark.parametrize("final", WRITERS.values(), ids=WRITERS)
def test_last_program_that_writes_output_wins(final: str) -> None:
    assert extract_code(f"Draft:\n{fence(DRAFT)}\nBetter:\n{fence(final)}", None).code == final


UNUSUAL_TAGS = [
    *("solution.py", "main.py", "code", "text", "plaintext", "txt", "ipython", "ipython3", "python3 main.py", "python"),
    *("{.python}", "{.python .numberLines}", "{python}", "Python 3", "py", "python:solution.py", "", "pythonic"),
    *("language-python", "answer", "python title='a.py' linenums=1", "PyPy3", "source", "output"),
]


@pytest.mark.parametrize("tag", UNUSUAL_TAGS)
def test_tag_counts_if_no_block_tagged_as_python_can_be_the_program(tag: str) -> None:
    assert extract_code(f"Here:\n{fence(SUM, tag)}", None).code == SUM
    assert extract_code("Data:\n" + fence("n = 3\n") + fence(SUM, tag), None).code == SUM
    assert extract_code(f"Here:\n{fence(METHOD, tag)}", "total").code == METHOD


@pytest.mark.parametrize("tag", ["text", "code", "solution.py", "ipython"])
def test_tagged_program_wins_over_one_with_another_tag(tag: str) -> None:
    assert extract_code(fence(SUM) + fence(DRAFT, tag), None).code == SUM
    assert extract_code(fence(DRAFT, tag) + fence(SUM), None).code == SUM
    assert extract_code(fence(METHOD) + fence(METHOD_DRAFT, tag), "total").code == METHOD


FENCES = {
    "full stop after the fence": f"```python\n{SUM}```.\n",
    "sentence after the fence": f"```python\n{SUM}``` This prints the sum.\n",
    "word after the fence": f"```python\n{SUM}``` done\n",
    "capitalised word": f"```python\n{SUM}```Done\n",
    "emphasis after the fence": f"```python\n{SUM}```**\n",
    "tag of the chat": f"```python\n{SUM}```<|im_end|>\n",
    "answer tags": f"<answer>\n```python\n{SUM}```</answer>",
    "answer tag before the fence": f"<answer>```python\n{SUM}```\n</answer>",
    "answer tag before an untagged fence": f"<answer>```\n{SUM}```\n</answer>",
    "fence after code": f"```python\n{SUM.rstrip()}```\nIt prints\n```\n6\n```\n",
    "fence after a comment": f"```python\n{SUM.rstrip()}  # sum```\n",
    "fence and sentence after code": f"```python\n{SUM.rstrip()}``` prints it.\n",
    "longer fence": fence(SUM, mark="`````"),
    "longer closing fence": f"```python\n{SUM}`````\n",
    "tildes": fence(SUM, mark="~~~"),
    "tildes with a tag and a later sentence": f"~~~ python\n{SUM}~~~\nDone.",
    "longer outer fence": fence("Here:\n" + fence(SUM), "markdown", "````"),
    "longer outer fence without a tag": fence("Here:\n" + fence(SUM), "", "````"),
    "longer outer fence tagged as Python": fence(fence(SUM), "python", "````"),
    "two outer fences": fence(fence(fence(SUM), "md", "````"), "markdown", "`````"),
    "outer fence of the same length": fence("Here it is\n" + fence(SUM), "markdown"),
    "outer fence of the same length with more text": fence("# A\n" + fence(SUM) + "Text\n", "md") + "Good luck.",
    "outer fence with an example": fence(fence(SUM) + "prints\n" + fence("6\n", "text"), "markdown"),
    "outer fence without a tag": fence(fence(SUM), ""),
    "outer fence that never ends": "```markdown\n" + fence(SUM) + "Done.",
    "outer tildes": fence(fence(SUM), "markdown", "~~~"),
    "fence opened twice": "```python\n" + fence(SUM),
    "list item": "1. Code:\n" + indent(fence(SUM), "   "),
    "list item with a tab": "1. Code:\n" + indent(fence(SUM), "\t"),
    "list item on one line": "- ```python\n" + indent(SUM, "  ") + "  ```\n",
    "deep list item on one line": "    10. ```python\n" + indent(SUM, "        ") + "        ```\n",
    "quotation": indent(fence(SUM), "> "),
    "quotation of an indented block": "> - So:\n" + indent(fence(SUM), ">   "),
    "line ends of Windows": fence(SUM).replace("\n", "\r\n"),
    "blanks after the tag and the fence": f"```python  \n{SUM}```   \n",
    "sentence on the line of the fence": f"The answer is: ```python\n{SUM}```\n",
    "byte order mark": "\ufeff" + fence(SUM),
    "never closed before the next": f"```python\n{DRAFT}\nBetter:\n{fence(SUM)}",
    "never closed before output": f"```python\n{SUM}```text\n6\n```\n",
    "odd quotes in a sample": fence('He said """\n', "") + fence('"""Sum."""\n' + SUM),
    "fences in a docstring": fence('def f():\n    """Example:\n```\nf()\n```\n    """\n\n\n' + SUM),
    "program after another language": fence("int main() {}\n", "cpp") + fence(SUM),
    "no fence": SUM,
    "no fence, in tags": f"<answer>\n{SUM}</answer>",
    "no fence, with a docstring that has fences": '"""Sum.\n\n```\n3\n```\n"""\n' + SUM,
}


@pytest.mark.parametrize("answer", FENCES.values(), ids=FENCES)
def test_program_is_found_whatever_its_fences(answer: str) -> None:
    extraction = extract_code(answer, None)
    assert extraction.code is not None
    assert extraction.code.strip().endswith(SUM.strip()) or extraction.code.strip().endswith("# sum")
    assert "```python" not in extraction.code
    assert DRAFT not in extraction.code


REASONING = {
    "think": ("<think>", "</think>"),
    "thinking": ("<thinking>", "</thinking>"),
    "thought": ("<thought>", "</thought>"),
    "capitals": ("<Thought>", "</Thought>"),
    "mixed names": ("<think>", "</thinking>"),
    "blank in the tag": ("<think >", "</think >"),
    "attributes": ('<thinking budget="9">', "</thinking>"),
    "reasoning": ("<reasoning>", "</reasoning>"),
    "reflection": ("<reflection>", "</reflection>"),
    "analysis": ("<analysis>", "</analysis>"),
    "scratchpad": ("<scratchpad>", "</scratchpad>"),
    "Sky-T1": ("<|begin_of_thought|>", "<|end_of_thought|>\n<|begin_of_solution|>"),
    "Sky-T1, never ended": ("<|begin_of_thought|>", "<|begin_of_solution|>"),
    "begin_of_think": ("<|begin_of_think|>", "<|end_of_think|>"),
    "special tokens": ("<|think|>", "<|/think|>"),
    "Command A": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "harmony": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "harmony, commentary": (
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=python code<|message|>",
        "<|call|><|start|>assistant<|channel|>final<|constrain|>text<|message|>",
    ),
    "harmony without its tokens": ("analysisWe add.", "assistantfinal"),
    "Gemma": ("<|channel>thought\n", "<channel|>"),
    "Magistral": ("[THINK]", "[/THINK]"),
    "Kimi": ("◁think▷", "◁/think▷"),
    "Seed": ("<seed:think>", "</seed:think>"),
    "MiniMax": ("<mm:think>", "</mm:think>"),
    "K2": ("<ifm|think>", "</ifm|think>"),
    "Apertus": ("<|inner_prefix|>", "<|inner_suffix|>"),
    "Pangu": ("[unused16]", "[unused17]"),
    "Granite": ("Here is my thought process:", "Here is my response:"),
    "Granite, quantised": ("Here's my thought process:", "Here's my response:"),
    "nested": ("<thinking>a\n<reflection>b</reflection>", "</thinking>"),
    "opened twice": ("<think>a\n<think>", "</think>"),
    "opened within a line": ("Okay. <think> Let me see.", "</think>"),
}
OPENED_BY_TEMPLATE = [
    name for name, (_, end) in REASONING.items() if end.startswith(("</", "<|end_of", "[/", "◁/", "<|END"))
]


@pytest.mark.parametrize("name", REASONING)
def test_reasoning_never_counts(name: str) -> None:
    begin, end = REASONING[name]
    reasoning = f"{begin}\nMaybe\n{fence(DRAFT)}or so.\n"
    assert extract_code(f"{reasoning}{end}\nSo:\n{fence(SUM)}", None).code == SUM
    assert extract_code(f"{reasoning}{end}{fence(SUM)}", None).code == SUM
    given_up = extract_code(f"{reasoning}{end}\nI could not solve it.", None)
    assert (given_up.code, given_up.is_closed, given_up.blocks) == (None, True, 0)


@pytest.mark.parametrize("name", [name for name in REASONING if "never ended" not in name])
def test_unfinished_reasoning_has_no_program(name: str) -> None:
    begin, _ = REASONING[name]
    extraction = extract_code(f"{begin}\nMaybe\n{fence(DRAFT)}or", None)
    assert (extraction.code, extraction.is_closed) == (None, False)
    assert extraction.is_incomplete


@pytest.mark.parametrize("name", OPENED_BY_TEMPLATE)
def test_reasoning_that_the_template_opened_does_not_count(name: str) -> None:
    _, end = REASONING[name]
    assert extract_code(f"Maybe\n{fence(DRAFT)}or so.\n{end}\nSo:\n{fence(SUM)}", None).code == SUM
    assert extract_code(f"Maybe\n{fence(DRAFT)}or so.\n{end}\nNo.", None).code is None


@pytest.mark.parametrize(
    "program",
    [
        f"s = '<think>'\n{SUM}",
        f's = "</ think>"\n{SUM}',
        f"thinking = reasoning = 1\n{SUM}",
        f"# Here is my response:\n{SUM}",
        f"s = 'assistantfinal'\n{SUM}",
        f"x = [thought for thought in []]\n{SUM}",
    ],
)
def test_marks_in_programs_are_not_reasoning(program: str) -> None:
    assert extract_code(f"So:\n{fence(program)}Done.", None).code == program


BINDINGS = {
    "method": METHOD,
    "function": FUNCTION,
    "async function": "async def total(nums):\n    return sum(nums)\n",
    "async method": "class Solution:\n    async def total(self, nums):\n        return sum(nums)\n",
    "static method": "class Solution:\n    @staticmethod\n    def total(nums):\n        return sum(nums)\n",
    "lambda": "total = lambda nums: sum(nums)\n",
    "lambda of the class": "class Solution:\n    total = lambda self, nums: sum(nums)\n",
    "annotated lambda": "from typing import Callable\n\ntotal: Callable = lambda nums: sum(nums)\n",
    "another callable": "total = sum\n",
    "partial": "from functools import partial\n\ntotal = partial(sum, start=0)\n",
    "decorated": "from functools import cache\n\n\n@cache\ndef total(nums):\n    return sum(nums)\n",
    "class with the name": "class total:\n    def __new__(cls, nums):\n        return sum(nums)\n",
    "import as": "import os.path as total\n",
    "from import": "from math import fsum as total\n",
    "method by import": "class Solution:\n    from math import fsum as total\n",
    "conditional": "import sys\n\nif sys.version_info > (3, 9):\n    def total(nums):\n        return sum(nums)\n",
    "else": "if False:\n    pass\nelse:\n    def total(nums):\n        return sum(nums)\n",
    "try": "try:\n    from numpy import sum as total\nexcept ImportError:\n    total = sum\n",
    "with": "import contextlib\n\nwith contextlib.nullcontext(sum) as total:\n    pass\n",
    "for": "for total in (max, sum):\n    pass\n",
    "while": "while True:\n    def total(nums):\n        return sum(nums)\n    break\n",
    "walrus": "print((total := sum))\n",
    "walrus in a comprehension": "[total := f for f in (max, sum)]\n",
    "match": "match sum:\n    case total:\n        pass\n",
    "tuple": "first, total = max, sum\n",
    "star": "first, *total = max, sum\n",
    "chain": "result = total = sum\n",
    "global": "def make():\n    global total\n    total = sum\n\n\nmake()\n",
    "globals": "globals()['total'] = sum\n",
    "exec": "exec('def total(nums): return sum(nums)')\n",
    "inherited": (
        "class Base:\n    def total(self, nums):\n        return sum(nums)\n\n\nclass Solution(Base):\n    pass\n"
    ),
    "another class": "class Other:\n    def total(self, nums):\n        return sum(nums)\n\n\nSolution = Other\n",
    "made class": "Solution = type('Solution', (), {'total': staticmethod(sum)})\n",
    "set on the class": "class Solution:\n    pass\n\n\nSolution.total = staticmethod(sum)\n",
    "setattr": "class Solution:\n    pass\n\n\nsetattr(Solution, 'total', staticmethod(sum))\n",
    "set on the instance": "class Solution:\n    def __init__(self):\n        self.total = sum\n",
    "__getattr__": "class Solution:\n    def __getattr__(self, name):\n        return sum\n",
    "decorated class": (
        "def add(cls):\n    cls.total = staticmethod(sum)\n    return cls\n\n\n@add\nclass Solution:\n    pass\n"
    ),
    "defined twice": (
        "class Solution:\n    pass\n\n\nclass Solution:\n    def total(self, nums):\n        return sum(nums)\n"
    ),
    "conditional in the class": (
        "class Solution:\n    if True:\n        def total(self, nums):\n            return sum(nums)\n"
    ),
    "predefined names": (
        "class Solution:\n    def total(self, nums: List[int]) -> int:\n        return reduce(add, nums, 0)\n"
    ),
}


@pytest.mark.parametrize("program", BINDINGS.values(), ids=BINDINGS)
def test_program_that_binds_the_function_in_any_way_is_found(program: str) -> None:
    later = fence("print(Solution().total([1, 2, 3]))\n") + fence("assert total([1, 2, 3]) == 6\n")
    assert extract_code(f"So:\n{fence(program)}Use it so:\n{later}", "total").code == program


NOT_BINDING = {
    "annotation": "total: int\n",
    "literal": "total = 6\n",
    "list": "total = [1, 2, 3]\n",
    "sum of literals": "total = 1 + 2\n",
    "argument": "print(total=6)\n",
    "attribute": "x.total = sum\n",
    "local": "def f():\n    total = sum\n",
    "nested function": "def f():\n    def total(nums):\n        return sum(nums)\n",
    "other class": "class Other:\n    def total(self, nums):\n        return sum(nums)\n",
    "comprehension": "print([total for total in (1, 2)])\n",
    "deleted": "del total\n",
    "class without it": "class Solution(object):\n    def other(self):\n        pass\n",
    "no class": "Solution = None\n",
    "use": "print(total([1, 2, 3]))\n",
    "another import": "from math import fsum\n",
}


@pytest.mark.parametrize("text", NOT_BINDING.values(), ids=NOT_BINDING)
def test_text_that_does_not_bind_the_function_is_no_program(text: str) -> None:
    assert extract_code(fence(text), "total").code is None
    assert extract_code(fence(METHOD) + fence(text), "total").code == METHOD


LATER_FUNCTION_BLOCKS = {
    "example of use": fence("solution = Solution()\nprint(solution.total([1, 2, 3]))\n"),
    "example that binds the name": fence("total = Solution().total\nassert total([1, 2, 3]) == 6\n"),
    "import of the solution": fence("from solution import Solution\nprint(Solution().total([1, 2, 3]))\n"),
    "import of the function": fence("from solution import total\nprint(total([1, 2, 3]))\n"),
    "stub": fence("class Solution:\n    def total(self, nums: List[int]) -> int:\n        ...\n"),
    "stub with a docstring": fence('class Solution:\n    def total(self, nums):\n        """Return the sum."""\n'),
    "stub that raises": fence("def total(nums):\n    raise NotImplementedError('see above')\n"),
    "excerpt": fence("class Solution:\n    def total(self, nums):\n        return accumulate_all(nums)\n"),
    "result": fence("total = 6\n"),
    "sample": fence("nums = [1, 2, 3]\n", ""),
    "text": fence("[1, 2, 3]\n6\n", "text"),
    "test": fence("def test_total():\n    assert Solution().total([1]) == 1\n"),
}


@pytest.mark.parametrize("later", LATER_FUNCTION_BLOCKS.values(), ids=LATER_FUNCTION_BLOCKS)
@pytest.mark.parametrize("program", [METHOD, FUNCTION], ids=["method", "function"])
def test_later_block_that_cannot_be_the_function_does_not_win(program: str, later: str) -> None:
    assert extract_code(f"So:\n{fence(program)}and\n{later}", "total").code == program


@pytest.mark.parametrize("draft", [METHOD_DRAFT, "def total(nums):\n    return max(nums)\n"])
def test_last_program_that_binds_the_function_wins(draft: str) -> None:
    for program in (METHOD, FUNCTION):
        assert extract_code(fence(draft) + "No:\n" + fence(program), "total").code == program
        assert extract_code(fence(draft) + "No:\n" + fence(program, ""), "total").code == program


def test_stub_counts_if_there_is_nothing_else() -> None:
    stub = "class Solution:\n    def total(self, nums):\n        pass\n"
    assert extract_code(fence(stub), "total").code == stub
    assert extract_code(fence(stub) + fence(METHOD, "text"), "total").code == METHOD
