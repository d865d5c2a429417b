"""Lone surrogates in texts: JSON can represent them, but UTF-8, and so most files, terminals and tokenizers, cannot."""

from __future__ import annotations


def is_unicode(text: str) -> bool:
    """Return True if the text has no lone surrogate.

    >>> is_unicode("é"), is_unicode("\\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escape_surrogates(text: str) -> str:
    r"""Replace lone surrogates by backslash escapes, for files and terminals that people read.

    >>> print(escape_surrogates("a\ud800é"))
    a\ud800é
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates by U+FFFD, for texts that a model reads.

    >>> replace_surrogates("a\\ud800é"), replace_surrogates("a\U0001f600")
    ('a\ufffdé', 'a\U0001f600')
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
