"""Join LiveCodeBench problems with programs that models wrote for them, as a file of problems for ``launch.curate``.

    python -m benchmarks.tools.labelled_problems OUTPUT.jsonl

A program is right if LiveCodeBench judged it so with all of its tests, of which the problems here have a part. The
curation then measures how well this part tells right programs from wrong ones.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.tools.labelled_programs import DATA_DIRECTORY, PROBLEMS_FILE, PROGRAMS_FILE


def join(data: Path, output: Path) -> None:
    """Write the problems with the columns ``reference_solutions`` and ``wrong_solutions``.

    Programs on which two official verdicts differ are left out.
    """
    programs: defaultdict[tuple[str, bool], list[str]] = defaultdict(list)
    with gzip.open(data / PROGRAMS_FILE, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            verdicts = set(row["lcb_official"])
            if len(verdicts) == 1:
                programs[row["question_id"], verdicts.pop()].append(row["code"])
    with (
        gzip.open(data / PROBLEMS_FILE, "rt", encoding="utf-8") as lines,
        output.open("w", encoding="utf-8") as file,
    ):
        for row in map(json.loads, lines):
            right = programs[row["question_id"], True]
            wrong = programs[row["question_id"], False]
            labelled = {"reference_solutions": right, "wrong_solutions": wrong}
            file.write(json.dumps({**row, **labelled, "licence": "MIT"}) + "\n")


def main(
    output: Path,
    data: Annotated[Path, typer.Option(help="directory of the published files")] = DATA_DIRECTORY,
) -> None:
    """Join the files."""
    join(data, output)


if __name__ == "__main__":
    typer.run(main)
