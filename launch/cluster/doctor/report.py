"""Text of an examination: a line for each check, and what to do where something is missing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from launch.cluster.doctor.checks import Check
from launch.command import print_line

STYLES = {"ok": None, "missing": "red", "note": "yellow"}


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """Print each check as ``state  node  subject: detail``, and its remedy below it."""
    width = max(len("all nodes"), *(len(check.node) for check in checks))
    for check in checks:
        print_line(
            console, f"{check.state:8} {check.node:{width}} {check.subject}: {check.detail}", STYLES[check.state]
        )
        if check.remedy:
            print_line(console, f"{'':8} {'':{width}} do: {check.remedy}", STYLES[check.state])
