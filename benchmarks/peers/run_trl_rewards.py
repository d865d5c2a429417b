"""Child process of ``benchmarks.rewards``: the training script of docs/rewards.md, in TRL's environment.

The request is ``dataclasses.asdict`` of ``rewards.ScriptRequest``. The result is TRL's log, a row per step.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.tools.processes import serve


@contextmanager
def open_session(request: dict[str, Any]) -> Iterator[Callable[[], list[dict[str, float]]]]:
    """Enter the folder of the script; the work is the script itself."""
    os.chdir(request["folder"])

    def work() -> list[dict[str, float]]:
        names = runpy.run_path(request["script"])
        log: list[dict[str, float]] = names["trainer"].state.log_history
        return log

    yield work


if __name__ == "__main__":
    serve(open_session)
