"""Pool of built-in problems with planted defects, as files for ``launch.curate`` and for the driver.

    build_pool ──► pool.jsonl ──► launch.curate ──► problems.parquet ──► problems of the arm ``curated``
                       └──────────── random part of the same size ─────► problems of the arm ``random``

Both arms see the statements of the pool: the starter policy has never seen the line about input and output that
*process* adds. Curated problems keep what the curation mended, such as a written checker or a dropped test. Those whose
tests it flags as weak are left out.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Literal

import pyarrow.parquet as pq

from benchmarks.ablation.runs import RunError
from benchmarks.tools.planted_defects import build_pool
from benchmarks.tools.processes import ROOT
from evaluator import Evaluator, Limits, Problem
from evaluator.problem import parse_problem, to_row
from launch.curation.candidates import Candidate
from launch.problems.starter import build_held_out_problems
from launch.records.run_directory import write_text_atomically

ArmName = Literal["curated", "random"]

ARMS: tuple[ArmName, ...] = ("curated", "random")
CLEAN = 200
PLANTED = 20
"""Problems with each kind of defect."""
POOL_FILE = "pool.jsonl"
EXCLUDED_FILE = "excluded.jsonl"
HELD_OUT_FILE = "held_out.jsonl"
WORKERS = 2
TIMEOUT_S = 6.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSets:
    """Problems of the benchmark.

    Attributes:
        pool: all candidates.
        curated: the problems that the curation keeps.
        held_out: the problems to evaluate on.
    """

    pool: tuple[Problem, ...]
    curated: tuple[Problem, ...]
    held_out: tuple[Problem, ...]

    def select(self, arm: ArmName, seed: int) -> list[Problem]:
        """Return the training problems of an arm. The random part depends on the seed."""
        if arm == "curated":
            return list(self.curated)
        return Random(seed).sample(self.pool, len(self.curated))


def prepare_sets(folder: Path, clean: int = CLEAN, planted: int = PLANTED) -> TrainingSets:
    """Build the pool and curate it into ``folder``, unless the files of an earlier call are there.

    Raises:
        RunError: the curation fails.
    """
    with Evaluator(Limits(wall_s=TIMEOUT_S, cpu_s=TIMEOUT_S), workers=WORKERS) as evaluator:
        built = build_pool(clean, planted, evaluator)
    held_out = tuple(variant.problem for variant in build_held_out_problems())
    rows = [make_row(candidate) for candidate in built.candidates]
    folder = folder / hash_rows(rows)
    write_rows(folder / POOL_FILE, rows)
    write_rows(folder / EXCLUDED_FILE, map(to_row, built.test_set.problems))
    curate(folder)
    problems = {candidate.problem.question_id: candidate.problem for candidate in built.candidates}
    curated = restore_statements(pq.read_table(folder / "curated" / "problems.parquet").to_pylist(), problems)
    return TrainingSets(pool=tuple(problems.values()), curated=tuple(curated), held_out=held_out)


def make_row(candidate: Candidate) -> dict[str, Any]:
    """Make the row of a file of problems with labelled programs."""
    programs = {
        "reference_solutions": list(candidate.right_programs),
        "wrong_solutions": list(candidate.wrong_programs),
        "licence": candidate.licence,
    }
    return {**to_row(candidate.problem), **programs}


def curate(folder: Path) -> None:
    """Run ``launch.curate`` on the pool; it goes on where an earlier call was stopped. Raises RunError."""
    command = [
        sys.executable, "-m", "launch.curate", f"sources=[{folder / POOL_FILE}]",
        f"exclude=[{folder / EXCLUDED_FILE}]", f"output={folder / 'curated'}",
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RunError(f"{' '.join(command)} ended with status {ended.returncode}:\n{ended.stderr[-3000:]}")


def restore_statements(rows: Iterable[Mapping[str, Any]], pool: Mapping[str, Problem]) -> list[Problem]:
    """Return the curated problems whose tests are not weak, each with the id and the statement that the pool has."""
    curated = []
    for row in rows:
        if not row["weak_tests"]:
            original = pool[row["source_id"]]
            columns = {name: value for name, value in to_row(original).items() if name in row} | {
                name: row[name] for name in ("public_test_cases", "private_test_cases", "metadata")
            }
            curated.append(replace(parse_problem(columns), extra=original.extra))
    return curated


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of problems atomically, unless its content is the same: its time of change is part of settings."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        write_text_atomically(path, text)


def hash_rows(*rows: Sequence[Any]) -> str:
    """Return a short hash of JSON values."""
    return hashlib.blake2b(json.dumps(rows, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()
