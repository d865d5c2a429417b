"""Text for a terminal: escaped, abbreviated, and written whatever the terminal's encoding is."""

from __future__ import annotations

import contextlib
import os
import sys

from evaluator.errors import RunFailed

MAX_LINES = 8
MAX_LINE_LENGTH = 160


def escape(text: str) -> str:
    """Replace characters that are not printable, such as control characters and lone surrogates, by escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def format_excerpt(text: str, line: int = 0, column: int = 0) -> list[str]:
    """Return escaped lines of ``text``: all of a short text, otherwise those around a position.

    Args:
        text: the text.
        line: index of the line to show.
        column: index of the character in that line to show.
    """
    lines = text.removesuffix("\n").split("\n")
    first = max(0, min(line - MAX_LINES // 2, len(lines) - MAX_LINES))
    shown = [
        shorten_line(content, column if number == line else 0)
        for number, content in enumerate(lines[first : first + MAX_LINES], first)
    ]
    if first:
        shown.insert(0, f"... {first} lines before")
    if (after := len(lines) - first - MAX_LINES) > 0:
        shown.append(f"... {after} lines after")
    return shown


def shorten_line(line: str, column: int = 0) -> str:
    """Return the escaped text of a line: all of a short one, otherwise the part around ``column``."""
    first = max(0, min(column - MAX_LINE_LENGTH // 2, len(line) - MAX_LINE_LENGTH))
    before = f"({first} characters before) ... " if first else ""
    after = len(line) - first - MAX_LINE_LENGTH
    end = f" ... ({after} characters after)" if after > 0 else ""
    return f"{before}{escape(line[first : first + MAX_LINE_LENGTH])}{end}"


def find_difference(expected: str, actual: str) -> tuple[int, int]:
    """Return line and column of the first difference; (0, 0) without one."""
    pairs = zip(expected.split("\n"), actual.split("\n"), strict=False)
    for number, (expected_line, actual_line) in enumerate(pairs):
        if expected_line != actual_line:
            columns = zip(expected_line, actual_line, strict=False)
            equal = next((column for column, (a, b) in enumerate(columns) if a != b), None)
            return number, min(len(expected_line), len(actual_line)) if equal is None else equal
    return (0, 0) if expected == actual else (min(expected.count("\n"), actual.count("\n")) + 1, 0)


def write_stderr(text: str) -> None:
    """Write to standard error. A terminal that was closed, as after SIGHUP, must not stop the writing of verdicts."""
    if sys.stderr is not None:  # it is None if the process was started without
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def print_note(text: str) -> None:
    """Write one line of a message, which may contain text of the input files, to standard error."""
    write_stderr(f"score: {escape(text)}\n")


def print_result(text: str, what: str) -> None:
    """Print ``text``, called ``what`` in the message of an error, to standard output.

    That a reader closed the pipe, as ``head`` does, is no error. Raises RunFailed for any other.
    """
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        # Otherwise Python would flush stdout again at exit and report a second error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise RunFailed(f"{what} cannot be printed to standard output: {error}") from error
