"""Loader for Google's MBPP (arXiv 2108.07732), full or sanitized, and EvalPlus's MBPP+ (arXiv 2305.01210).

MBPP+ adds many inputs. They are stored as JSON, so tuples and sets have become lists. The original types are inferred
from the calls in the asserts, which contain the base inputs as Python values, and the result is validated with the
contract that MBPP+ publishes for each task.
"""

from __future__ import annotations

import ast
import json
import textwrap
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from evaluator.inside.published import Published
from evaluator.inside.values import from_tagged_text, to_tagged_text
from evaluator.problem import ProblemError, ProblemTest
from launch.problems.benchmark_tasks import BenchmarkSource, BenchmarkTask, ExtraInputs, load_published_tasks
from launch.problems.evaluation_set import EvaluationSet
from launch.problems.published_files import require_texts
from launch.problems.recorded_calls import parse_python

SOURCE = BenchmarkSource(
    name="MBPP", repository="google-research-datasets/mbpp", file="full/test-00000-of-00001.parquet", problem_count=500
)
TEST_SPLIT = range(11, 511)  # task ids; the others are for prompting, tuning and training
PLUS_COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "contract", "assertion")
# Relative tolerance of MBPP+'s published evaluator, in addition to the absolute tolerance that a task specifies.
PLUS_RELATIVE_TOLERANCE = 1e-7

# Tasks whose results MBPP+'s published evaluator compares as sets. The published file marks only some of them.
PLUS_SET_TASKS = frozenset(
    {
        *("Mbpp/2", "Mbpp/7", "Mbpp/111", "Mbpp/140"),
        *("Mbpp/232", "Mbpp/249", "Mbpp/579", "Mbpp/769"),
    }
)
_AS_SETS = "def check(inp, out, exp):\n    return set(out) == set(exp)\n"
_AS_TRUTH = "def check(inp, out, exp):\n    return bool(out) == bool(exp)\n"


def load_mbpp(local_copy: str | None, strict: bool) -> EvaluationSet:
    """Load the test split of MBPP, or all of MBPP+, in the order of the file.

    ``local_copy`` is the path of a copy of a published file, whose columns determine its kind; None downloads the full
    MBPP from the hub.

    Raises:
        BenchmarkError: the file is not available or has no usable problem.
        ProblemError: a row is bad, and ``strict`` is set.
    """
    return load_published_tasks(SOURCE, local_copy, strict, parse_task)


def parse_task(row: Mapping[str, Any]) -> BenchmarkTask | None:
    """Parse a row; return None if it is outside the test split. Raises ProblemError."""
    task = parse_any_task(row)
    is_outside = isinstance(row["task_id"], int) and row["task_id"] not in TEST_SPLIT
    return None if is_outside else task


def parse_any_task(row: Mapping[str, Any]) -> BenchmarkTask:
    """Parse a row of any split. Raises ProblemError."""
    if "plus_input" in row:
        return _parse_plus_task(row)
    statement_column = "text" if "text" in row else "prompt"
    text, code = require_texts(row, (statement_column, "code"))
    task_id = row.get("task_id")
    if not isinstance(task_id, int):
        raise ProblemError(f"task_id: expected a number, got {task_id!r}")
    asserts = _text_list(row, "test_list")
    if not asserts:
        raise ProblemError("test_list: no tests")
    setup = [row["test_setup_code"]] if row.get("test_setup_code") else _text_list(row, "test_imports")
    entry_point = _find_entry_point(code, asserts)
    return BenchmarkTask(
        question_id=f"mbpp/{task_id}",
        question_content=f"{text.strip()}\n\nYour code should pass these tests:\n\n" + "\n".join(asserts),
        starter_code=_make_starter_code(entry_point),
        published=Published(entry_point, code, "\n".join([*setup, *asserts])),
        call_names=(entry_point,),
        shows_tests=True,
    )


def _make_starter_code(entry_point: str) -> str:
    # No signature: the benchmark shows none, and the reference's parameter names would be an additional hint.
    return f"# Define {entry_point} here.\n"


def _text_list(row: Mapping[str, Any], name: str) -> list[str]:
    """Return the list of texts in a column, empty if the row has none. Raises ProblemError."""
    texts = row.get(name)
    if texts is None:
        return []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ProblemError(f"{name}: expected a list of texts, got {type(texts).__name__}")
    return texts


def _find_entry_point(code: str, asserts: Sequence[str]) -> str:
    """Return the name of the single function of the reference that every assert calls. Raises ProblemError."""
    functions = {node.name for node in parse_python(code, "code").body if isinstance(node, ast.FunctionDef)}
    called = functions.intersection(
        *(
            {node.func.id for node in ast.walk(parse_python(line, "test_list")) if _is_named_call(node)}  # type: ignore[attr-defined]
            for line in asserts
        )
    )
    if len(called) != 1:
        names = ", ".join(sorted(called)) or "none"
        raise ProblemError(f"code: expected exactly one function that every test calls, got {names}")
    return called.pop()


def _is_named_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


# --- MBPP+ --------------------------------------------------------------------------------------------------------


