"""Untrusted text for the terminal, such as messages that quote what a program or a model wrote."""

from __future__ import annotations

import unicodedata

from evaluator.score.terminal import escape


def escape_control_characters(text: str, keep: str = "") -> str:
    r"""Replace every character that could change what a terminal shows by a visible escape such as ``\x1b``.

    These are all characters that are not printable: C0 and C1 controls with ESC, line breaks and tabs, characters that
    change the direction of the text, other invisible ones, unassigned ones, and lone surrogates. Spaces of other
    scripts stay.

    Args:
        text: any text.
        keep: characters to leave as they are: a newline and a tab where ``text`` may have several lines. Without them
            the result is one line, so that a quoted text cannot imitate lines of our own.
    """
    if text.isprintable():
        return text
    return "".join(char if char in keep or unicodedata.category(char) == "Zs" else escape(char) for char in text)
