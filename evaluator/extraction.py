"""The program in a model's answer: the last complete fenced block that is Python and fits the problem.

Fences are read line by line, as Markdown does: a fence opens with at least three backticks or tildes at the beginning
of a line, and is closed only by a line that holds nothing but at least as many of the same character, indented no more
than three blanks further. So backticks inside a line of code close nothing, and neither do those of a docstring.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*$")
# Models also write "Answer: ```python" on one line; without a Python tag that would be a guess.
_FENCE_AFTER_TEXT = re.compile(r"^()[^`]*[^`\s][^`]*(`{3,})[ \t]*(python\S*|py3?)[ \t]*$", re.IGNORECASE)
_PYTHON_TAGS = frozenset({"", "python", "python3", "py", "py3", "python2", "pypy", "pypy3"})
_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Extraction:
    """``code`` is None when no complete block fits. ``complete`` is False when the text ends inside an open fence or an
    unfinished reasoning part, whether or not an earlier block gave ``code``. ``blocks`` counts the complete fenced
    blocks of the answer, whether or not they are programs."""

    code: str | None
    complete: bool
    blocks: int = 0

    @property
    def incomplete(self) -> bool:
        """The answer is not all there: it ends inside a fence or reasoning part, or has neither block nor program.

        This is "incomplete" in the sense of the truncation mask (arXiv 2603.07777 eq. 2). An answer whose finished
        block is no valid program is complete, and wrong.
        """
        return not self.complete or (self.code is None and self.blocks == 0)


@dataclass(frozen=True)
class _Block:
    tag: str
    text: str


def extract_code(response: str, func_name: str | None) -> Extraction:
    """Find the program in ``response``.

    Only the part after the last ``</think>`` counts; while a ``<think>`` is open there is no answer yet. Among the
    complete blocks with a Python tag or none that parse, the last wins, tagged ones before untagged ones (an untagged
    block often is sample output, and ``3`` parses too); with ``func_name`` a block must define that name, as a method
    of ``Solution`` or as a bare function. A text without any fence is taken whole if it parses and does something
    (a definition that fits, an import, a loop, a call): prose and lone literals are not programs.
    """
    text = response.replace("\r\n", "\n")
    thinking, answer = _after_reasoning(text)
    if thinking:
        return Extraction(None, complete=False)
    blocks, inside = _blocks(answer)
    if not blocks and not inside:
        return Extraction(answer if _is_program(answer, func_name) else None, complete=True)
    for group in ([b for b in blocks if b.tag], [b for b in blocks if not b.tag]):
        for block in reversed(group):
            if _fits(block.text, func_name):
                return Extraction(block.text, not inside, len(blocks))
    return Extraction(None, not inside, len(blocks))


def _after_reasoning(text: str) -> tuple[bool, str]:
    """Whether the text ends inside the reasoning part, and the part after it."""
    tail = text.rpartition(_THINK_CLOSE)[2]
    # Only an opening mark at the beginning of the answer starts a reasoning part: code may hold the string itself.
    if tail.lstrip().startswith(_THINK_OPEN):
        return True, ""
    return False, tail


def _blocks(text: str) -> tuple[list[_Block], bool]:
    """All complete Python-like blocks in order, and whether a fence is open at the end."""
    found: list[_Block] = []
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if opened is None:
            opened, lines = match or _FENCE_AFTER_TEXT.match(line), []
        elif match and _closes(match, opened):
            if opened[3].lower() in _PYTHON_TAGS:
                found.append(_Block(opened[3], "\n".join(lines) + "\n"))
            opened = None
        else:
            lines.append(_without_indent(line, len(opened[1])))
    return found, opened is not None


def _closes(line: re.Match[str], opened: re.Match[str]) -> bool:
    """Whether a fence line ends the block: nothing but the mark, as long as the opening one, not indented further."""
    bare = line[0].strip() == line[2]
    return bare and line[2].startswith(opened[2]) and len(line[1]) <= len(opened[1]) + 3


def _without_indent(line: str, width: int) -> str:
    """``line`` without up to ``width`` leading blanks: a block in a list item is indented as a whole."""
    return line[min(width, len(line) - len(line.lstrip(" \t"))) :]


def _parse(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # ValueError: null bytes, lone surrogates
        return None


def _fits(code: str, func_name: str | None) -> bool:
    tree = _parse(code)
    if tree is None or not tree.body:
        return False
    return func_name is None or _defines(tree, func_name)


def _defines(tree: ast.Module, func_name: str) -> bool:
    """Whether the module defines ``func_name`` or a ``Solution`` that has or may inherit it."""
    for node in tree.body:
        if func_name in _bound_names(node):
            return True
        if isinstance(node, ast.ClassDef) and node.name == "Solution":
            inherits = bool(node.bases)
            if inherits or any(func_name in _bound_names(item) for item in node.body):
                return True
    return False


def _bound_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _is_program(text: str, func_name: str | None) -> bool:
    tree = _parse(text)
    if tree is None:
        return False
    if func_name is not None:
        return _defines(tree, func_name)
    acts = (ast.Import, ast.ImportFrom, ast.For, ast.While, ast.FunctionDef, ast.ClassDef, ast.Call)
    return any(isinstance(node, acts) for node in ast.walk(tree))
