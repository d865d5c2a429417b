"""Extract the program from a model's answer: the last complete fenced code block that is Python and fits the problem.

Fences are read line by line, as in Markdown. A fence opens with at least three backticks or tildes at the start of a
line. It is closed only by a line that contains nothing but at least as many of the same character, indented by at most
three more blanks. Backticks within a line of code or in a docstring therefore close nothing. If a block read this way
is not Python, some common mistakes of models are corrected (see ``_iter_readings``). Everything takes time linear in
the length of the answer, and blocks are parsed but never run.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

# Possessive quantifiers throughout: with backtracking, a line of 200 kB takes minutes.
_FENCE = re.compile(r"([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+([^\s`]*+)[^`]*+$")
# A tag of the chat format (</answer>, <|im_end|>) may directly follow the closing fence.
_CLOSING_FENCE = re.compile(r"([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+(?:<[^<>`\s]{1,40}+>[ \t]*+)*+$")
_PYTHON_TAG = re.compile(r"\{?\.?(?:python|pypy|py)[0-9.]*(?![a-z])", re.IGNORECASE)
# An opening tag counts only at the start of a line: code may contain the tag in a string.
_REASONING_TAG = re.compile(r"(?:^[ \t]*+<|<(/))(?:think|thinking|thought|reasoning)>", re.MULTILINE)
_MAX_PROGRAM_CHARS = 1 << 18  # characters; contest judges accept 64 KiB to 512 KiB
_MAX_CLOSINGS_TRIED = 8  # how many further closing fences to try if the first is inside a triple-quoted string


@dataclass(frozen=True)
class Extraction:
    """Result of extracting a program.

    Attributes:
        code: the program; None if no complete block fits.
        is_closed: False if the text ends inside an open fence or an unfinished reasoning section, even if an earlier
            block gave ``code``.
        blocks: number of complete fenced blocks in the answer, in any language.
    """

    code: str | None
    is_closed: bool
    blocks: int = 0

    @property
    def is_incomplete(self) -> bool:
        """True if the answer is cut off inside a fence or reasoning section, or contains neither a block nor a program.

        This is "incomplete" as in the truncation mask (arXiv 2603.07777 eq. 2). An answer whose complete block is not a
        valid program is complete, and wrong.
        """
        return not self.is_closed or (self.code is None and self.blocks == 0)


@dataclass(frozen=True)
class _Fence:
    """Opening fence.

    Attributes:
        indent: number of blanks before the fence.
        mark: the backticks or tildes.
        tag: the word after the mark, such as "python".
    """

    indent: int
    mark: str
    tag: str

    @property
    def is_python(self) -> bool:
        """True if the tag names Python."""
        return _PYTHON_TAG.match(self.tag) is not None


@dataclass(frozen=True)
class _Block:
    """Complete fenced block. ``lines`` are the lines between the fences, without the indent of the opening fence."""

    fence: _Fence
    lines: list[str]


def extract_code(response: str, func_name: str | None) -> Extraction:
    """Extract the program from ``response``.

    Reasoning sections are ignored, and so is everything before a ``</think>`` that has no opening tag. Candidates are
    the complete blocks that are untagged or tagged as Python and that parse. The last candidate wins.

    With ``func_name``, only blocks that define it (a method of ``Solution``, or a function) are candidates. Without it,
    an untagged block that cannot print is chosen only if no earlier candidate is tagged or can print: it is usually
    sample output (``3`` parses as Python too). A text without any fence is taken as a whole if it parses and either
    defines ``func_name`` or, without ``func_name``, has an effect (an import, a loop, a definition, a call): prose and
    literals are not programs.
    """
    in_reasoning, answer = _strip_reasoning("\n".join(line.rstrip("\r") for line in response.split("\n")))
    blocks, in_block = _find_blocks(answer.split("\n"))
    if not blocks and not in_block:
        code = None if in_reasoning else _accept_whole_text(answer, func_name)
    else:
        code = _choose_block([block for block in blocks if block.fence.is_python or not block.fence.tag], func_name)
    return Extraction(code, not in_block and not in_reasoning, len(blocks))


def _strip_reasoning(text: str) -> tuple[bool, str]:
    """Return (True if the text ends inside a reasoning section, text outside such sections)."""
    parts: list[str] = []
    begin = 0
    in_reasoning = False
    for tag in _REASONING_TAG.finditer(text):
        if tag[1]:
            # A closing tag without an opening tag ends a reasoning section that the chat template opened.
            parts = parts if in_reasoning else []
            begin = tag.end()
            in_reasoning = False
        elif not in_reasoning:
            parts.append(text[begin : tag.start()])
            in_reasoning = True
    if not in_reasoning:
        parts.append(text[begin:])
    return in_reasoning, "\n".join(part for part in parts if part.strip())


def _find_blocks(lines: list[str]) -> tuple[list[_Block], bool]:
    """Return all complete blocks in order, and whether a fence is open at the end."""
    blocks: list[_Block] = []
    index = 0
    while index < len(lines):
        fence = _parse_opening_fence(lines[index])
        index += 1
        if fence is None:
            continue
        end = _find_block_end(lines, index, fence)
        if end is None:
            block, rest = _close_at_line_end(_Block(fence, lines[index:]))
            return [*blocks, *block], not block or any(map(_parse_opening_fence, rest))
        blocks.append(_Block(fence, [_remove_indent(line, fence.indent) for line in lines[index:end]]))
        index = end + 1
    return blocks, False


def _parse_opening_fence(line: str) -> _Fence | None:
    match = _FENCE.match(line)
    if match:
        return _Fence(len(match[1]), match[2], match[3])
    # Models also write "Answer: ```python" on one line. Without a Python tag this would be a guess.
    before, mark, tag = line.rpartition("```")
    if mark and "```" not in before and _PYTHON_TAG.fullmatch(tag.strip()):
        return _Fence(0, mark, tag.strip())
    return None


def _find_block_end(lines: list[str], begin: int, fence: _Fence) -> int | None:
    """Return the index of the line that closes the block whose first line is ``begin``; None if there is none.

    This is the first closing fence or, if that one is inside a triple-quoted string of the program, the first one
    outside.
    """
    closings = _find_closing_fences(lines, begin, fence)
    first = next(closings, None)
    if first is not None and _ends_inside_string(lines[begin:first], fence):
        for later in itertools.islice(closings, _MAX_CLOSINGS_TRIED):
            if not _ends_inside_string(lines[begin:later], fence):
                return later
    return first


def _find_closing_fences(lines: list[str], begin: int, fence: _Fence) -> Iterator[int]:
    for index in range(begin, len(lines)):
        match = _CLOSING_FENCE.match(lines[index])
        if match and match[2].startswith(fence.mark) and len(match[1]) <= fence.indent + 3:
            yield index


def _ends_inside_string(lines: list[str], fence: _Fence) -> bool:
    code = "\n".join(_remove_indent(line, fence.indent) for line in lines)
    if code.count('"""') % 2 == 0 and code.count("'''") % 2 == 0:  # much cheaper than parsing, and usually sufficient
        return False
    tree = _parse(code)
    return isinstance(tree, str) and tree.startswith("unterminated triple-quoted")


