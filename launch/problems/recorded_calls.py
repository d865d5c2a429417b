"""Problems out of published test code: the reference solution runs it once, and each call it makes becomes a test.

    reference + tests ──► sandbox: record every call ──► arguments, the reference's result ──► functional tests

So a candidate is judged like any other, by its results, and neither tests nor expected results come near it. Asserts
that ask for equality need no more than that. Where one asks for less (a tolerance, a truth value, any root) it must be
asked itself: a custom checker runs the published tests, in a sandbox without the candidate, with its result in place.
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
from evaluator.sandbox import BudgetSpent, CompileError, Ended, Limits, Sandbox, SandboxError

LIMITS = Limits(wall_s=20.0, cpu_s=10.0, memory_mb=2048, budget_s=3600.0)  # of the reference, for all its tests
MAX_CALL_BYTES = 1 << 20  # of one call's texts; a worker holds several copies of them

# Standard output carries the recording after whatever the reference and the tests print.
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
class Recorded:
    """Distinct calls that can be tests, in the order in which they were first made, and why others cannot."""

    tests: tuple[ProblemTest, ...]
    left_out: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many calls there were."""
        return len(self.tests) + len(self.left_out)


class Recorder:
    """Runs references in one sandbox, which starts at the first one. Close it, or use it in a ``with``."""

    def __init__(self) -> None:
        self._sandbox = Sandbox()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.close()

    def record(
        self, published: Published, inputs: Iterable[str] = (), contract: str = "", truth: bool = False
    ) -> Recorded:
        """The calls of the published tests, then those with ``inputs``: each the tagged JSON of a list of arguments.

        ``contract``, ``truth``: see ``evaluator.inside.published.record``.

        Raises ProblemError when the reference does not pass the tests, or does not end; SandboxError.
        """
        job = json.dumps({"published": asdict(published), "inputs": list(inputs), "contract": contract, "truth": truth})
        try:
            with self._sandbox.program(_RECORDER, LIMITS) as program:
                ended = program.run(job.encode())
        except (CompileError, BudgetSpent) as error:
            raise SandboxError(f"the recorder does not run: {error!r}") from error
        recording = _recording(ended)
        left_out = [
            f"{_shortened(text)}: {why}" for text, (result, why) in recording["calls"].items() if result is None
        ]
        tests = []
        for arguments, (result, _) in recording["calls"].items():
            if result is not None and len(arguments) + len(result) > MAX_CALL_BYTES:
                left_out.append(f"{_shortened(arguments)}: more than {MAX_CALL_BYTES} bytes with its result")
            elif result is not None:
                lines = [json.dumps(argument) for argument in json.loads(arguments)]
                tests.append(ProblemTest("\n".join(lines), result, "functional"))
        return Recorded(tuple(tests), (*left_out, *recording["missed"]))


def _recording(ended: Ended) -> dict[str, Any]:
    """What the recorder printed. Raises ProblemError that says why there is nothing."""
    if ended.timed_out or ended.cpu_s >= LIMITS.cpu_s or ended.exit_code == -signal.SIGXCPU:
        raise ProblemError(f"the reference does not end its tests in {LIMITS.cpu_s:g} s")
    last = ended.stderr.strip().rpartition("\n")[2]
    if ended.exit_code != 0:
        failed = "does not pass its own tests" if last.startswith("AssertionError") else "cannot be run with its tests"
        raise ProblemError(f"the reference {failed}: {last or f'exit status {ended.exit_code}'}"[:300])
    try:
        recording = json.loads(ended.stdout.rstrip().rpartition(b"\n")[2])
    except ValueError:
        recording = None  # something else that was printed
    if not isinstance(recording, dict) or recording.keys() != {"calls", "missed"}:
        raise ProblemError("the reference ends the process before its tests are done")
    return recording


def checker(published: Published, called: Sequence[str]) -> dict[str, str] | None:
    """``metadata.checker`` that asks the tests themselves; None where all they assert of results is equality.

    ``called``: the names by which the tests call the function. Raises ProblemError when they are no Python.
    """
    if asks_equality(published.tests, called):
        return None
    source = f"Published({published.entry_point!r}, {published.reference!r}, {published.tests!r})"
    code = (
        "from evaluator.inside.published import Published, accepts\n\n"
        f"def check(inp, out, exp):\n    return accepts({source}, inp, out)\n"
    )
    return {"type": "custom", "code": code}


def asks_equality(tests: str, called: Sequence[str]) -> bool:
    """Whether every call is one side of an assert's ``==`` whose other side has none. Raises ProblemError.

    >>> asks_equality("assert f(1) == 2", ["f"]), asks_equality("assert set(f(1)) == {2}", ["f"])
    (True, False)
    """
    tree = parsed(tests, "the tests")
    # What an assert says when it fails is not asked of a right answer.
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    messages = sum(len(_calls(node.msg, called)) for node in asserts if node.msg is not None)
    compared = sum(_is_equality(node.test, called) for node in asserts)
    return compared == len(_calls(tree, called)) - messages


def _is_equality(test: ast.expr, called: Sequence[str]) -> bool:
    match test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            on_left = _calls(left, called)
            on_right = _calls(right, called)
            return (on_left == [left] and not on_right) or (on_right == [right] and not on_left)
    return False


def parsed(source: str, what: str) -> ast.Module:
    """The syntax tree. Raises ProblemError that names ``what`` it should have been."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ProblemError(f"{what}: not Python: {error}") from error


def _calls(tree: ast.AST, called: Sequence[str]) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in called
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
