"""Custom checkers from the checkers that sets publish as programs.

A published checker is a Python program that is run as ``checker.py INPUT EXPECTED ANSWER`` with three files, and prints
its score, 1 for a right answer.
"""

from __future__ import annotations

import ast
from typing import Any

from evaluator.checker import parse_checker
from launch.curation.sources.reader import UnwantedRow

_WRAPPER = """\
import contextlib, io, os, sys, tempfile

PROGRAM = {program!r}


def check(inp, out, exp):
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("input.txt", "correct_output.txt", "solution_output.txt")]
        for path, text in zip(paths, (inp, exp, out)):
            with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="") as file:
                file.write(text)
        sys.argv[:] = ["checker.py", *paths]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            exec(compile(PROGRAM, "checker.py", "exec", dont_inherit=True), {{"__name__": "__main__"}})
    words = printed.getvalue().split()
    return bool(words) and float(words[-1]) >= 1
"""


def make_custom_checker(program: str) -> dict[str, Any]:
    """Return the ``metadata.checker`` for a published checker, which may also define ``check(inp, out, exp)`` itself.

    Raises:
        UnwantedRow: the checker is not Python, such as one for testlib, so that answers cannot be judged.
    """
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise UnwantedRow("checker_not_python", f"the published checker is not Python: {error}") from error
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    has_check = any(len(function.args.args) == 3 for function in functions)
    reads_arguments = any(isinstance(node, ast.Attribute) and node.attr == "argv" for node in ast.walk(tree))
    code = program if has_check and not reads_arguments else _WRAPPER.format(program=program)
    checker = {"type": "custom", "code": code}
    parse_checker(checker)
    return checker
