"""The scoring command's output: a file of verdicts, one JSON object a line."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from evaluator.errors import RunFailed, UserError
from evaluator.score.inputs import Options, Task, reason_of
from evaluator.verdict import Verdict

DETAIL_LENGTH = 200  # characters


def verdict_row(task: Task, verdict: Verdict) -> dict[str, Any]:
    """The row of V.jsonl (docs/formats.md)."""
    detail = verdict.detail
    return {
        "question_id": task.problem.question_id,
        "index": task.index,
        "passed": verdict.passed,
        "status": str(verdict.status),
        "tests_passed": verdict.tests_passed,
        "tests_run": verdict.tests_run,
        "tests_total": verdict.tests_total,
        "first_failed": verdict.first_failed,
        "accepted_by": verdict.accepted_by,
        "seconds": round(verdict.seconds, 4),
        "detail": detail if len(detail) <= DETAIL_LENGTH else detail[: DETAIL_LENGTH - 3] + "...",
    }


class VerdictFile:
    """The file of verdicts: opened at once, so that an impossible name is known early, but emptied by ``begin`` only.

    Rows are whole lines, each handed to the kernel by one write as soon as it is there: what another process kills
    needs no flush, and a full disk leaves no half line. Raises UserError when the file cannot be opened.
    """

    def __init__(self, options: Options) -> None:
        self.rows = 0
        self._path = options.out
        self._begun = False
        self._created = False
        self._size = 0
        try:
            for path in (options.problems, options.solutions):
                if self._path.exists() and path.exists() and self._path.samefile(path):
                    raise ValueError("would overwrite an input")
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            try:
                self._file = os.open(self._path, flags | os.O_EXCL, 0o666)
                self._created = True
            except FileExistsError:
                self._file = os.open(self._path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise UserError(f"--out {self._path}: {reason_of(error)}") from error
        self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)

    def __enter__(self) -> VerdictFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)
        if self._created and not self._begun:
            self._path.unlink(missing_ok=True)  # an empty file would look like a result

    def begin(self) -> None:
        """Empty the file."""
        self._begun = True
        self._truncate()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row, or nothing. Raises RunFailed."""
        line = json.dumps(row).encode() + b"\n"
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except BaseException as error:  # also the signal that comes between two parts of a line
            self._truncate()
            if isinstance(error, OSError):
                raise RunFailed(f"--out {self._path}: {reason_of(error)}") from error
            raise
        self._size += len(line)
        self.rows += 1

    def _truncate(self) -> None:
        if self._regular:
            os.ftruncate(self._file, self._size)
