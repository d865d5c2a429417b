"""Tests in the layouts in which sets publish them: a list of tests, or parallel lists of inputs and outputs.

A function's tests are JSON texts, as in LiveCodeBench (one argument per line), or values: a list of arguments, and a
result that may be wrapped in a list of one element, as in APPS and TACO. Of values, the text "8" is a string, not 8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluator.problem import ProblemError, ProblemTest

_FUNCTION_KEYS = ("fn_name", "func_name")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedTests:
    """Tests of a row.

    Attributes:
        tests: the tests.
        func_name: function that the tests call; None for standard input.
    """

    tests: tuple[ProblemTest, ...]
    func_name: str | None


def decode_json_column(value: object, name: str) -> Any:
    """Return a column that holds JSON text or an already decoded value. Raises ProblemError."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"{name}: not JSON: {error}") from error


def parse_tests(value: object, name: str, func_name: str | None = None) -> PublishedTests:
    """Parse the tests of a row.

    Args:
        value: decoded tests, or their JSON text.
        name: name of the column, for messages.
        func_name: function that the row names outside its tests.

    Raises:
        ProblemError: the tests have another layout.
    """
    decoded = decode_json_column(value, name)
    if isinstance(decoded, Mapping):
        func_name = _find_function(decoded, func_name)
        inputs = decoded.get("inputs", decoded.get("input"))
        outputs = decoded.get("outputs", decoded.get("output"))
    elif isinstance(decoded, list) and all(isinstance(test, Mapping) for test in decoded):
        functions = {_find_function(test, func_name) for test in decoded}
        if len(functions) > 1:
            raise ProblemError(f"{name}: the tests call {len(functions)} functions")
        func_name = functions.pop() if functions else func_name
        inputs = [test.get("input") for test in decoded]
        outputs = [test.get("output") for test in decoded]
    else:
        raise ProblemError(f"{name}: expected tests, got {type(decoded).__name__}")
    return pair_tests(inputs, outputs, name, func_name)


def pair_tests(inputs: object, outputs: object, name: str, func_name: str | None) -> PublishedTests:
    """Return the tests of parallel lists of inputs and outputs. Raises ProblemError."""
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise ProblemError(f"{name}: expected lists of inputs and outputs, got {type(inputs).__name__}")
    if len(inputs) != len(outputs):
        raise ProblemError(f"{name}: {len(inputs)} inputs, but {len(outputs)} outputs")
    if func_name is None:
        pairs = zip(inputs, outputs, strict=True)
        tests = [ProblemTest(_join_lines(given, name), _join_lines(expected, name)) for given, expected in pairs]
        return PublishedTests(tests=tuple(tests), func_name=None)
    if all(isinstance(given, str) for given in inputs):  # JSON texts, as in LiveCodeBench
        pairs = zip(inputs, outputs, strict=True)
        tests = [
            ProblemTest(given, expected if isinstance(expected, str) else _write_json(expected, name), "functional")
            for given, expected in pairs
        ]
    else:
        pairs = zip(inputs, _unwrap_results(outputs), strict=True)
        tests = [
            ProblemTest(_write_arguments(given, name), _write_json(expected, name), "functional")
            for given, expected in pairs
        ]
    return PublishedTests(tests=tuple(tests), func_name=func_name)


def _find_function(tests: Mapping[str, Any], default: str | None) -> str | None:
    """Return the function that a test, or a row's tests together, name; ``default`` if they name none."""
    metadata = tests.get("metadata")
    for source in (tests, metadata if isinstance(metadata, Mapping) else {}):
        for key in _FUNCTION_KEYS:
            if source.get(key):
                return str(source[key])
    return default if tests.get("testtype") != "stdin" else None


def _join_lines(value: object, name: str) -> str:
    """Return the text of an input or output, which some rows store as a list of lines. Raises ProblemError."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise ProblemError(f"{name}: expected the text of standard input or output, got {value!r}"[:300])


def _unwrap_results(outputs: Sequence[Any]) -> Sequence[Any]:
    """Return the results of a function: each one's only element if all are lists of one element."""
    if outputs and all(isinstance(output, list) and len(output) == 1 for output in outputs):
        return [output[0] for output in outputs]
    return outputs


def _write_arguments(value: object, name: str) -> str:
    if not isinstance(value, list):
        raise ProblemError(f"{name}: expected a list of arguments, got {value!r}"[:300])
    return "\n".join(_write_json(argument, name) for argument in value)


def _write_json(value: object, name: str) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ProblemError(f"{name}: not a JSON value: {error}") from error
