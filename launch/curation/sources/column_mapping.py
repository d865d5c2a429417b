"""Readers of further sets, each described by a YAML file that maps its columns.

name: my_set
licence: CC-BY-4.0
repository: owner/name            # on the hub; left out if the files are local
files: [data/train-*.parquet]     # in the repository, or relative to the YAML file
columns:
  statement: description
  tests: test_cases               # or inputs and outputs: two columns with parallel lists
  right_programs: solutions
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluator.errors import UserError
from evaluator.problem import ProblemError, get_text
from launch.curation.sources.published_tests import PublishedTests, decode_json_column, pair_tests, parse_tests
from launch.curation.sources.reader import (
    Reader,
    SourceRow,
    get_programs,
    make_content_id,
    make_problem,
    normalize_difficulty,
)


class MappingError(UserError, ValueError):
    """Error for a YAML file that does not describe a set. The message names the file and the key."""


class ColumnNames(BaseModel):
    """Names of a set's columns; "" for what the set does not have.

    Attributes:
        statement: statement of the problem.
        tests: list of tests, each with input and output, or lists ``inputs`` and ``outputs``; may be JSON text.
        inputs: list of inputs, if they are in a column of their own.
        outputs: list of outputs, if they are in a column of their own.
        id: id of the row; without one, a hash of statement and tests is the id.
        title: title of the problem.
        platform: site that the problem is from.
        difficulty: a word, or a Codeforces rating.
        date: ISO date of the contest.
        starter_code: code that a program starts from.
        func_name: function to call; null or "" for standard input.
        right_programs: programs labelled as right.
        wrong_programs: programs labelled as wrong.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: str = Field(min_length=1)
    tests: str = ""
    inputs: str = ""
    outputs: str = ""
    id: str = ""
    title: str = ""
    platform: str = ""
    difficulty: str = ""
    date: str = ""
    starter_code: str = ""
    func_name: str = ""
    right_programs: str = ""
    wrong_programs: str = ""

    @model_validator(mode="after")
    def _check_tests(self) -> ColumnNames:
        if bool(self.tests) == bool(self.inputs and self.outputs) or bool(self.inputs) != bool(self.outputs):
            raise ValueError("name either tests, or both inputs and outputs")
        return self


class SetDescription(BaseModel):
    """Contents of the YAML file.

    Attributes:
        name: name of the set, part of its problems' ids.
        licence: licence of the set.
        columns: names of its columns.
        repository: data set on the hub, as "owner/name"; "" for local files.
        files: patterns of its files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]+$")
    licence: str = Field(min_length=1)
    columns: ColumnNames
    repository: str = ""
    files: tuple[str, ...] = Field(min_length=1)


def load_mapped_reader(path: Path) -> Reader:
    """Return the reader that a YAML file describes. Raises MappingError."""
    try:
        description = SetDescription.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise MappingError(f"{path}: {key or 'file'}: {first['msg']}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MappingError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    return Reader(
        name=description.name,
        licence=description.licence,
        parse=functools.partial(parse_mapped_row, description.columns),
        repository=description.repository,
        files=description.files,
    )


def parse_mapped_row(columns: ColumnNames, row: Mapping[str, Any]) -> SourceRow:
    """Read a row with the given columns. Raises ProblemError."""
    if missing := [name for name in _list_required(columns) if name not in row]:
        raise ProblemError(f"missing columns {', '.join(missing)}; the row has {', '.join(row)}"[:300])
    statement = get_text(row, columns.statement)
    published = _read_tests(columns, row)
    problem = make_problem(
        source_id=_read_id(columns, row) or make_content_id(statement, published.tests),
        statement=statement,
        tests=published.tests,
        title=get_text(row, columns.title),
        platform=get_text(row, columns.platform).lower(),
        difficulty=normalize_difficulty(row.get(columns.difficulty)),
        contest_date=str(row[columns.date]) if row.get(columns.date) else None,
        starter_code=get_text(row, columns.starter_code),
        func_name=published.func_name,
    )
    return SourceRow(
        problem=problem,
        right_programs=get_programs(row.get(columns.right_programs), columns.right_programs),
        wrong_programs=get_programs(row.get(columns.wrong_programs), columns.wrong_programs),
    )


def _list_required(columns: ColumnNames) -> list[str]:
    names = (columns.statement, columns.tests, columns.inputs, columns.outputs, columns.id)
    return [name for name in names if name]


def _read_tests(columns: ColumnNames, row: Mapping[str, Any]) -> PublishedTests:
    func_name = get_text(row, columns.func_name) or None
    if columns.tests:
        return parse_tests(row[columns.tests], columns.tests, func_name)
    inputs = decode_json_column(row[columns.inputs], columns.inputs)
    outputs = decode_json_column(row[columns.outputs], columns.outputs)
    return pair_tests(inputs, outputs, columns.inputs, func_name)


def _read_id(columns: ColumnNames, row: Mapping[str, Any]) -> str:
    value = row.get(columns.id)
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
