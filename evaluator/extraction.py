"""The program in a model's answer: the last complete fenced block that is Python and fits the problem.

Fences are read line by line, as Markdown does: a fence opens with at least three backticks or tildes at the beginning
of a line, and is closed only by a line that holds nothing but at least as many of the same character, indented no more
than three blanks further. So backticks inside a line of code close nothing, and neither do those of a docstring. Where
that reading gives no Python, a few slips of models are looked through (see ``_readings``). Nothing here is worse than
linear in the length of the answer, and what a block holds is parsed, never run.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

# Possessive throughout: with backtracking a line of 200 kB takes minutes.
_FENCE = re.compile(r"([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+([^\s`]*+)[^`]*+$")
# A mark of the chat format (</answer>, <|im_end|>) may stick to the closing fence.
_CLOSING_FENCE = re.compile(r"([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+(?:<[^<>`\s]{1,40}+>[ \t]*+)*+$")
_PYTHON_TAG = re.compile(r"\{?\.?(?:python|pypy|py)[0-9.]*(?![a-z])", re.IGNORECASE)
# A beginning counts only at the beginning of a line: code may hold the string itself.
_REASONING_MARK = re.compile(r"(?:^[ \t]*+<|<(/))(?:think|thinking|thought|reasoning)>", re.MULTILINE)
_LONGEST_PROGRAM = 1 << 18  # characters; contest judges take 64 KiB to 512 KiB
_TRIED_CLOSINGS = 8  # how many fences inside a triple-quoted string are looked through


@dataclass(frozen=True)
class Extraction:
    """``code`` is None when no complete block fits. ``complete`` is False when the text ends inside an open fence or an
    unfinished reasoning part, whether or not an earlier block gave ``code``. ``blocks`` counts the complete fenced
    blocks of the answer, in whatever language."""

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
class _Fence:
    """An opening fence: the blanks before it, its backticks or tildes, and the word after it."""

    indent: int
    mark: str
    tag: str

    @property
    def tagged(self) -> bool:
        return _PYTHON_TAG.match(self.tag) is not None


@dataclass(frozen=True)
class _Block:
    """A complete block; ``lines`` are those between the fences, without the indent of the opening one."""

    fence: _Fence
    lines: list[str]


def extract_code(response: str, func_name: str | None) -> Extraction:
    """Find the program in ``response``.

    Reasoning parts do not count, nor does anything before a ``</think>`` that has no beginning. Of the complete blocks
    that are tagged as Python or untagged and parse, the last wins; with ``func_name`` only those that define that name,
    as a method of ``Solution`` or as a bare function. Without, an untagged block wins over a tagged one only if it
    prints: otherwise it mostly is sample output, and ``3`` parses too. A text without any fence is taken whole if it
    parses and does something (a definition that fits, an import, a loop, a call): prose and literals are not programs.
    """
    thinking, answer = _outside_reasoning("\n".join(line.rstrip("\r") for line in response.split("\n")))
    blocks, inside = _blocks(answer.split("\n"))
    if not blocks and not inside:
        code = None if thinking else _whole_text(answer, func_name)
    else:
        code = _chosen([block for block in blocks if block.fence.tagged or not block.fence.tag], func_name)
    return Extraction(code, not inside and not thinking, len(blocks))


def _outside_reasoning(text: str) -> tuple[bool, str]:
    """Whether the text ends inside a reasoning part, and what stands outside such parts."""
    kept: list[str] = []
    begin = 0
    thinking = False
    for mark in _REASONING_MARK.finditer(text):
        if mark[1]:
            # One that was never opened ends a reasoning part which the chat template began.
            kept = kept if thinking else []
            begin = mark.end()
            thinking = False
        elif not thinking:
            kept.append(text[begin : mark.start()])
            thinking = True
    if not thinking:
        kept.append(text[begin:])
    return thinking, "\n".join(part for part in kept if part.strip())


def _blocks(lines: list[str]) -> tuple[list[_Block], bool]:
    """All complete blocks in order, and whether a fence is open at the end."""
    found: list[_Block] = []
    here = 0
    while here < len(lines):
        fence = _opening(lines[here])
        here += 1
        if fence is None:
            continue
        end = _end(lines, here, fence)
        if end is None:
            block, rest = _glued(_Block(fence, lines[here:]))
            return [*found, *block], not block or any(map(_opening, rest))
        found.append(_Block(fence, [_without_indent(line, fence.indent) for line in lines[here:end]]))
        here = end + 1
    return found, False


def _opening(line: str) -> _Fence | None:
    match = _FENCE.match(line)
    if match:
        return _Fence(len(match[1]), match[2], match[3])
    # Models also write "Answer: ```python" on one line; without a Python tag that would be a guess.
    before, mark, tag = line.rpartition("```")
    if mark and "```" not in before and _PYTHON_TAG.fullmatch(tag.strip()):
        return _Fence(0, mark, tag.strip())
    return None


def _end(lines: list[str], begin: int, fence: _Fence) -> int | None:
    """Index of the line that closes a block whose first line is ``begin``, None if there is none.

    That is the first closing fence, or the first that is not inside a triple-quoted string of the program.
    """
    closings = _closings(lines, begin, fence)
    first = next(closings, None)
    if first is not None and _ends_in_string(lines[begin:first], fence):
        for later in itertools.islice(closings, _TRIED_CLOSINGS):
            if not _ends_in_string(lines[begin:later], fence):
                return later
    return first


def _closings(lines: list[str], begin: int, fence: _Fence) -> Iterator[int]:
    for index in range(begin, len(lines)):
        match = _CLOSING_FENCE.match(lines[index])
        if match and match[2].startswith(fence.mark) and len(match[1]) <= fence.indent + 3:
            yield index


def _ends_in_string(lines: list[str], fence: _Fence) -> bool:
    code = "\n".join(_without_indent(line, fence.indent) for line in lines)
    if code.count('"""') % 2 == 0 and code.count("'''") % 2 == 0:  # rarely true, and much cheaper than to parse
        return False
    tree = _parse(code)
    return isinstance(tree, str) and tree.startswith("unterminated triple-quoted")


