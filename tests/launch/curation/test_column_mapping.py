"""Sets described by a YAML file."""

import json
from typing import Any

import pytest
import yaml

from launch.curation.candidates import Candidate
from launch.curation.sources.column_mapping import MappingError, load_mapped_reader
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import read_source, resolve_source

DESCRIPTION: dict[str, Any] = {
    "name": "contest_set",
    "licence": "CC-BY-4.0",
    "files": ["*.jsonl"],
    "columns": {
        "statement": "text",
        "tests": "cases",
        "id": "number",
        "difficulty": "rating",
        "date": "day",
        "right_programs": "accepted",
        "wrong_programs": "rejected",
    },
}
ROW = {
    "text": "Add 1.",
    "cases": json.dumps([{"input": "1", "output": "2"}]),
    "number": 17,
    "rating": 2000,
    "day": "2020-01-02",
    "accepted": ["print(2)"],
    "rejected": None,
}


def write(path, description):
    path.write_text(yaml.safe_dump(description))
    return path


def change_columns(**changes):
    columns = {name: column for name, column in (DESCRIPTION["columns"] | changes).items() if column is not None}
    return DESCRIPTION | {"columns": columns}


def test_rows_are_read_by_the_mapped_columns(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW) + "\n" + json.dumps({"text": "Add 1."}) + "\n")
    source = resolve_source(str(write(tmp_path / "set.yaml", DESCRIPTION)), READERS)
    assert source.files == (tmp_path / "rows.jsonl",)
    candidate, dropped = read_source(source.reader, source.files[0])
    assert isinstance(candidate, Candidate)
    assert (candidate.problem.question_id, candidate.licence) == ("contest_set/17", "CC-BY-4.0")
    assert (candidate.problem.difficulty, candidate.problem.contest_date) == ("hard", "2020-01-02")
    assert (candidate.right_programs, candidate.wrong_programs) == (("print(2)",), ())
    assert dropped.detail == "rows.jsonl, row 2: missing columns cases, number; the row has text"


def test_inputs_and_outputs_may_be_two_columns(tmp_path):
    description = change_columns(tests=None, inputs="given", outputs="expected", id=None, func_name="function")
    reader = load_mapped_reader(write(tmp_path / "set.yaml", description))
    row = {"text": "Double.", "given": [[2], [4]], "expected": "[4, 8]", "function": "double"}
    candidate = reader.read(row)
    assert [(test.input, test.output) for test in candidate.problem.tests] == [("2", "4"), ("4", "8")]
    assert candidate.problem.func_name == "double"


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (change_columns(statment="text"), r"columns\.statment: Extra inputs"),
        (change_columns(statement=None), r"columns\.statement: Field required"),
        (change_columns(tests=None), "name either tests, or both inputs and outputs"),
        (change_columns(inputs="a", outputs="b"), "name either tests, or both inputs and outputs"),
        (change_columns(tests=None, inputs="a"), "name either tests, or both inputs and outputs"),
        (DESCRIPTION | {"name": "a/b"}, "name: String should match"),
        (DESCRIPTION | {"files": []}, "files: "),
        (["a list"], "file: Input should be"),
    ],
)
def test_a_wrong_description_is_reported_with_file_and_key(tmp_path, description, message):
    with pytest.raises(MappingError, match=message) as caught:
        load_mapped_reader(write(tmp_path / "set.yaml", description))
    assert str(tmp_path / "set.yaml") in str(caught.value)


def test_a_file_that_is_not_yaml_is_reported(tmp_path):
    path = tmp_path / "set.yaml"
    path.write_text("name: [")
    with pytest.raises(MappingError, match="cannot be read"):
        load_mapped_reader(path)