def _parse_plus_task(row: Mapping[str, Any]) -> BenchmarkTask:
    task_id, prompt, entry_point, solution, contract, assertion = require_texts(row, PLUS_COLUMNS)
    # Some asserts of MBPP+ use math without importing it.
    published = Published(entry_point, solution, f"import math\n{assertion}")
    base = row.get("base_input") or []
    plus = row["plus_input"] or []
    if not all(isinstance(arguments, list) for arguments in [*base, *plus]):
        raise ProblemError("base_input, plus_input: expected lists of argument lists")
    return BenchmarkTask(
        question_id=task_id,
        question_content=prompt.strip(),
        starter_code=_make_starter_code(entry_point),
        published=published,
        call_names=(entry_point,),
        checker=_make_plus_checker(task_id, published, row.get("atol")),
        make_extra_inputs=partial(_restore_inputs, base, plus, _build_contract(entry_point, solution, contract)),
    )


def _make_plus_checker(task_id: str, published: Published, atol: object) -> dict[str, Any] | None:
    """Build the ``metadata.checker`` for results on extra inputs, which no published assert covers.

    Returns None if results are compared for equality. Raises ProblemError.
    """
    if task_id in PLUS_SET_TASKS:
        return {"type": "custom", "code": _AS_SETS}
    if atol:
        return {"type": "float", "abs": atol, "rel": PLUS_RELATIVE_TOLERANCE}
    asserts = [node for node in parse_python(published.tests, "assertion").body if isinstance(node, ast.Assert)]
    if asserts and all(_is_truth_test(node.test, published.entry_point) for node in asserts):
        return {"type": "custom", "code": _AS_TRUTH}
    return None


def _is_truth_test(test: ast.expr, entry_point: str) -> bool:
    """Return True if the expression is ``f(...)`` or ``not f(...)``, with f the entry point."""
    match test:
        case ast.Call(func=ast.Name(id=name)) | ast.UnaryOp(op=ast.Not(), operand=ast.Call(func=ast.Name(id=name))):
            return name == entry_point
    return False


def _build_contract(entry_point: str, solution: str, contract: str) -> str:
    """Return the source of a function ``contract`` with the reference's parameters. Raises ProblemError."""
    definitions = [
        node
        for node in parse_python(solution, "canonical_solution").body
        if isinstance(node, ast.FunctionDef) and node.name == entry_point
    ]
    if not definitions:
        raise ProblemError(f"canonical_solution: defines no function {entry_point}")
    body = textwrap.indent(textwrap.dedent(contract).strip() or "pass", "    ")
    source = f"def contract({ast.unparse(definitions[-1].args)}):\n{body}\n"
    parse_python(source, "contract")
    return source


# Path of a value in a list of arguments: (0,) is the first argument, (0, "*") any element of it.
ValuePath = tuple[int | str, ...]
TypesByPath = Mapping[ValuePath, set[type]]


def _restore_inputs(
    base: Sequence[list[Any]], plus: Sequence[list[Any]], contract: str, tests: Sequence[ProblemTest]
) -> ExtraInputs:
    """Restore the Python types that the inputs had before they were written as JSON.

    A JSON list gets the type that ``tests`` have at the same path. If they have no list, tuple or set there, it stays a
    list; inside a tuple or set, however, it may also have been a tuple, so the input is dropped. At paths where
    ``base`` has texts and ``tests`` have numbers (JSON has no complex numbers), texts become numbers. Keys of dicts
    stay texts, as in MBPP+'s own evaluator.

    Args:
        base: argument lists from JSON; the asserts make their calls with the same arguments.
        plus: further argument lists from JSON.
        contract: source of the contract.
        tests: the recorded calls of the asserts.
    """
    json_types = _collect_types(base)
    types = _collect_types([[from_tagged_text(line) for line in test.input.split("\n") if line] for test in tests])
    number_paths = {
        path for path, kinds in json_types.items() if str in kinds and types[path] and str not in types[path]
    }
    texts = []
    dropped = []
    for arguments in [*base, *plus]:
        try:
            values = [_restore(value, types, number_paths, (index,)) for index, value in enumerate(arguments)]
            texts.append(to_tagged_text(values, canonical=False))
        except (TypeError, ValueError) as error:
            dropped.append(f"{json.dumps(arguments)[:80]}: {error}")
    return ExtraInputs(tuple(texts), contract, tuple(dropped))


def _collect_types(calls: Sequence[list[Any]]) -> defaultdict[ValuePath, set[type]]:
    """Return, for each path into a call's arguments (index, then "*" per level), the types found there in any call."""
    types: defaultdict[ValuePath, set[type]] = defaultdict(set)
    pending: list[tuple[ValuePath, Any]] = [((index,), value) for call in calls for index, value in enumerate(call)]
    while pending:
        path, value = pending.pop()
        types[path].add(type(value))
        if isinstance(value, list | tuple | set | frozenset | dict):
            items = value.values() if isinstance(value, dict) else value
            pending += [((*path, "*"), item) for item in items]
    return types


def _restore(value: Any, types: TypesByPath, number_paths: Collection[ValuePath], path: ValuePath) -> Any:
    """Restore the type of a value from JSON.

    Raises:
        ValueError: the type is ambiguous.
        TypeError: the value would be a set with elements that are not hashable.
    """
    if isinstance(value, list):
        kinds = types.get(path, set()) & {list, tuple, set, frozenset}
        if not kinds and not types.get(path[:-1], set()) & {tuple, set, frozenset}:
            kinds = {list}
        if len(kinds) != 1:
            raise ValueError(f"cannot infer from the asserts if the list at {path} was a list, a tuple or a set")
        return next(iter(kinds))(_restore(item, types, number_paths, (*path, "*")) for item in value)
    if isinstance(value, dict):
        return {key: _restore(item, types, number_paths, (*path, "*")) for key, item in value.items()}
    if isinstance(value, str) and path in number_paths:
        return complex(value) if complex in types[path] else float(value)
    return value
