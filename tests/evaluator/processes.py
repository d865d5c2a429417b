"""Process tree of this host, read from /proc."""

import os
from pathlib import Path


def read_process_stat(pid: int) -> tuple[str, int] | None:
    """Return the state letter and the parent's id of process ``pid``, or None if it does not exist."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return state, int(parent)


def is_alive(pid: int) -> bool:
    """Return whether process ``pid`` exists and is not a zombie."""
    stat = read_process_stat(pid)
    return stat is not None and stat[0] not in "ZX"


def find_descendants(root: int | None = None) -> set[int]:
    """Return the ids of all processes below process ``root`` (default: this process)."""
    root = os.getpid() if root is None else root
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := read_process_stat(int(name))) is not None:
            parents[int(name)] = stat[1]
    processes: set[int] = set()
    generation = {root}
    while generation := {pid for pid, parent in parents.items() if parent in generation} - processes:
        processes |= generation
    return processes - {root}  # ids may be reused while /proc is read
