"""Output file of the scoring command: verdicts, one JSON object per line."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from evaluator.errors import RunFailed, UserError
from evaluator.score.inputs import Submission, get_error_reason
from evaluator.verdict import Verdict

DETAIL_LENGTH = 200  # maximum number of characters


def build_verdict_row(submission: Submission, verdict: Verdict) -> dict[str, Any]:
    """Return the row of V.jsonl for a verdict (docs/formats.md)."""
    detail = verdict.detail
    return {
        "question_id": submission.question_id,
        "index": submission.index,
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
    """Output file of verdicts.

    The file is opened immediately, so that an impossible path fails early, but only ``begin`` empties it. Each row is
    one line, passed to the kernel in one piece as soon as it exists, so a killed process loses no row and a full disk
    leaves no partial line. Raises UserError if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._begun = False
        self._created = False
        self._size = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            try:
                self._file = os.open(self._path, flags | os.O_EXCL, 0o666)
                self._created = True
            except FileExistsError:
                self._file = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise UserError(f"--out {self._path}: {get_error_reason(error)}") from error
        self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)

    def __enter__(self) -> VerdictFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)
        if self._created and not self._begun:
            self._path.unlink(missing_ok=True)  # an empty file would look like a result

    def begin(self) -> None:
        """Empty the file before the first row."""
        self._begun = True
        self._truncate()

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one complete row, or nothing. Raises RunFailed."""
        line = json.dumps(row).encode() + b"\n"
        remaining = memoryview(line)
        try:
            while remaining:
                remaining = remaining[os.write(self._file, remaining) :]
        except BaseException as error:  # including a signal that arrives between two parts of a line
            self._truncate()
            if isinstance(error, OSError):
                raise RunFailed(f"--out {self._path}: {get_error_reason(error)}") from error
            raise
        self._size += len(line)
        self.rows += 1

    def _truncate(self) -> None:
        if self._regular:
            os.ftruncate(self._file, self._size)
