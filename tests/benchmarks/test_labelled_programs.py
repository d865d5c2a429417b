"""The choice of the evaluator benchmark's workload."""

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
from benchmarks.tools.labelled_programs import LabelledProgram, choose_workload, load_programs, mixture

LABELS = ("ok", "wa", "re", "tle", "ce")


@st.composite
def program_lists(draw):
    labels = draw(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(LABELS)), min_size=1, max_size=60))
    seen = Counter()
    programs = []
    for question, label in labels:
        programs.append(LabelledProgram(question_id=f"q{question}", index=seen[question], code="", label=label))
        seen[question] += 1
    return programs


def test_examples():
    assert doctest.testmod(labelled_programs).failed == 0


@given(st.integers(1, 500), st.integers(0, 60))
def test_the_mixture_has_the_asked_size_and_half_of_it_fails(size, looping):
    wanted = mixture(size, looping)
    assert sum(wanted.values()) == size and min(wanted.values()) >= 0
    assert wanted["ok"] == size // 2
    assert wanted["tle"] <= looping


@given(program_lists(), st.data())
def test_a_workload_holds_what_was_wanted_once_each_and_always_the_same(programs, data):
    counts = Counter(program.label for program in programs)
    wanted: dict[Any, int] = {label: data.draw(st.integers(0, counts[label])) for label in LABELS}
    chosen = choose_workload(programs, wanted)
    assert Counter(program.label for program in chosen) == Counter({k: v for k, v in wanted.items() if v})
    assert len(set(chosen)) == len(chosen) and set(chosen) <= set(programs)
    assert choose_workload(programs, wanted) == chosen


def test_problems_with_a_looping_program_come_with_a_right_one():
    programs = [
        LabelledProgram(question_id=f"q{i}", index=k, code="", label="ok") for i in range(300) for k in range(3)
    ]
    programs += [LabelledProgram(question_id=f"q{i}", index=3, code="", label="tle") for i in (7, 21, 999)]
    chosen = choose_workload(programs, {"ok": 8, "tle": 3})
    assert {"q7", "q21"} <= {one.question_id for one in chosen if one.label == "ok"}


def test_the_order_mixes_problems():
    programs = [LabelledProgram(question_id=f"q{i}", index=k, code="", label="ok") for i in range(20) for k in range(4)]
    ids = [program.question_id for program in choose_workload(programs, {"ok": 80})]
    assert sum(left == right for left, right in itertools.pairwise(ids)) < 20  # 60 were they side by side


def test_too_few_programs_are_refused():
    with pytest.raises(ValueError, match=r"'tle': 1"):
        choose_workload([LabelledProgram(question_id="q", index=0, code="", label="ok")], {"ok": 1, "tle": 1})


def write_rows(path, rows):
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


def test_programs_are_numbered_by_problem(tmp_path):
    rows = [
        {"question_id": question, "code": code, "verdict_on_these_tests": label}
        for question, code, label in (("a", "1", "ok"), ("b", "2", "wa"), ("a", "3", "tle"))
    ]
    programs = load_programs(write_rows(tmp_path / "p.jsonl.gz", rows))
    assert [(one.question_id, one.index, one.code, one.label) for one in programs] == [
        ("a", 0, "1", "ok"),
        ("b", 0, "2", "wa"),
        ("a", 1, "3", "tle"),
    ]


def test_an_unknown_label_is_named_with_its_line(tmp_path):
    rows = [{"question_id": "a", "code": "", "verdict_on_these_tests": label} for label in ("ok", "great")]
    with pytest.raises(ValueError, match=r"line 2.*'great'"):
        load_programs(write_rows(tmp_path / "p.jsonl.gz", rows))
