"""Count which tolerance real problems with fractional outputs have, and the programs that only a number's form fails.

    python -m benchmarks.tolerances [--data DIR]

Reads all files of real problems. A problem is counted if an expected output has a number with a point or a signed
exponent. Its tolerance is found by the rules of ``evaluator.comparison.rules``. The programs that are known for these
problems (recorded programs of models, or reference solutions) are judged twice: by the rules, and with a tolerance of
1e-6, absolute or relative, for every number. A program that only passes the second time fails by the form or the last
digits of a number.
"""

from __future__ import annotations

import ast
import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.evaluator import MEMORY_MB, TIMEOUT_S, WORKERS, check_data_files
from benchmarks.tools.labelled_programs import (
    DATA_DIRECTORY,
    PROBLEMS_FILE,
    PROGRAMS_FILE,
    load_labelled_programs,
    load_problems_by_id,
)
from benchmarks.tools.problems import build_problem
from benchmarks.tools.run_our_evaluator import build_evaluator
from evaluator import Limits, Problem, ProblemTest
from evaluator.comparison.grants import find_granted_tolerance
from evaluator.comparison.numbers import parse_fraction

UNIFORM_TOLERANCE = {"type": "float", "abs": 1e-6, "rel": 1e-6}

console = Console(width=150, highlight=False)


class Source(StrEnum):
    """Source of the tolerance of a problem's real numbers, in the order of precedence."""

    CHECKER = "checker"
    EITHER = "statement: absolute or relative"
    ABSOLUTE = "statement: absolute"
    RELATIVE = "statement: relative"
    FUNCTION = "function: 1e-5"
    TOKENS = "none: tokens as they stand"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemSet:
    """Problems of one file, and the programs known for them by question id."""

    name: str
    problems: tuple[Problem, ...]
    programs: Mapping[str, Sequence[str]] = field(default_factory=dict)


def load_problem_sets(data: Path) -> list[ProblemSet]:
    """Load all files of real problems. Raises OSError if one is missing."""
    raw = data / "raw"
    programs: dict[str, list[str]] = {}
    for program in load_labelled_programs(data / PROGRAMS_FILE):
        programs.setdefault(program.question_id, []).append(program.code)
    livecodebench = tuple(load_problems_by_id(data / PROBLEMS_FILE).values())
    return [
        ProblemSet(name="LiveCodeBench", problems=livecodebench, programs=programs),
        build_function_set("LeetCodeDataset", read_rows(raw / "lcd-v0.3.1-test.jsonl.gz"), "problem_description"),
        build_function_set("DeepCoder, LeetCode", read_rows(raw / "deepcoder_test_leetcode.json.gz"), "problem"),
        build_stdin_set("DeepCoder, Codeforces", read_rows(raw / "deepcoder_test_codeforces.json.gz"), "problem"),
        build_stdin_set("DeepCoder, CodeContests", read_rows(raw / "deepcoder_test_code_contests.json.gz"), "problem"),
        build_stdin_set("SandboxFusion", read_rows(raw / "sandboxfusion_code_contests.jsonl.gz"), "content"),
        build_function_set("HumanEval", read_rows(raw / "HumanEval.jsonl.gz"), "prompt"),
        build_function_set("MBPP+", read_rows(raw / "MbppPlus-v0.1.0.jsonl.gz"), "prompt"),
    ]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a gzipped JSON list or of gzipped JSONL."""
    text = gzip.decompress(path.read_bytes()).decode()
    if path.name.endswith(".json.gz"):
        rows: list[dict[str, Any]] = json.loads(text)
        return rows
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def build_stdin_set(name: str, rows: Sequence[Mapping[str, Any]], statement_key: str) -> ProblemSet:
    """Build the problems of rows with tests for standard input."""
    problems = [
        replace(build_problem(f"{name} {index}", *read_stdin_tests(row)), question_content=row[statement_key])
        for index, row in enumerate(rows)
    ]
    return ProblemSet(name=name, problems=tuple(problems))


def read_stdin_tests(row: Mapping[str, Any]) -> list[ProblemTest]:
    """Read the tests of a row in DeepCoder's two layouts or in SandboxFusion's."""
    tests = row["tests"] if "tests" in row else row["test"]
    if isinstance(tests, str):
        tests = json.loads(tests)
    if isinstance(tests, Mapping):
        return [ProblemTest(*texts) for texts in zip(tests["inputs"], tests["outputs"], strict=True)]
    return [
        ProblemTest(test["input"]["stdin"], test["output"]["stdout"])
        if isinstance(test["input"], Mapping)
        else ProblemTest(test["input"], test["output"])
        for test in tests
    ]


def build_function_set(name: str, rows: Sequence[Mapping[str, Any]], statement_key: str) -> ProblemSet:
    """Build the problems of rows with assert statements as tests, and with a reference solution where it is a method.

    Tests whose arguments or results are not JSON values are left out.
    """
    problems = []
    programs = {}
    for index, row in enumerate(rows):
        tests = row["test"] if "test" in row else row["assertion"] if "assertion" in row else row["tests"]["functional"]
        reference = row["completion"] if "completion" in row else row.get("solutions", "")
        problem = replace(
            build_problem(f"{name} {index}", *read_asserted_calls(tests)),
            question_content=row[statement_key],
            starter_code=row.get("starter_code", ""),
            func_name=find_called_name(row, tests),
        )
        problems.append(problem)
        if reference:
            programs[problem.question_id] = [reference]
    return ProblemSet(name=name, problems=tuple(problems), programs=programs)


def find_called_name(row: Mapping[str, Any], tests: str) -> str:
    """Return the name of the tested function: the row's, or the method that the tests pass to ``check``."""
    entry_point: str = row["entry_point"] if "entry_point" in row else tests.rstrip().rstrip(")")
    return entry_point.rpartition(".")[2]


