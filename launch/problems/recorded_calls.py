"""Conversion of published test code into tests: run it once with the reference solution and record every call.

    reference + tests ──► sandbox: record every call ──► arguments, the reference's result ──► functional tests

A candidate is then judged by its results like any other program, and never sees the published tests or the expected
results. Comparing results is sufficient for asserts of equality. For an assert that requires less than equality (a
tolerance, a truth value, any root of an equation), a custom checker runs the published tests themselves with the
candidate's result in place of the call, in a sandbox without the candidate.
"""

from __future__ import annotations

import ast
import json
import signal
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evaluator.inside.published import Published
from evaluator.problem import ProblemError, ProblemTest
from evaluator.sandbox import BudgetExceeded, CompileError, Limits, ProcessResult, Sandbox, SandboxError

LIMITS = Limits(wall_s=20.0, cpu_s=10.0, memory_mb=2048, budget_s=3600.0)  # of one reference with all its tests
MAX_CALL_BYTES = 1 << 20  # arguments and result of one call, as text; a worker holds several copies of them

# The recording is the last line of standard output, since the reference and the tests may print as well.
_RECORDER = """
import json, sys
from dataclasses import asdict
from evaluator.inside.published import Published, record

job = json.load(sys.stdin)
recording = asdict(record(Published(**job["published"]), job["inputs"], job["contract"], job["truth"]))
print()
print(json.dumps(recording))
"""


@dataclass(frozen=True)
class RecordedCalls:
    """Distinct calls that a reference's tests make.

    Attributes:
        tests: calls that can be tests, in the order in which each was first made.
        dropped: for each call that cannot be a test, its arguments and the reason.
    """

    tests: tuple[ProblemTest, ...]
    dropped: tuple[str, ...]

    @property
    def call_count(self) -> int:
        """Number of distinct calls."""
        return len(self.tests) + len(self.dropped)


class CallRecorder:
    """Records calls of references in one sandbox, which starts with the first reference. Use it in a ``with``."""

    def __init__(self) -> None:
        self._sandbox = Sandbox()

    def __enter__(self) -> CallRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.close()

    def record(
        self,
        published: Published,
        extra_inputs: Iterable[str] = (),
        contract: str = "",
        allow_truth_value: bool = False,
    ) -> RecordedCalls:
        """Record the calls that the published tests make, then a call with each of ``extra_inputs``.

        Args:
            published: the reference solution and its tests.
            extra_inputs: tagged JSON texts, each a list of arguments.
            contract: source of a function ``contract`` that raises for invalid arguments; may be empty.
            allow_truth_value: record the truth value of a result that has no other JSON form.

        Raises:
            ProblemError: the reference does not pass its tests, or exceeds ``LIMITS``.
            SandboxError: the sandbox failed.
        """
        job = json.dumps(
            {
                "published": asdict(published),
                "inputs": list(extra_inputs),
                "contract": contract,
                "truth": allow_truth_value,
            }
        )
        try:
            with self._sandbox.load_program(_RECORDER, LIMITS) as program:
                process_result = program.run(job.encode())
                if process_result.is_killed_within_limits:
                    process_result = program.run(job.encode())
        except (CompileError, BudgetExceeded) as error:
            raise SandboxError(f"cannot run the call recorder: {error!r}") from error
        recording = _parse_recording(process_result)
        dropped = [
            f"{_truncate(arguments)}: {reason}"
            for arguments, (result, reason) in recording["calls"].items()
            if result is None
        ]
        tests = []
        for arguments, (result, _) in recording["calls"].items():
            if result is not None and len(arguments) + len(result) > MAX_CALL_BYTES:
                dropped.append(f"{_truncate(arguments)}: arguments and result exceed {MAX_CALL_BYTES} bytes")
            elif result is not None:
                lines = [json.dumps(argument) for argument in json.loads(arguments)]
                tests.append(ProblemTest("\n".join(lines), result, "functional"))
        return RecordedCalls(tuple(tests), (*dropped, *recording["missed"]))


def _parse_recording(process_result: ProcessResult) -> dict[str, Any]:
    """Return the recording that the recorder printed. Raises ProblemError with the reason if there is none."""
    if process_result.timed_out or process_result.cpu_s >= LIMITS.cpu_s or process_result.exit_code == -signal.SIGXCPU:
        raise ProblemError(f"the reference solution does not finish its tests in {LIMITS.cpu_s:g} s")
    last_line = process_result.stderr.strip().rpartition("\n")[2]
    if process_result.exit_code != 0:
        is_wrong = last_line.startswith("AssertionError")
        failure = "does not pass its own tests" if is_wrong else "cannot be run with its tests"
        reason = last_line or f"exit status {process_result.exit_code}"
        raise ProblemError(f"the reference solution {failure}: {reason}"[:300])
    try:
        recording = json.loads(process_result.stdout.rstrip().rpartition(b"\n")[2])
    except ValueError:
        recording = None  # the last line was printed by the reference or its tests
    if not isinstance(recording, dict) or recording.keys() != {"calls", "missed"}:
        raise ProblemError("the reference solution exits the process before its tests finish")
    return recording


def make_checker(published: Published, call_names: Sequence[str]) -> dict[str, str] | None:
    """Build a ``metadata.checker`` that runs the published tests; None if they only assert equality with results.

    ``call_names``: the names by which the tests call the function. Raises ProblemError if the tests are not Python.
    """
    if has_only_equality_asserts(published.tests, call_names):
        return None
    source = f"Published({published.entry_point!r}, {published.reference!r}, {published.tests!r})"
    code = (
        "from evaluator.inside.published import Published, accepts\n\n"
        f"def check(inp, out, exp):\n    return accepts({source}, inp, out)\n"
    )
    return {"type": "custom", "code": code}


def has_only_equality_asserts(tests: str, call_names: Sequence[str]) -> bool:
    """Return True if every call is one side of ``==`` in an assert, and the other side contains no call.

    >>> has_only_equality_asserts("assert f(1) == 2", ["f"])
    True
    >>> has_only_equality_asserts("assert set(f(1)) == {2}", ["f"])
    False

    Raises:
        ProblemError: ``tests`` is not Python.
    """
    tree = parse_python(tests, "the tests")
    # Calls in an assert's message do not count: the message of a passing assert is not evaluated.
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    messages = sum(len(_find_calls(node.msg, call_names)) for node in asserts if node.msg is not None)
    compared = sum(_is_equality(node.test, call_names) for node in asserts)
    return compared == len(_find_calls(tree, call_names)) - messages


def _is_equality(test: ast.expr, call_names: Sequence[str]) -> bool:
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            on_left = _find_calls(left, call_names)
            on_right = _find_calls(right, call_names)
            return (on_left == [left] and not on_right) or (on_right == [right] and not on_left)
    return False


def parse_python(source: str, name: str) -> ast.Module:
    """Return the syntax tree of ``source``. Raises ProblemError that begins with ``name`` if it is not Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ProblemError(f"{name}: not Python: {error}") from error


def _find_calls(tree: ast.AST, call_names: Sequence[str]) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in call_names
    ]


def _truncate(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
