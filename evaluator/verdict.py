"""Verdict on one program: a status, test counts, the comparison strategy that accepted it, the first failed test."""

from __future__ import annotations

import enum
from dataclasses import dataclass

MAX_TEXT_BYTES = 2048
"""Size of each text of a ``FailedTest``, in bytes of UTF-8."""
_MARKER_BYTES = 40  # more than the marker of a text that was cut can take


class Status(enum.StrEnum):
    """Result of judging a program. Do not score ``sandbox_error``: it is the evaluator's failure, not the program's."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong_answer"
    RUNTIME_ERROR = "runtime_error"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    COMPILE_ERROR = "compile_error"
    NO_CODE = "no_code"
    SANDBOX_ERROR = "sandbox_error"


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedTest:
    """Texts of a failed test, each cut by ``cut_text``.

    Attributes:
        input: standard input, or the arguments of the call as one JSON value per line.
        expected: expected output.
        actual: the program's output or returned value, also incomplete output of a program that was stopped or crashed;
            None if there is none.
    """

    input: str
    expected: str
    actual: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Verdict on one program for one problem.

    Attributes:
        status: the decisive result.
        tests_passed: number of tests passed.
        tests_run: number of tests started.
        tests_total: number of tests of the problem.
        first_failed: index of the first failed test in ``Problem.tests``; None if no test failed.
        accepted_by: loosest comparison strategy that any passed test needed; None unless the program passed.
        seconds: wall time of the whole evaluation.
        detail: explanation for a reader.
        failed_test: texts of test ``first_failed``; None if that is None, or the status is ``sandbox_error``.
    """

    status: Status
    tests_passed: int
    tests_run: int
    tests_total: int
    first_failed: int | None
    accepted_by: str | None
    seconds: float
    detail: str
    failed_test: FailedTest | None = None

    @property
    def passed(self) -> bool:
        """True if every test passed: the 0/1 reward."""
        return self.status is Status.PASSED


def build_verdict_without_tests(status: Status, detail: str, tests_total: int = 0, seconds: float = 0.0) -> Verdict:
    """Return the verdict on a program of which no test was run."""
    return Verdict(
        status=status,
        tests_passed=0,
        tests_run=0,
        tests_total=tests_total,
        first_failed=None,
        accepted_by=None,
        seconds=seconds,
        detail=detail,
    )


def cut_text(text: str, more_bytes: int = 0) -> str:
    r"""Escape lone surrogates, and cut the text to ``MAX_TEXT_BYTES`` bytes of UTF-8, with a marker at its end.

    The marker is part of the ``MAX_TEXT_BYTES`` bytes. It counts bytes of UTF-8, after escaping.

    Args:
        text: text to cut.
        more_bytes: number of bytes that follow the text, which are not passed here.

    >>> cut_text("a\ud800é")
    'a\\ud800é'
    >>> cut_text("x" * 2048) == "x" * 2048, cut_text("x" * 2049)[2000:]
    (True, 'xxxxxxxx… (41 more bytes)')
    """
    # Each character takes at least a byte, so these are enough to know whether the text must be cut.
    start = text[: MAX_TEXT_BYTES + 1].encode("utf-8", "backslashreplace")
    if len(start) + more_bytes <= MAX_TEXT_BYTES:
        return start.decode()
    total_bytes = more_bytes + (len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace")))
    kept = start[: MAX_TEXT_BYTES - _MARKER_BYTES].decode("utf-8", "ignore")  # drops a part of a character at the end
    return f"{kept}… ({total_bytes - len(kept.encode())} more bytes)"
