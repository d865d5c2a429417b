"""Highlighting of Python programs by Pygments, as lengths and classes instead of HTML.

The pages build elements from them, so that no text of a model is ever parsed as HTML.
"""

from __future__ import annotations

from functools import lru_cache

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

CLASSES = (
    (Comment, 1),
    (Keyword, 2),
    (Operator.Word, 2),
    (String, 3),
    (Number, 4),
    (Name.Function, 5),
    (Name.Class, 5),
    (Name.Builtin, 6),
    (Name.Exception, 6),
)
"""Token types with the number of their class in report.css; the others have class 0."""
LEXER = PythonLexer()
CACHED_PROGRAMS = 4096
"""Early in a run many completions of a group are the same program."""


def count_utf16(text: str) -> int:
    """Return the length of a text in JavaScript.

    >>> count_utf16("aé"), count_utf16("\U0001f600")
    (2, 2)
    """
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


@lru_cache(CACHED_PROGRAMS)
def highlight_python(code: str) -> tuple[int, ...]:
    """Return the classes of a program's parts as [length, class, length, class, ...], lengths as in JavaScript.

    >>> highlight_python("x = 1")
    (4, 0, 1, 4)
    """
    parts: list[int] = []
    # Not get_tokens, which replaces "\r\n" and drops a byte order mark, so that later lengths would be wrong.
    for _, kind, text in LEXER.get_tokens_unprocessed(code):
        number = _find_class(kind)
        length = count_utf16(text)
        if parts and (parts[-1] == number or text.isspace()):
            parts[-2] += length
        else:
            parts += [length, number]
    return tuple(parts)


@lru_cache(None)
def _find_class(kind: _TokenType) -> int:
    return next((number for parent, number in CLASSES if kind in parent), 0)
