"""Google's MBPP (arXiv 2108.07732), whole or sanitized, and EvalPlus's MBPP+ (arXiv 2305.01210): published files.

MBPP+ has many more inputs, as JSON, in which a tuple has become a list. What they were is told by the calls that its
asserts make with the inputs they share with it, and checked by the conditions it publishes with each task.
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
from evaluator.inside.values import from_tagged_text, tagged_text
from evaluator.problem import ProblemError, ProblemTest
from launch.problems.evaluation_set import EvaluationSet
from launch.problems.published_tasks import Benchmark, Inputs, Task, load_tasks
from launch.problems.recorded_calls import parsed
from launch.problems.rows import required

BENCHMARK = Benchmark(
    name="MBPP", repository="google-research-datasets/mbpp", file="full/test-00000-of-00001.parquet", problems=500
)
TEST_SPLIT = range(11, 511)  # task ids; the others are for prompting, tuning and training
PLUS_COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "contract", "assertion")
PLUS_RELATIVE = 1e-7  # beside the absolute tolerance that a task of MBPP+ names, as in its published evaluator

# Tasks of MBPP+ whose results its published evaluator compares as sets; its file says so of some of them only.
PLUS_SETS = frozenset(
    {
        *("Mbpp/2", "Mbpp/7", "Mbpp/111", "Mbpp/140"),
        *("Mbpp/232", "Mbpp/249", "Mbpp/579", "Mbpp/769"),
    }
)
_AS_SETS = "def check(inp, out, exp):\n    return set(out) == set(exp)\n"
_AS_TRUTH = "def check(inp, out, exp):\n    return bool(out) == bool(exp)\n"


def load_mbpp(local: str | None, strict: bool) -> EvaluationSet:
    """The test split of a published file of MBPP, or all of MBPP+, in the file's order.

    ``local`` is a copy of a file; None takes the whole MBPP from the hub. The columns tell which file it is. Raises
    BenchmarkError when it cannot be had or holds no usable problem, and with ``strict`` ProblemError for the first bad
    row.
    """
    return load_tasks(BENCHMARK, local, strict, task)


def task(row: Mapping[str, Any]) -> Task | None:
    """A row's task, None for one outside the test split. Raises ProblemError."""
    if "plus_input" in row:
        return _plus_task(row)
    statement = "text" if "text" in row else "prompt"
    text, code = required(row, (statement, "code"))
    task_id = row.get("task_id")
    if not isinstance(task_id, int):
        raise ProblemError(f"task_id: expected a number, got {task_id!r}")
    asserts = _lines(row, "test_list")
    if not asserts:
        raise ProblemError("test_list: no tests")
    if task_id not in TEST_SPLIT:
        return None
    setup = [row["test_setup_code"]] if row.get("test_setup_code") else _lines(row, "test_imports")
    entry_point = _entry_point(code, asserts)
    return Task(
        question_id=f"mbpp/{task_id}",
        question_content=f"{text.strip()}\n\nYour code should pass these tests:\n\n" + "\n".join(asserts),
        starter_code=_starter(entry_point),
        published=Published(entry_point, code, "\n".join([*setup, *asserts])),
        called=(entry_point,),
        shown=True,
    )


def _starter(entry_point: str) -> str:
    # The benchmark shows no signature, and the parameters' names in the reference would be help that it does not give.
    return f"# Define {entry_point} here.\n"


def _lines(row: Mapping[str, Any], name: str) -> list[str]:
    lines = row.get(name)
    if lines is None:
        return []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise ProblemError(f"{name}: expected a list of texts, got {type(lines).__name__}")
    return lines


def _entry_point(code: str, asserts: Sequence[str]) -> str:
    """The one function of the reference that every assert calls. Raises ProblemError."""
    functions = {node.name for node in parsed(code, "code").body if isinstance(node, ast.FunctionDef)}
    called = functions.intersection(
        *(
            {node.func.id for node in ast.walk(parsed(line, "test_list")) if _is_named_call(node)}  # type: ignore[attr-defined]
            for line in asserts
        )
    )
    if len(called) != 1:
        found = ", ".join(sorted(called)) or "none"
        raise ProblemError(f"code: which function do the tests call? Each calls {found}")
    return called.pop()


def _is_named_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


# --- MBPP+ --------------------------------------------------------------------------------------------------------


