"""Reader of DeepCoder-Preview, the training set of DeepCoder: problems of TACO, PrimeIntellect and LiveCodeBench.

The Parquet files of the hub were never seen as files. Their columns are known from programs that read them:
``problem``, ``tests`` (JSON text), and in some parts ``solutions``, ``starter_code`` and ``metadata``. DeepCoder's
evaluation files (``deepcoder_test_*.json.gz``), which were seen, have the same columns with decoded tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evaluator.problem import Problem, ProblemError, get_text
from launch.curation.sources.published_tests import PublishedTests, decode_json_column, parse_tests
from launch.curation.sources.python_asserts import parse_asserts
from launch.curation.sources.reader import Reader, SourceRow, get_programs, make_content_id, make_problem

_STARTER = re.compile(
    r"\s*Please complete the following python code precisely:\s*```python\n(.*?)```\s*", re.DOTALL | re.IGNORECASE
)
_METHOD = re.compile(r"def[ \t]+(\w+)")
# The lines that end a statement of the evaluation files.
_LABELS = re.compile(r"(?:\s*\n(?:Tags:\n\[.*\]|Time Limit: .*|Memory Limit: .*))+\s*\Z")


def parse_row(row: Mapping[str, Any]) -> SourceRow:
    """Read a row. Raises ProblemError."""
    statement = _LABELS.sub("", get_text(row, "problem"))
    starter_code = get_text(row, "starter_code")
    if match := _STARTER.search(statement):
        starter_code = match[1]
        statement = statement[: match.start()] + "\n" + statement[match.end() :]
    return SourceRow(
        problem=_make_problem(row, statement, starter_code),
        right_programs=get_programs(row.get("solutions"), "solutions"),
    )


def _make_problem(row: Mapping[str, Any], statement: str, starter_code: str) -> Problem:
    decoded = decode_json_column(row.get("tests"), "tests")
    if isinstance(decoded, Mapping) and "functional" in decoded:
        func_name = _find_method(starter_code)
        tests = parse_asserts(get_text(decoded, "functional"), starter_code, func_name).tests
        published = PublishedTests(tests=tests, func_name=func_name)
    else:
        metadata = decode_json_column(row.get("metadata") or {}, "metadata")
        named = metadata.get("func_name") if isinstance(metadata, Mapping) else None
        published = parse_tests(decoded, "tests", named or None)
    return make_problem(
        source_id=make_content_id(statement, published.tests),
        statement=statement,
        tests=published.tests,
        starter_code=starter_code,
        func_name=published.func_name,
    )


def _find_method(starter_code: str) -> str:
    names = [name for name in _METHOD.findall(starter_code) if name != "__init__"]
    if len(names) != 1:
        raise ProblemError(f"problem: expected starter code with one function, found {', '.join(names) or 'none'}")
    return names[0]


READER = Reader(
    name="deepcoder",
    licence="MIT",
    parse=parse_row,
    repository="agentica-org/DeepCoder-Preview-Dataset",
    files=("primeintellect/train-*.parquet", "taco/train-*.parquet", "lcbv5/train-*.parquet"),
)
