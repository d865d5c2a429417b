"""Find the fenced code blocks of a model's answer, as Markdown defines them and as models really write them.

A fence is a run of at least three backticks or tildes. Covered, beyond Markdown's own rules:

- a fence line inside a triple-quoted string of Python code does not end the block;
- a closing fence may have text after it (a full stop, ``</answer>``, a sentence), or follow code on its line;
- a block that is never closed ends where a tagged fence opens the next one;
- a block in a block (````markdown around ```python) gives both, also if both fences have the same length;
- blocks in lists and quotations, which are indented or prefixed as a whole.

Not covered: code without a fence, and a last block that is never closed, because its end may be cut off. Everything
takes time linear in the length of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_NESTING = 3  # levels of blocks in blocks
# A block whose fences do not match is searched in vain: not too far, and not too often.
_MAX_FENCES_IN_WRAPPER = 100
_MAX_BROKEN_WRAPPERS = 8

_PYTHON = r"\{?\.?(?:language-|lang[:=])?(?:python|pypy|py)[0-9.]*(?![a-z])"
_PYTHON_TAG = re.compile(_PYTHON, re.IGNORECASE)
_UNKNOWN_TAG = re.compile(r"[a-z][\w+#-]*+(?:\.[a-z]{1,4}+)?+")  # "text", "solution.py", but not "Done" or "done."
_MARKDOWN_TAGS = frozenset({"markdown", "md", "mdx", "gfm", "commonmark"})
# Tags of blocks that are not Python even if they can be parsed as Python: console.log(x) is Python too.
_OTHER_LANGUAGES = frozenset(
    {
        *("ada", "asm", "assembly", "awk", "bash", "bat", "batch", "basic", "c", "c#", "c++", "cc", "clojure", "cmd"),
        *("cobol", "coffee", "coffeescript", "console", "cpp", "crystal", "cs", "csh", "csharp", "css", "csv", "cuda"),
        *("cxx", "d", "dart", "diff", "docker", "dockerfile", "dot", "elixir", "elm", "erlang", "f#", "fish"),
        *("fortran", "fsharp", "go", "golang", "graphql", "groovy", "h", "haskell", "hpp", "hs", "html", "ini", "java"),
        *("javascript", "js", "json", "jsonc", "jsonl", "jsx", "julia", "kotlin", "kt", "latex", "lisp", "lua"),
        *("makefile", "mathematica", "matlab", "mermaid", "nim", "objc", "objective-c", "ocaml", "octave", "pascal"),
        *("patch", "perl", "php", "plantuml", "powershell", "prolog", "proto", "ps1", "pycon", "pytb", "r", "racket"),
        *("rb", "regex", "rs", "ruby", "rust", "scala", "scheme", "sh", "shell", "shell-session", "sql", "swift"),
        *("terminal", "tex", "toml", "ts", "tsv", "tsx", "typescript", "v", "vb", "vba", "verilog", "vhdl", "xml"),
        *("yaml", "yml", "zig", "zsh", *_MARKDOWN_TAGS),
    }
)

# Possessive quantifiers throughout: with backtracking, a line of 200 kB takes minutes. A line opens a block if a fence
# is at its start, after tags such as <answer>, or if a fence with a Python tag is at its end ("Answer: ```python").
_OPENING = re.compile(
    rf"""
      ^(?P<indent>(?:[ \t]|>)*+)(?:<[^<>`\n]{{1,40}}+>[ \t]*+)*+
       (?P<mark>`{{3,}}+|~{{3,}}+)[ \t]*+(?P<tag>[^\s`]*+)[^`\n]*+$
    | ^(?P<before>(?:[^`\n]|(?<!`)`{{1,2}}+(?!`))*+)(?P<late_mark>`{{3}})[ \t]*+(?P<late_tag>{_PYTHON}[^\s`]*+)[ \t]*+$
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_FENCE_LINE = re.compile(r"^(?P<indent>(?:[ \t]|>)*+)(?P<mark>`{3,}+|~{3,}+)(?P<rest>[^\n]*+)$", re.MULTILINE)
# Tokens of Python code that may contain or hide a fence. A fence of tildes counts only at the start of a line.
_TOKEN = re.compile(
    r"""
      (?P<comment>\#[^\n]*+)
    | (?P<quotes>\"{3}|'{3})
    | "(?:[^"\\\n]|\\.)*+"?+
    | '(?:[^'\\\n]|\\.)*+'?+
    | \\.
    | ^(?:[ \t]|>)*+(?P<start_mark>`{3,}+|~{3,}+)(?P<rest>[^\n]*+)
    | (?P<mark>`{3,}+)(?P<late_rest>[^\n]*+)
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_STRING_END = {
    '"""': re.compile(r'(?:[^\\"]++|\\.|"(?!""))*+"""', re.DOTALL),
    "'''": re.compile(r"(?:[^\\']++|\\.|'(?!''))*+'''", re.DOTALL),
}
_QUOTE_PREFIX = re.compile(r"[ \t]*+(?:>[ \t]?)+")


@dataclass(frozen=True)
class Fence:
    """Opening fence.

    Attributes:
        indent: the blanks, and the > of quotations, before the fence.
        mark: the backticks or tildes.
        tag: the word after the mark, such as "python".
    """

    indent: str
    mark: str
    tag: str

    @property
    def is_python(self) -> bool:
        """True if the tag names Python."""
        return _PYTHON_TAG.match(self.tag) is not None

    @property
    def is_other_language(self) -> bool:
        """True if the tag names another language."""
        return _clean_tag(self.tag) in _OTHER_LANGUAGES

    @property
    def is_markdown(self) -> bool:
        """True if the tag names Markdown."""
        return _clean_tag(self.tag) in _MARKDOWN_TAGS


@dataclass(frozen=True)
class Block:
    """Complete fenced block.

    Attributes:
        fence: its opening fence.
        text: what stands between the fences, without the indent of the opening fence.
        inner: the blocks in ``text``. If it is Python, they are in its strings.
    """

    fence: Fence
    text: str
    inner: list[Block]

    def flatten(self) -> list[Block]:
        """Return the blocks in this block, at every level, and then this block."""
        return [*(block for inner in self.inner for block in inner.flatten()), self]


@dataclass(frozen=True)
class _End:
    """End of a block: where its text ends, and where the search for the next block starts."""

    text_end: int
    resume: int


def find_blocks(text: str, level: int = 0) -> tuple[list[Block], bool]:
    """Return all complete blocks of a text in order, and whether a block is open at its end."""
    blocks: list[Block] = []
    broken_wrappers = 0
    position = 0
    while opening := _OPENING.search(text, position):
        if opening["mark"]:
            fence = Fence(opening["indent"], opening["mark"], opening["tag"])
        else:
            fence = Fence("", opening["late_mark"], opening["late_tag"])
        begin = min(opening.end() + 1, len(text))
        end: _End | None = None
        if broken_wrappers < _MAX_BROKEN_WRAPPERS and (fence.is_markdown or _starts_with_tagged_fence(text, begin)):
            end = _find_wrapper_end(text, begin, fence)
            broken_wrappers += end is None
        if end is None:
            end = (_find_plain_end if fence.is_other_language else _find_code_end)(text, begin, fence)
        if end is None:
            return blocks, True
        lines = text[begin : max(begin, end.text_end)].split("\n")
        content = "\n".join(_remove_indent(line, fence.indent) for line in lines)
        has_fences = "```" in content or "~~~" in content
        inner = find_blocks(content, level + 1)[0] if has_fences and level < _MAX_NESTING else []
        blocks.append(Block(fence, content, inner))
        position = end.resume
    return blocks, False


def _remove_indent(line: str, indent: str) -> str:
    """Return ``line`` without as many blanks as ``indent`` has, and without the > of a quotation if that has any."""
    if ">" in indent:
        prefix = _QUOTE_PREFIX.match(line)
        return line[prefix.end() :] if prefix else line
    return line[min(len(indent), len(line) - len(line.lstrip(" \t"))) :]


def _starts_with_tagged_fence(text: str, begin: int) -> bool:
    """Return True if the first line of the block opens another one."""
    first = _FENCE_LINE.match(text, _skip_blank_lines(text, begin))
    return first is not None and _is_tag(first["rest"])


def _skip_blank_lines(text: str, begin: int) -> int:
    """Return the start of the first line from ``begin`` on that is not blank."""
    while (end := text.find("\n", begin)) >= 0 and not text[begin:end].strip():
        begin = end + 1
    return begin


def _is_tag(rest: str) -> bool:
    """Return True if the text after a fence is a tag, so that the fence opens a block.

    Any other text follows a fence that closes one.
    """
    words = rest.split()
    if not words:
        return False
    tag = _clean_tag(words[0])
    is_known = tag in _OTHER_LANGUAGES or _PYTHON_TAG.match(words[0]) is not None
    if len(words) > 1:
        return words[0].startswith("{") or "=" in words[1] or (is_known and not rest[0].isspace())
    return is_known or (not rest[0].isspace() and _UNKNOWN_TAG.fullmatch(words[0]) is not None)


def _clean_tag(tag: str) -> str:
    return tag.lower().strip("{}.").removeprefix("language-")


def _iter_fence_lines(text: str, begin: int, fence: Fence) -> Iterator[re.Match[str]]:
    """Yield the lines from ``begin`` on that start with a fence like ``fence``, or a longer one."""
    for line in _FENCE_LINE.finditer(text, begin):
        if line["mark"].startswith(fence.mark):
            yield line


def _find_wrapper_end(text: str, begin: int, fence: Fence) -> _End | None:
    """Return the end of a block that contains others, by counting; None if the fences in it do not match."""
    depth = 1
    for number, line in enumerate(_iter_fence_lines(text, begin, fence)):
        depth += 1 if _is_tag(line["rest"]) else -1
        if depth == 0:
            return _End(line.start() - 1, line.end())
        if number == _MAX_FENCES_IN_WRAPPER:
            break
    return None


def _find_plain_end(text: str, begin: int, fence: Fence) -> _End | None:
    """Return the end of a block in another language: the next fence, or else a fence at the end of a line."""
    for line in _iter_fence_lines(text, begin, fence):
        return _end_at_line(line, line["rest"])
    late = re.compile(rf"(?<!{fence.mark[0]}){fence.mark}[ \t]*+$", re.MULTILINE).search(text, begin)
    return None if late is None else _End(late.start(), late.end())


def _end_at_line(line: re.Match[str], rest: str) -> _End:
    """Return the end of a block at a fence line. If that opens another block, the search goes on at the line itself."""
    return _End(line.start() - 1, line.start() if _is_tag(rest) else line.end())


def _find_code_end(text: str, begin: int, fence: Fence) -> _End | None:
    """Return the end of a block that may be Python: the first fence outside of strings and comments.

    Python has no operator of three backticks, so such a fence ends the code wherever it stands.
    """
    position = begin
    in_comment: _End | None = None  # "x = 1  # as above```" counts if no other fence ends the block
    while token := _TOKEN.search(text, position):
        position = token.end()
        if token["quotes"]:
            string_end = _find_string_end(text, token)
            if string_end is None:
                return _find_strict_end(text, begin, fence)
            position = string_end
        elif token["comment"]:
            if in_comment is None and token["comment"].rstrip().endswith(fence.mark):
                in_comment = _End(token.start() + len(token["comment"].rstrip()) - len(fence.mark), token.end())
        elif (token["start_mark"] or "").startswith(fence.mark):
            return _end_at_line(token, token["rest"])
        elif (token["mark"] or "").startswith(fence.mark):
            # "Or: ```python" opens the next block.
            line_start = max(begin, text.rfind("\n", 0, token.start()) + 1)
            return _End(token.start(), line_start if _is_tag(token["late_rest"]) else token.end())
        elif token["mark"] or token["start_mark"]:
            position = token.end("mark" if token["mark"] else "start_mark")  # shorter, or of the other character
    return in_comment


def _find_string_end(text: str, quotes: re.Match[str]) -> int | None:
    """Return the end of a triple-quoted string; None if it is unterminated.

    It is so too if it contains a closing fence and then an opening one: the quotes that seem to end it are of the next
    block.
    """
    end = _STRING_END[quotes["quotes"]].match(text, quotes.end())
    if end is None:
        return None
    is_open = False
    for line in _FENCE_LINE.finditer(text, quotes.end(), end.end()):
        is_tagged = _is_tag(line["rest"])
        if is_tagged and is_open:
            return None
        is_open = not is_open
    return end.end()


def _find_strict_end(text: str, begin: int, fence: Fence) -> _End | None:
    """Return the end of a block whose strings are broken: the next fence line that is not indented much further."""
    for line in _iter_fence_lines(text, begin, fence):
        if len(line["indent"]) <= len(fence.indent) + 3:
            return _end_at_line(line, line["rest"])
    return None
