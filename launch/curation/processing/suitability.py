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


def find_unsuitable(statement: str) -> tuple[str, str] | None:
    """Return the reason, as in ``Dropped.reason``, and an explanation; None for a suitable statement.

    An image before the examples may hold what the text does not say (in CodeContests, often a formula). One in an
    example or a note illustrates only.

    >>> find_unsuitable("Compute <image>.")[0], find_unsuitable("Add.\\n\\nNote\\n\\n<image>")
    ('image', None)
    """
    if match := _INTERACTIVE.search(statement):
        return "interactive", f"the statement says: {match[0].strip()}"
    if match := _IMAGE.search(statement, 0, find_examples_start(statement)):
        return "image", f"the statement needs an image: {match[0][:200]}"
    return None


def remove_images(statement: str) -> str:
    """Return the statement without marks of images."""
    return _IMAGE.sub("", statement)
