"""Output of views: text for people, or one JSON object for programs."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from launch.run_report.run_files import read_run_files
from launch.run_report.text_views.items import Item
from launch.run_report.text_views.json_output import dump_views


def show_items(run: Path, items: Sequence[Item], output_format: Literal["text", "json"]) -> None:
    """Print views of a run to standard output. Raises UserError, before anything is printed.

    Args:
        run: run directory.
        items: items of ``show``.
        output_format: text for people, or JSON.
    """
    files = read_run_files(run)
    views = {item.text: item.make(files) for item in items}
    if output_format == "json":
        print(dump_views(views))
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an ASCII terminal cannot show every character
    console = Console(highlight=False, markup=False, emoji=False)
    for position, view in enumerate(views.values()):
        if position:
            console.print()
        console.print(view.render())
