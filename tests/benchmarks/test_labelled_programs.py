"""Loading labelled programs and selecting the evaluator benchmark's workload from them."""

import doctest
import gzip
import itertools
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tools import labelled_programs
from benchmarks.tools.labelled_programs import (
    LabelledProgram,
    compute_label_counts,
    load_labelled_programs,
    select_programs,
)

LABELS = ("ok", "wa", "re", "tle", "ce")


@st.composite
def program_lists(draw):
    pairs = draw(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(LABELS)), min_size=1, max_size=60))
    counts = Counter()
    programs = []
    for question, label in pairs:
        programs.append(LabelledProgram(question_id=f"q{question}", index=counts[question], code="", label=label))
        counts[question] += 1
    return programs


def test_docstring_examples():
    assert doctest.testmod(labelled_programs).failed == 0


@given(st.integers(1, 500), st.integers(0, 60))
def test_compute_label_counts_sums_to_the_size_and_half_fail(size, looping):
    counts = compute_label_counts(size, looping)
    assert sum(counts.values()) == size and min(counts.values()) >= 0
    assert counts["ok"] == size // 2
    assert counts["tle"] <= looping


@given(program_lists(), st.data())
def test_select_programs_takes_distinct_programs_by_label_and_is_deterministic(programs, data):
    available = Counter(program.label for program in programs)
    counts: dict[Any, int] = {label: data.draw(st.integers(0, available[label])) for label in LABELS}
    selected = select_programs(programs, counts)
    assert Counter(program.label for program in selected) == Counter({k: v for k, v in counts.items() if v})
    assert len(set(selected)) == len(selected) and set(selected) <= set(programs)
    assert select_programs(programs, counts) == selected


def test_select_programs_adds_a_right_program_for_problems_with_a_looping_one():
    programs = [
        LabelledProgram(question_id=f"q{i}", index=k, code="", label="ok") for i in range(300) for k in range(3)
    ]
    programs += [LabelledProgram(question_id=f"q{i}", index=3, code="", label="tle") for i in (7, 21, 999)]
    selected = select_programs(programs, {"ok": 8, "tle": 3})
    assert {"q7", "q21"} <= {program.question_id for program in selected if program.label == "ok"}


def test_select_programs_shuffles_problems():
    programs = [LabelledProgram(question_id=f"q{i}", index=k, code="", label="ok") for i in range(20) for k in range(4)]
    ids = [program.question_id for program in select_programs(programs, {"ok": 80})]
    assert sum(left == right for left, right in itertools.pairwise(ids)) < 20  # without shuffling, it would be 60


def test_select_programs_rejects_too_few_programs():
    with pytest.raises(ValueError, match=r"'tle': 1"):
        select_programs([LabelledProgram(question_id="q", index=0, code="", label="ok")], {"ok": 1, "tle": 1})


def write_rows(path, rows):
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


def test_programs_are_numbered_within_their_problem(tmp_path):
    rows = [
        {"question_id": question, "code": code, "verdict_on_these_tests": label}
        for question, code, label in (("a", "1", "ok"), ("b", "2", "wa"), ("a", "3", "tle"))
    ]
    programs = load_labelled_programs(write_rows(tmp_path / "p.jsonl.gz", rows))
    assert [(program.question_id, program.index, program.code, program.label) for program in programs] == [
        ("a", 0, "1", "ok"),
        ("b", 0, "2", "wa"),
        ("a", 1, "3", "tle"),
    ]


def test_load_labelled_programs_names_the_line_of_an_unknown_label(tmp_path):
    rows = [{"question_id": "a", "code": "", "verdict_on_these_tests": label} for label in ("ok", "great")]
    with pytest.raises(ValueError, match=r"line 2.*'great'"):
        load_labelled_programs(write_rows(tmp_path / "p.jsonl.gz", rows))
