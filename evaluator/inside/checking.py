"""Run a problem's own checker on answers, in the sandbox, in a process without any candidate.

    owner ──standard input: sizes, then three texts for each check──► run_checks ──one line for each check──► owner

The checker is a program of the problem's author: it may raise, exit, print, or read standard input. Lines are written
to a descriptor of their own, so whatever it prints is no result. The texts are sent as they are, because an answer of
megabytes would be several times as large as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

from evaluator.inside.functional import RECURSION_LIMIT, describe_error, load_prelude
from evaluator.inside.values import from_tagged_text

Check = tuple[str, str, str]
"""Input of a test, answer, and expected output."""

LOADED = "loaded"  # first line, written after the checker's top level has run
ACCEPTED = "accepted"
REJECTED = "rejected"
FAILED = "failed"
MAX_REASON = 500  # characters


class InvalidResultError(TypeError):
    """Error for a result of ``check`` that is neither a boolean nor a pair of a boolean and a message."""


def encode_checks(checks: Sequence[Check]) -> bytes:
    """Encode checks as standard input of ``run_checks``. Lone surrogates are kept."""
    texts = [text.encode("utf-8", "surrogatepass") for check in checks for text in check]
    return b"".join([" ".join(map(str, map(len, texts))).encode(), b"\n", *texts])


def run_checks(code: str, values: Literal["json", "python"] | None) -> NoReturn:
    """Load the checker, run it on the checks on standard input, write a line for each, and end the process.

    Args:
        code: source that defines ``check(inp, out, exp)``.
        values: None for standard-input problems: ``check`` gets the texts unchanged. For functional problems, the
            encoding of values, "json" or "python" (tagged JSON): ``check`` gets the list of arguments, the returned
            value and the expected value.
    """
    results = os.dup(1)
    source = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        check = load_check(code, load_prelude().main)
    except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt are failures too
        write_line(results, FAILED, describe_error(error))
        os._exit(0)
    write_line(results, LOADED, "")
    sizes = list(map(int, source.readline().split()))
    for start in range(0, len(sizes), 3):
        inp, out, exp = (source.read(size).decode("utf-8", "surrogatepass") for size in sizes[start : start + 3])
        try:
            accepted, message = interpret_result(check(*read_arguments(inp, out, exp, values)))
        except BaseException as error:  # noqa: BLE001 - as above
            write_line(results, FAILED, describe_error(error))
        else:
            write_line(results, ACCEPTED if accepted else REJECTED, message)
    os._exit(0)


def load_check(code: str, names: dict[str, Any]) -> Callable[..., object]:
    """Run the checker's top level in the namespace ``names``, and return its ``check``."""
    exec(compile(code, "checker.py", "exec", dont_inherit=True), names)
    check: Callable[..., object] = names["check"]
    return check


def read_arguments(inp: str, out: str, exp: str, values: Literal["json", "python"] | None) -> tuple[Any, Any, Any]:
    """Return the arguments of ``check``, decoded anew for each call, because a check may modify them."""
    if values is None:
        return inp, out, exp
    decode = from_tagged_text if values == "python" else json.loads
    return [decode(line) for line in inp.split("\n") if line.strip()], decode(out), decode(exp)


def interpret_result(result: Any) -> tuple[bool, str]:
    """Return the decision and the message of a result of ``check``. Raises InvalidResultError.

    Accepted are True, False, their counterparts in numpy, and a tuple of one of these and a message. A number is not: 0
    means success for some checkers and failure for others.

    >>> interpret_result(True), interpret_result((False, "too long"))
    ((True, ''), (False, 'too long'))
    """
    decision, message = result if isinstance(result, tuple) and len(result) == 2 else (result, "")
    numpy = sys.modules.get("numpy")
    if not (isinstance(decision, bool) or (numpy is not None and isinstance(decision, numpy.bool_))):
        raise InvalidResultError(f"check returned {result!r:.100}; expected True, False or (True or False, message)")
    return bool(decision), "" if message is None else str(message)


def write_line(descriptor: int, outcome: str, reason: str) -> None:
    """Write one line of ASCII: the outcome, and a reason whose white space is collapsed."""
    line = f"{outcome} {' '.join(reason.split())[:MAX_REASON]}"
    os.write(descriptor, line.rstrip().encode("ascii", "backslashreplace") + b"\n")