def _plus_task(row: Mapping[str, Any]) -> Task:
    task_id, prompt, entry_point, solution, contract, assertion = required(row, PLUS_COLUMNS)
    # Some of its asserts use math without an import.
    published = Published(entry_point, solution, f"import math\n{assertion}")
    base = row.get("base_input") or []
    plus = row["plus_input"] or []
    if not all(isinstance(arguments, list) for arguments in [*base, *plus]):
        raise ProblemError("base_input, plus_input: expected lists of lists of arguments")
    return Task(
        question_id=task_id,
        question_content=prompt.strip(),
        starter_code=_starter(entry_point),
        published=published,
        called=(entry_point,),
        checker=_plus_checker(task_id, published, row.get("atol")),
        further=partial(_further, base, plus, _contract(entry_point, solution, contract)),
    )


def _plus_checker(task_id: str, published: Published, atol: object) -> dict[str, Any] | None:
    """How results are compared that no published assert asks for. Raises ProblemError."""
    if task_id in PLUS_SETS:
        return {"type": "custom", "code": _AS_SETS}
    if atol:
        return {"type": "float", "abs": atol, "rel": PLUS_RELATIVE}
    asserts = [node for node in parsed(published.tests, "assertion").body if isinstance(node, ast.Assert)]
    if asserts and all(_asks_truth(node.test, published.entry_point) for node in asserts):
        return {"type": "custom", "code": _AS_TRUTH}
    return None


def _asks_truth(test: ast.expr, entry_point: str) -> bool:
    """Whether it is ``f(...)`` or ``not f(...)``."""
    match test:
        case ast.Call(func=ast.Name(id=name)) | ast.UnaryOp(op=ast.Not(), operand=ast.Call(func=ast.Name(id=name))):
            return name == entry_point
    return False


def _contract(entry_point: str, solution: str, contract: str) -> str:
    """The source of ``contract(*arguments)``, with the reference's parameters. Raises ProblemError."""
    found = [
        node
        for node in parsed(solution, "canonical_solution").body
        if isinstance(node, ast.FunctionDef) and node.name == entry_point
    ]
    if not found:
        raise ProblemError(f"canonical_solution: defines no function {entry_point}")
    body = textwrap.indent(textwrap.dedent(contract).strip() or "pass", "    ")
    source = f"def contract({ast.unparse(found[-1].args)}):\n{body}\n"
    parsed(source, "contract")
    return source


# Of what types values are in each place: (0, "*") is in the elements of the first argument.
Place = tuple[int | str, ...]
Types = Mapping[Place, set[type]]


def _further(
    base: Sequence[list[Any]], plus: Sequence[list[Any]], contract: str, tests: Sequence[ProblemTest]
) -> Inputs:
    """Inputs with the types that arguments have in the same places of ``tests``, which pass ``base`` as Python has it.

    JSON's lists are what the tests have there; a list where they have none is one, but in a tuple or set it may have
    been another of these, and the input is left out. Where ``base`` has texts for the tests' numbers (JSON has no
    complex ones) all texts are numbers. Keys of dicts stay texts, as MBPP+ itself uses them.
    """
    written = _types(base)
    typed = _types([[from_tagged_text(line) for line in test.input.split("\n") if line] for test in tests])
    texts = {place for place, kinds in written.items() if str in kinds and typed[place] and str not in typed[place]}
    further = []
    left_out = []
    for arguments in [*base, *plus]:
        try:
            values = [_typed(value, typed, texts, (index,)) for index, value in enumerate(arguments)]
            further.append(tagged_text(values, canonical=False))
        except (TypeError, ValueError) as error:
            left_out.append(f"{json.dumps(arguments)[:80]}: {error}")
    return Inputs(tuple(further), contract, tuple(left_out))


def _types(calls: Sequence[list[Any]]) -> defaultdict[Place, set[type]]:
    found: defaultdict[Place, set[type]] = defaultdict(set)
    rest: list[tuple[Place, Any]] = [((index,), value) for call in calls for index, value in enumerate(call)]
    while rest:
        place, value = rest.pop()
        found[place].add(type(value))
        if isinstance(value, list | tuple | set | frozenset | dict):
            items = value.values() if isinstance(value, dict) else value
            rest += [((*place, "*"), item) for item in items]
    return found


def _typed(value: Any, types: Types, texts: Collection[Place], place: Place) -> Any:
    """What ``value``, from JSON, was. Raises ValueError where that cannot be told, TypeError for a set of lists."""
    if isinstance(value, list):
        kinds = types.get(place, set()) & {list, tuple, set, frozenset}
        if not kinds and not types.get(place[:-1], set()) & {tuple, set, frozenset}:
            kinds = {list}
        if len(kinds) != 1:
            raise ValueError(f"whether the list in {place} was a tuple or a set no assert tells")
        return next(iter(kinds))(_typed(item, types, texts, (*place, "*")) for item in value)
    if isinstance(value, dict):
        return {key: _typed(item, types, texts, (*place, "*")) for key, item in value.items()}
    if isinstance(value, str) and place in texts:
        return complex(value) if complex in types[place] else float(value)
    return value
