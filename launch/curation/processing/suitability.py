"""Problems that no program can be trained on here: interactive ones, and those whose statement needs an image."""

from __future__ import annotations

import re

from launch.curation.processing.examples import find_examples_start

_INTERACTIVE = re.compile(
    r"\bthis is an? (?:[\w-]+ )?interactive (?:problem|task)|^[ \t#*-]*interaction(?: protocol)?[ \t*:#-]*$"
    r"|\bflush (?:your|the) output\b|\bfflush\(stdout\)",
    re.IGNORECASE | re.MULTILINE,
)
_IMAGE = re.compile(
    r"<image>|!\[[^\]\n]*\]\([^)\n]*\)|\[(?:image|figure|img)\]|\\includegraphics(?:\[[^\]]*\])?\{[^}]*\}",
    re.IGNORECASE,
)


_CONTEXT = 1000  # characters before and after an image that are looked at
_DESCRIPTION = 150  # characters after an image in which it is described
_ILLUSTRATION = re.compile(r"\bexamples?\b|\billustrat|\bfor instance\b", re.IGNORECASE)
_REFERENCE = re.compile(
    r"\b(?:image|picture|figure|diagram|drawing|sketch|scheme|map|shown|depicted|see|below)\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?][)\"'”’*_$]*\Z")


def find_unsuitable(statement: str) -> tuple[str, str] | None:
    """Return the reason, as in ``Dropped.reason``, and an explanation; None for a suitable statement.

    An image may hold what the text does not say: a formula in a sentence, or what the sentence before it announces.
    Other images illustrate: an example, a sentence that is complete, or, in examples and notes, anything.

    >>> find_unsuitable("Compute <image>.")[0], find_unsuitable("Add.\\n\\nNote\\n\\n<image>")
    ('image', None)
    """
    if match := _INTERACTIVE.search(statement):
        return "interactive", f"the statement says: {match[0].strip()}"
    for match in _IMAGE.finditer(statement, 0, find_examples_start(statement)):
        if not _is_illustration(statement, match):
            return "image", f"the statement needs an image: {match[0][:200]}"
    return None


def _is_illustration(statement: str, image: re.Match[str]) -> bool:
    """Return True for an image that stands between sentences which are complete without it."""
    before = _IMAGE.sub("", statement[: image.start()][-_CONTEXT:]).rstrip(" |\t")
    after = _IMAGE.sub("", statement[image.end() :][:_CONTEXT]).lstrip(" |\t")
    text_before = before.rstrip(" |\t\n")
    sentence = re.split(r"[.!?]\s", text_before)[-1]
    follows_sentence = not text_before or _SENTENCE_END.search(text_before) is not None
    if not (before.endswith("\n") or follows_sentence) or re.match(r"[a-z,.;:]", after):
        return False
    if _ILLUSTRATION.search(sentence) or _ILLUSTRATION.search(after[:_DESCRIPTION]):
        return True
    return follows_sentence and _REFERENCE.search(sentence) is None


def remove_images(statement: str) -> str:
    """Return the statement without marks of images."""
    return _IMAGE.sub("", statement)