def _glued(block: _Block) -> tuple[list[_Block], list[str]]:
    """A block that is closed by a fence at the end of a line of code, or none; and the lines after it."""
    for index, line in enumerate(block.lines):
        if line.rstrip().endswith(block.fence.mark):
            inner = [*block.lines[:index], line.rstrip().removesuffix(block.fence.mark)]
            lines = [_without_indent(item, block.fence.indent) for item in inner]
            return [_Block(block.fence, lines)], block.lines[index + 1 :]
    return [], []


def _without_indent(line: str, width: int) -> str:
    """``line`` without up to ``width`` leading blanks: a block in a list item is indented as a whole."""
    return line[min(width, len(line) - len(line.lstrip(" \t"))) :]


def _chosen(blocks: list[_Block], func_name: str | None) -> str | None:
    """The text of the last block that fits (see ``extract_code``)."""
    spare: str | None = None
    for block in reversed(blocks):
        text, tree = _program(block, func_name)
        if tree is None:
            continue
        if block.fence.tag or func_name is not None or _prints(tree):
            return text
        spare = spare or text
    return spare


def _program(block: _Block, func_name: str | None) -> tuple[str, ast.Module | None]:
    """The first reading of a block that parses, with its tree; the tree is None if there is none or it does not fit."""
    for lines in _readings(block):
        text = "\n".join(lines) + "\n"
        tree = _parse(text)
        if not isinstance(tree, str):
            fits = bool(tree.body) and (func_name is None or _defines(tree, func_name))
            return text, tree if fits else None
    return "", None


def _readings(block: _Block) -> Iterator[list[str]]:
    """The block's lines, then what they may be meant as: without a common indent (of a list item); from a Python fence
    inside on (the one before was never closed); up to a fence at the end of a line of code."""
    yield block.lines
    text = "\n".join(block.lines)
    dedented = textwrap.dedent(text)
    if dedented != text:
        yield dedented.split("\n")
    for index in range(len(block.lines) - 1, -1, -1):
        inner = _FENCE.match(block.lines[index])
        if inner and _PYTHON_TAG.match(inner[3]):
            yield block.lines[index + 1 :]
            break
    yield from (cut.lines for cut in _glued(_Block(_Fence(0, block.fence.mark, ""), block.lines))[0])


def _parse(code: str) -> ast.Module | str:
    """The tree of a program, or why it is none."""
    # The parser cannot be interrupted and is not linear everywhere: a megabyte of f"{x}{x}..." takes it a minute.
    if len(code) > _LONGEST_PROGRAM:
        return f"longer than {_LONGEST_PROGRAM} characters"
    try:
        return ast.parse(code)
    except SyntaxError as error:
        return error.msg
    except (ValueError, MemoryError, RecursionError) as error:  # ValueError: null bytes, lone surrogates
        return repr(error)


def _defines(tree: ast.Module, func_name: str) -> bool:
    """Whether the module defines ``func_name`` or a ``Solution`` that has or may inherit it."""
    for node in _statements(tree.body):
        names = _bound_names(node)
        if func_name in names:
            return True
        if not isinstance(node, ast.ClassDef):
            if "Solution" in names:
                return True
        elif node.name == "Solution" and (
            node.bases or any(func_name in _bound_names(item) for item in _statements(node.body))
        ):
            return True
    return False


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run in a scope: those of ``body`` and of its conditions, attempts and with-blocks."""
    pending = list(body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            pending += [item for item in ast.iter_child_nodes(node) if isinstance(item, ast.stmt)]


def _bound_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _prints(tree: ast.Module) -> bool:
    """Whether the program can write something: a condition for printing the right answer."""
    return any(
        (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and node.attr in ("write", "writelines"))
        for node in ast.walk(tree)
    )


def _whole_text(text: str, func_name: str | None) -> str | None:
    """``text`` if it is a program, None if it is not."""
    tree = _parse(text)
    if isinstance(tree, str):
        return None
    if func_name is not None:
        return text if _defines(tree, func_name) else None
    acts = (ast.Import, ast.ImportFrom, ast.For, ast.While, ast.FunctionDef, ast.ClassDef, ast.Call)
    return text if any(isinstance(node, acts) for node in ast.walk(tree)) else None
