"""Log files of actors: each actor and the processes that it starts write to one file, which errors quote.

Without it, an engine's own error is in one of Ray's files on some node, and its actor only knows that it failed.
"""

from __future__ import annotations

import datetime
import logging
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from ray.exceptions import RayTaskError

from actors.failure_causes import find_cause
from actors.lifecycle import summarize_error
from evaluator.errors import RunFailed, UserError

log = logging.getLogger(__name__)

HEADER = "--- "
"""Begins the first line that a process writes: a restarted actor appends to the same file."""
TAIL_LINES = 40
TAIL_BYTES = 16_384
"""Number of bytes at the end of a log file in which its last lines are searched."""


def describe_death(error: BaseException, path: Path | None) -> str:
    """Describe in one line why an actor or its engine died, with the cause if it is known."""
    tail = read_tail(path)
    cause = find_cause(str(error)) or find_cause("\n".join(tail))
    where = f"; its log: {path}" if tail else ""
    return f"{summarize_error(error)}{f': {cause}' if cause else ''}{where}"


class ActorFailed(RunFailed, RuntimeError):
    """An actor could not start, died or raised an unexpected error; the message has the cause, if it is a known one."""


def get_log_path(folder: Path | None, actor: str) -> Path | None:
    """Return the log file of the actor with this name, such as "generator 0"; None without a folder."""
    return None if folder is None else folder / f"{actor.replace(' ', '_')}.log"


def redirect_output(path: Path | None) -> None:
    """Append what this process and its future children print to ``path``; no effect without one.

    If the file cannot be written on this node, the output stays where Ray puts it.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        log.warning("no log file here, see Ray's logs on this node (/tmp/ray/session_latest/logs): %s", error)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    os.write(2, f"{HEADER}{now} process {os.getpid()} on {socket.gethostname()}\n".encode())


def read_tail(path: Path | None) -> list[str]:
    """Return the last lines that the newest process wrote to a log file, without control characters.

    There are none if this node cannot read the file.
    """
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = ("".join(character for character in line if character.isprintable()) for line in text.splitlines())
    written: list[str] = []
    for line in lines:
        if line.startswith(HEADER):
            written.clear()
        elif line.strip():
            written.append(line)
    return written[-TAIL_LINES:]


def describe_failure(actor: str, error: BaseException, path: Path | None) -> str:
    """Describe the failure of an actor, in one sentence if the cause is known, else with the last lines of its log.

    Args:
        actor: name of the actor.
        error: what the call of the actor raised.
        path: log file of the actor.
    """
    tail = read_tail(path)
    summary = summarize_error(error)
    where = f"; its log: {path}" if tail else ""
    if cause := find_cause(str(error)) or find_cause("\n".join(tail)):
        return f"{actor}: {cause} ({summary}){where}"
    # Ray's text contains the actor's traceback; an actor that died has none.
    details = str(error) if isinstance(error, RayTaskError) else summary
    return "\n".join([f"{actor}: {details}{where}", *(f"  | {line}" for line in tail)])


def raise_actor_failed(actor: str, error: BaseException, path: Path | None) -> NoReturn:
    """Raise ``error`` itself if it is addressed to the user already, else ActorFailed with a description of it."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, UserError | RunFailed):
        raise error
    raise ActorFailed(describe_failure(actor, error, path)) from error
