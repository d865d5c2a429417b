"""Run published test code with the published reference solution, in the sandbox, in a process of its own.

Published tests are code that calls a function and asserts properties of its results. In a process with a candidate's
function, they would be at its mercy, so the two never run together. ``record`` records once which calls the tests make
and what the reference returns. ``accepts`` runs the tests with a result that a candidate returned elsewhere, which is
only a value here.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from evaluator.inside.values import from_tagged_text, to_result_text, to_tagged_text

Function = Callable[..., Any]
encode_arguments = functools.partial(to_tagged_text, canonical=False)
encode_expected = functools.partial(to_tagged_text, canonical=True)


@dataclass(frozen=True)
class Published:
    """Published sources of a problem.

    Attributes:
        entry_point: name of the function.
        reference: source that defines the function.
        tests: source that calls the function by its name, in the same namespace.
    """

    entry_point: str
    reference: str
    tests: str


@dataclass
class Recording:
    """Calls made by the tests.

    Attributes:
        calls: distinct calls in order. The key is the tagged JSON text of the arguments; the value is the text of the
            result and "", or None and the reason why the call cannot be a test.
        missed: reasons why further calls could not be encoded as text.
    """

    calls: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)


def record(published: Published, inputs: list[str], contract: str = "", truth: bool = False) -> Recording:
    """Record the calls that the tests, and then ``inputs``, make to the reference, and what it returns.

    Args:
        published: the sources.
        inputs: further calls: tagged JSON texts of lists of arguments.
        contract: source of a function ``contract`` that raises for arguments that are not valid inputs.
        truth: if a result has no encoding, record its truth value. Only useful for a checker.

    Raises:
        Exception: whatever the reference or the tests raise, such as AssertionError if the reference fails the tests.
            Exceptions raised for one of ``inputs`` are recorded instead.
    """
    recording = Recording()

    def record_call(reference: Function, arguments: list[Any]) -> Any:
        before = _attempt(encode_arguments, arguments)
        result = reference(*arguments)
        after = _attempt(to_result_text if truth else encode_expected, result)
        if isinstance(before, Exception):
            recording.missed.append(f"arguments: {before}")
        else:
            _add_call(recording, before, after)
        return result

    namespace = _run_tests(published, record_call)
    exec(compile(contract, "contract.py", "exec", dont_inherit=True), namespace)
    for text in inputs:
        try:
            if contract:
                namespace["contract"](*from_tagged_text(text))
            namespace[published.entry_point](*from_tagged_text(text))
        except Exception as error:  # noqa: BLE001 - an input that the reference rejects is not a test
            recording.calls.setdefault(text, (None, f"it raises {type(error).__name__}: {error}"[:200]))
    return recording


def accepts(published: Published, arguments: list[Any], answer: Any) -> bool:
    """Return True if the tests pass when the call with ``arguments`` returns ``answer``.

    All other calls return what the reference returns. Exceptions other than AssertionError propagate.
    """
    expected_arguments = encode_arguments(arguments)

    def call_with_answer(reference: Function, call_arguments: list[Any]) -> Any:
        is_same = _attempt(encode_arguments, call_arguments) == expected_arguments
        return copy.deepcopy(answer) if is_same else reference(*call_arguments)

    try:
        _run_tests(published, call_with_answer)
    except AssertionError:
        return False
    return True


def _run_tests(published: Published, call: Callable[[Function, list[Any]], Any]) -> dict[str, Any]:
    """Run reference and tests in one namespace, passing calls from outside the reference to ``call``."""
    namespace: dict[str, Any] = {"__name__": "main"}
    exec(compile(published.reference, "reference.py", "exec", dont_inherit=True), namespace)
    reference: Function = namespace[published.entry_point]
    inside = False

    def entry(*arguments: Any) -> Any:
        nonlocal inside
        if inside:  # a recursive call by the reference itself
            return reference(*arguments)
        inside = True
        try:
            return call(reference, list(arguments))
        finally:
            inside = False

    namespace[published.entry_point] = entry
    import random  # not needed by most processes that import this module

    random.seed(0)  # tests that draw random inputs then draw the same ones each time
    exec(compile(published.tests, "tests.py", "exec", dont_inherit=True), namespace)
    return namespace


def _add_call(recording: Recording, arguments: str, result: str | Exception) -> None:
    outcome = (None, f"the result: {result}") if isinstance(result, Exception) else (result, "")
    if recording.calls.setdefault(arguments, outcome) != outcome:
        recording.calls[arguments] = (None, "the reference solution gives two results for the same arguments")


def _attempt(write: Callable[[Any], str], value: object) -> str | Exception:
    try:
        return write(value)
    except (TypeError, ValueError) as error:
        return error
