"""Real programs with known verdicts, and the choice of a workload from them."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Label = Literal["ok", "wa", "re", "tle", "ce"]

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PROBLEMS = "lcb_problems.jsonl.gz"
PROGRAMS = "lcb_solutions_labelled.jsonl.gz"

SEED = 20_240_607


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledProgram:
    """A program that a model wrote, and what an independent runner said of it on the tests we have.

    ``index`` counts the programs of one problem in the file's order.
    """

    question_id: str
    index: int
    code: str
    label: Label


def load_programs(path: Path) -> tuple[LabelledProgram, ...]:
    """Programs of a gzipped JSONL file with ``question_id``, ``code``, ``verdict_on_these_tests`` a row.

    Raises OSError when it cannot be read, ValueError for a verdict it should not hold.
    """
    seen: Counter[str] = Counter()
    programs = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, row in enumerate(map(json.loads, lines), 1):
            question_id = row["question_id"]
            label = row["verdict_on_these_tests"]
            if label not in get_args(Label):
                raise ValueError(f"{path}, line {number}: no such verdict: {label!r}")
            programs.append(
                LabelledProgram(question_id=question_id, index=seen[question_id], code=row["code"], label=label)
            )
            seen[question_id] += 1
    return tuple(programs)


def mixture(size: int, looping: int) -> dict[Label, int]:
    """How many programs of each label make a workload of ``size``: half fail, a tenth by looping, a tenth by crashing.

    Only ``looping`` programs that loop exist; what is lacking of a tenth are wrong answers instead.

    >>> mixture(400, looping=37)
    {'ok': 200, 'wa': 123, 're': 40, 'tle': 37}
    """
    loops = min(size // 10, looping)
    crashes = size // 10
    right = size // 2
    return {"ok": right, "wa": size - right - crashes - loops, "re": crashes, "tle": loops}


def choose_workload(
    programs: Sequence[LabelledProgram], wanted: Mapping[Label, int], seed: int = SEED
) -> tuple[LabelledProgram, ...]:
    """As many programs of each label as ``wanted``, always the same ones, in shuffled order.

    Drawn at random, except that a problem with a looping program is also given a right one where there is one: in
    training, too, the completions of a group answer one problem. Raises ValueError when there are too few of a label.
    """
    generator = random.Random(seed)
    pool = list(programs)
    generator.shuffle(pool)
    looping = [program for program in pool if program.label == "tle"][: wanted.get("tle", 0)]
    solvers = {program.question_id: program for program in pool if program.label == "ok"}
    first = [solvers[one] for one in dict.fromkeys(one.question_id for one in looping) if one in solvers]
    left = Counter(wanted)
    chosen = []
    for program in dict.fromkeys(first + pool):
        if left[program.label] > 0:
            left[program.label] -= 1
            chosen.append(program)
    lacking = {label: count for label, count in left.items() if count > 0}
    if lacking:
        raise ValueError(f"too few programs: {lacking} are lacking")
    generator.shuffle(chosen)
    return tuple(chosen)