def read_asserted_calls(source: str) -> Iterator[ProblemTest]:
    """Yield the calls that tests assert to be equal, or close, to a literal."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assert(
                ast.Compare(ast.Call(ast.Name("abs"), [ast.BinOp(ast.Call() as call, ast.Sub(), value)]))
            ) | ast.Assert(ast.Compare(ast.Call() as call, [ast.Eq()], [value])):
                try:
                    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
                    lines = [json.dumps(ast.literal_eval(argument)) for argument in arguments]
                    yield ProblemTest("\n".join(lines), json.dumps(ast.literal_eval(value)), "functional")
                except (ValueError, TypeError):
                    continue


def has_fraction(problem: Problem) -> bool:
    """Return True if an expected output has a number with a point or a signed exponent."""
    if problem.func_name is None:
        tokens = (token for test in problem.tests for token in test.output.encode("utf-8", "replace").split())
        return any(parse_fraction(token) is not None for token in tokens)
    fractions: list[str] = []
    for test in problem.tests:
        json.loads(test.output, parse_float=fractions.append, parse_int=str)
    return bool(fractions)


def find_source(problem: Problem) -> Source:
    """Return where the tolerance of a problem's real numbers comes from."""
    if problem.checker is not None:
        return Source.CHECKER
    granted = find_granted_tolerance(problem.question_content)
    if granted is None:
        return Source.TOKENS if problem.func_name is None else Source.FUNCTION
    if granted.abs and granted.rel:
        return Source.EITHER
    return Source.ABSOLUTE if granted.abs else Source.RELATIVE


def judge_twice(items: Sequence[tuple[Problem, str]]) -> list[tuple[bool, bool]]:
    """Judge programs by the rules, and with ``UNIFORM_TOLERANCE``; return if they pass."""
    limits = Limits(wall_s=TIMEOUT_S, cpu_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    uniform = [(replace(problem, checker=UNIFORM_TOLERANCE), code) for problem, code in items]
    with build_evaluator(limits, WORKERS, False) as evaluator:
        verdicts = asyncio.run(evaluator.evaluate_many([*items, *uniform]))
    return [
        (by_rules.passed, by_tolerance.passed)
        for by_rules, by_tolerance in zip(verdicts[: len(items)], verdicts[len(items) :], strict=True)
    ]


def list_programs(problem_set: ProblemSet) -> list[tuple[Problem, str]]:
    """Return the programs for problems with fractional outputs, each with its problem."""
    return [
        (problem, code)
        for problem in problem_set.problems
        if problem.question_id in problem_set.programs and has_fraction(problem)
        for code in problem_set.programs[problem.question_id]
    ]


def main(data: Annotated[Path, typer.Option(help="directory with the real problems")] = DATA_DIRECTORY) -> None:
    """Print the table of tolerances and the programs that only the form of a number fails."""
    check_data_files(data)
    table = Table(title="Problems with fractional expected outputs, by the source of their tolerance")
    for name in ("problems", "all", "fractional", *Source, "programs", "pass", "refused only by form"):
        table.add_column(name, justify="right" if name != "problems" else "left")
    totals: Counter[str] = Counter()
    for problem_set in load_problem_sets(data):
        fractional = [problem for problem in problem_set.problems if has_fraction(problem)]
        sources = Counter(map(find_source, fractional))
        items = list_programs(problem_set)
        results = list(zip(items, judge_twice(items), strict=True))
        refused = [problem.question_id for (problem, _), (by_rules, close) in results if close and not by_rules]
        row: dict[str, int] = {
            "all": len(problem_set.problems),
            "fractional": len(fractional),
            **{str(source): sources[source] for source in Source},
            "programs": len(results),
            "pass": sum(by_rules for _, (by_rules, _) in results),
            "refused only by form": len(refused),
        }
        totals.update(row)
        table.add_row(problem_set.name, *map(str, row.values()))
        for question_id, count in Counter(refused).items():
            console.print(f"refused only by form: {question_id}, {count} programs")
    table.add_section()
    table.add_row("all", *map(str, totals.values()))
    console.print(table)
    print(json.dumps(totals))


if __name__ == "__main__":
    typer.run(main)
