"""Recorded model-written programs with known verdicts, and the selection of a benchmark workload from them."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmarks.tools.processes import ROOT
from evaluator import Problem, load_problems

Label = Literal["ok", "wa", "re", "tle", "ce"]

DATA_DIRECTORY = ROOT.parent / "shared" / "data"
PROBLEMS_FILE = "lcb_problems.jsonl.gz"
PROGRAMS_FILE = "lcb_solutions_labelled.jsonl.gz"

SEED = 20_240_607


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledProgram:
    """A program that a model wrote, with an independent runner's verdict on the tests that are available here.

    Attributes:
        question_id: problem that the program answers.
        index: position among the programs of the same problem, in file order.
        code: Python source.
        label: verdict of the independent runner.
    """

    question_id: str
    index: int
    code: str
    label: Label


def load_labelled_programs(path: Path) -> tuple[LabelledProgram, ...]:
    """Load programs from gzipped JSONL with ``question_id``, ``code`` and ``verdict_on_these_tests`` in each row.

    Raises:
        OSError: the file cannot be read.
        ValueError: a row has an unknown verdict.
    """
    programs_seen: Counter[str] = Counter()
    programs = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, row in enumerate(map(json.loads, lines), 1):
            question_id = row["question_id"]
            label = row["verdict_on_these_tests"]
            if label not in get_args(Label):
                raise ValueError(f"{path}, line {number}: unknown verdict {label!r}; expected one of {get_args(Label)}")
            programs.append(
                LabelledProgram(
                    question_id=question_id, index=programs_seen[question_id], code=row["code"], label=label
                )
            )
            programs_seen[question_id] += 1
    return tuple(programs)


def load_problems_by_id(path: Path | str) -> dict[str, Problem]:
    """Load a file of problems as a dict by question id. Raises an error at the first bad row."""
    return {problem.question_id: problem for problem in load_problems(path, strict=True).problems}


def compute_label_counts(size: int, looping: int) -> dict[Label, int]:
    """Return the number of programs per label in a workload: half fail, a tenth by looping, a tenth by crashing.

    Args:
        size: programs in the workload.
        looping: available programs that loop. Where there are too few, wrong answers take their place.

    >>> compute_label_counts(400, looping=37)
    {'ok': 200, 'wa': 123, 're': 40, 'tle': 37}
    """
    loops = min(size // 10, looping)
    crashes = size // 10
    right = size // 2
    return {"ok": right, "wa": size - right - crashes - loops, "re": crashes, "tle": loops}


def select_programs(
    programs: Sequence[LabelledProgram], label_counts: Mapping[Label, int], seed: int = SEED
) -> tuple[LabelledProgram, ...]:
    """Select ``label_counts`` programs of each label at random, in shuffled order; the same seed selects the same ones.

    For a problem with a looping program, a right program is selected as well if there is one: in training, too, the
    completions of a group answer the same problem.

    Raises:
        ValueError: there are too few programs with some label.
    """
    generator = random.Random(seed)
    pool = list(programs)
    generator.shuffle(pool)
    looping = [program for program in pool if program.label == "tle"][: label_counts.get("tle", 0)]
    right_by_problem = {program.question_id: program for program in pool if program.label == "ok"}
    looping_problems = dict.fromkeys(program.question_id for program in looping)
    preferred = [right_by_problem[name] for name in looping_problems if name in right_by_problem]
    remaining = Counter(label_counts)
    selected = []
    for program in dict.fromkeys(preferred + pool):
        if remaining[program.label] > 0:
            remaining[program.label] -= 1
            selected.append(program)
    missing = {label: count for label, count in remaining.items() if count > 0}
    if missing:
        raise ValueError(f"too few labelled programs; missing by label: {missing}")
    generator.shuffle(selected)
    return tuple(selected)