def _close_at_line_end(block: _Block) -> tuple[list[_Block], list[str]]:
    """Close the block at the first fence at the end of a line of code.

    Returns the block, or no block if there is no such fence, and the lines after it.
    """
    for index, line in enumerate(block.lines):
        if line.rstrip().endswith(block.fence.mark):
            inner = [*block.lines[:index], line.rstrip().removesuffix(block.fence.mark)]
            lines = [_remove_indent(item, block.fence.indent) for item in inner]
            return [_Block(block.fence, lines)], block.lines[index + 1 :]
    return [], []


def _remove_indent(line: str, width: int) -> str:
    """Return ``line`` without up to ``width`` leading blanks, because a block in a list item is indented as a whole."""
    return line[min(width, len(line) - len(line.lstrip(" \t"))) :]


def _choose_block(blocks: list[_Block], func_name: str | None) -> str | None:
    """Return the text of the last block that fits (see ``extract_code``)."""
    fallback: str | None = None
    for block in reversed(blocks):
        text, tree = _parse_block(block, func_name)
        if tree is None:
            continue
        if block.fence.tag or func_name is not None or _can_print(tree):
            return text
        fallback = fallback or text
    return fallback


def _parse_block(block: _Block, func_name: str | None) -> tuple[str, ast.Module | None]:
    """Return the text and tree of the block or, if it does not parse, of its first corrected version that does.

    ``_iter_readings`` makes the corrected versions. The tree is None if none parses, or if the one that parses is empty
    or does not define ``func_name``.
    """
    for lines in _iter_readings(block):
        text = "\n".join(lines) + "\n"
        tree = _parse(text)
        if not isinstance(tree, str):
            fits = bool(tree.body) and (func_name is None or _has_function(tree, func_name))
            return text, tree if fits else None
    return "", None


def _iter_readings(block: _Block) -> Iterator[list[str]]:
    """Yield the lines of the block, then corrected versions of them.

    The corrections are, in order: remove the common indent (of a list item); start after the last Python fence inside
    (the fence before it was never closed); stop at a fence at the end of a line of code.
    """
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
    closed, _ = _close_at_line_end(_Block(_Fence(0, block.fence.mark, ""), block.lines))
    yield from (inner_block.lines for inner_block in closed)


def _parse(code: str) -> ast.Module | str:
    """Return the syntax tree of a program, or the reason why the code is not a program."""
    # The parser cannot be interrupted and is not always linear: a megabyte of f"{x}{x}..." takes a minute.
    if len(code) > _MAX_PROGRAM_CHARS:
        return f"longer than {_MAX_PROGRAM_CHARS} characters"
    try:
        return ast.parse(code)
    except SyntaxError as error:
        return error.msg
    except (ValueError, MemoryError, RecursionError) as error:  # ValueError: null bytes, lone surrogates
        return repr(error)


def _has_function(tree: ast.Module, func_name: str) -> bool:
    """Return True if the module defines ``func_name``, or a ``Solution`` class that has or may inherit it."""
    for node in _iter_statements(tree.body):
        names = _get_bound_names(node)
        if func_name in names:
            return True
        if not isinstance(node, ast.ClassDef):
            if "Solution" in names:
                return True
        elif node.name == "Solution" and (
            node.bases or any(func_name in _get_bound_names(item) for item in _iter_statements(node.body))
        ):
            return True
    return False


def _iter_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run in a scope: those of ``body`` and of its if, try and with blocks."""
    pending = list(body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            pending += [item for item in ast.iter_child_nodes(node) if isinstance(item, ast.stmt)]


def _get_bound_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def _can_print(tree: ast.Module) -> bool:
    """Return True if the program contains a call that can produce output, without which no printed answer is right."""
    return any(
        (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and node.attr in ("write", "writelines"))
        for node in ast.walk(tree)
    )


def _accept_whole_text(text: str, func_name: str | None) -> str | None:
    """Return ``text`` if it is a program, otherwise None."""
    tree = _parse(text)
    if isinstance(tree, str):
        return None
    if func_name is not None:
        return text if _has_function(tree, func_name) else None
    effects = (ast.Import, ast.ImportFrom, ast.For, ast.While, ast.FunctionDef, ast.ClassDef, ast.Call)
    return text if any(isinstance(node, effects) for node in ast.walk(tree)) else None
