"""Measure ``launch.curate`` on synthetic problems: rows per second, CPU and peak memory by the number of rows.

    python -m benchmarks.curate [--rows 10000 --rows 100000]
    python -m benchmarks.curate --rows 100000 --rows 1000000 --tests 2 --words 30 --verified 0  # small rows; hours

Each size is curated by the command itself, in a process of its own with a local Ray cluster, from one file of JSONL for
every 10,000 rows. Of the problems, 2 % repeat an earlier statement, 1 % are malformed, and ``--verified`` of each 1,000
have a reference, which is judged; the others are kept unverified. Memory is the sum of proportional set sizes (memory
that processes share counts once) of the command and all its processes, sampled every half second. It should not grow
with the number of rows, but for the fingerprints, which one process compares. CPU time per row should be constant.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.tools.processes import measure_tree_cpu_seconds

FILE_ROWS = 10_000
SAMPLE_S = 0.5
WORDS = [a + b + c for a in ("ba", "ke", "li", "mo", "nu") for b in ("r", "s", "t", "v") for c in ("an", "el", "is")]

progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class CurationMeasurement:
    """Cost of curating ``rows`` rows.

    Attributes:
        rows: rows that were collected.
        kept: problems that were kept.
        wall_s: wall seconds of the command, with the start of Ray.
        cpu_s: CPU seconds of the command and all its processes.
        peak_mb: largest sum of proportional set sizes in MiB.
        stage_rows_per_s: rows that went into each stage, by the second of work (of one CPU).
    """

    rows: int
    kept: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    stage_rows_per_s: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class RowSize:
    """Size of the synthetic problems.

    Attributes:
        words: words of a statement.
        tests: tests of a problem.
        verified: problems in 1,000 that have a reference.
    """

    words: int = 120
    tests: int = 20
    verified: int = 10


def make_rows(count: int, size: RowSize, seed: int) -> Iterator[str]:
    """Yield ``count`` synthetic problems as lines of JSON, with statements and tests drawn with ``seed``."""
    generator = random.Random(seed)
    statement = ""
    for number in range(count):
        if number % 50 != 49 or not statement:  # otherwise it repeats the statement before
            words = " ".join(generator.choices(WORDS, k=size.words))
            statement = f"Problem {seed}-{number}: {words}. Read two integers and print their sum."
        if number % 100 == 50:
            yield '{"question_id": "malformed"}'
            continue
        pairs = [(generator.randrange(10**6), generator.randrange(10**6)) for _ in range(size.tests)]
        tests = [{"input": f"{a} {b}\n", "output": f"{a + b}\n", "testtype": "stdin"} for a, b in pairs]
        row: dict[str, Any] = {
            "question_id": f"{seed}-{number}",
            "question_content": statement,
            "private_test_cases": json.dumps(tests),
        }
        if number % 1000 < size.verified:
            row["reference_solutions"] = ["print(sum(map(int, input().split())))"]
        yield json.dumps(row)


def write_files(folder: Path, rows: int, size: RowSize) -> list[Path]:
    """Write the synthetic problems to files of up to ``FILE_ROWS`` rows."""
    paths = []
    for seed, first in enumerate(range(0, rows, FILE_ROWS)):
        path = folder / f"synthetic{seed}.jsonl"
        with path.open("w") as file:
            file.writelines(f"{line}\n" for line in make_rows(min(FILE_ROWS, rows - first), size, seed))
        paths.append(path)
    return paths


def measure_curation(rows: int, size: RowSize, cpus: int) -> CurationMeasurement:
    """Curate ``rows`` synthetic rows and measure the command."""
    with tempfile.TemporaryDirectory(prefix="bench-curate-") as scratch:
        folder = Path(scratch)
        files = write_files(folder, rows, size)
        output = folder / "curated"
        command = [
            *(sys.executable, "-m", "launch.curate", f"sources=[{','.join(map(str, files))}]", f"output={output}"),
            *("keep_unverified=true", f"cluster.num_cpus={cpus}"),
        ]
        log = folder / "log"
        began = time.monotonic()
        with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
            cpu_s = 0.0
            peak = 0
            while process.poll() is None:
                cpu_s = max(cpu_s, measure_tree_cpu_seconds(process.pid))
                peak = max(peak, measure_tree_memory(process.pid))
                time.sleep(SAMPLE_S)
        wall_s = time.monotonic() - began
        if process.returncode:
            raise SystemExit(f"launch.curate ended with status {process.returncode}:\n{log.read_text()[-3000:]}")
        stages = json.loads((output / "manifest.json").read_text())["stages"]
    return CurationMeasurement(
        rows=stages["collect"]["in"],
        kept=stages["verify"]["out"],
        wall_s=round(wall_s, 1),
        cpu_s=round(cpu_s, 1),
        peak_mb=round(peak / 2**20),
        stage_rows_per_s={name: round(t["in"] / max(t["seconds"], 1e-3)) for name, t in stages.items()},
    )


def measure_tree_memory(root: int) -> int:
    """Return the sum of proportional set sizes of a process and all its descendants in bytes."""
    total = 0
    for process in [psutil.Process(root), *psutil.Process(root).children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended meanwhile, or runs as another user
            continue
    return total


def print_report(measurements: list[CurationMeasurement]) -> None:
    """Print the measurements as a table."""
    table = Table("rows", "kept", "rows/s", "wall s", "CPU s", "CPU ms/row", "peak MiB", title="launch.curate")
    for entry in measurements:
        table.add_row(
            f"{entry.rows:,}",
            f"{entry.kept:,}",
            f"{entry.rows / entry.wall_s:,.0f}",
            f"{entry.wall_s:,.1f}",
            f"{entry.cpu_s:,.1f}",
            f"{1000 * entry.cpu_s / entry.rows:.2f}",
            f"{entry.peak_mb:,.0f}",
        )
    Console(width=120).print(table)


def compute_summary(measurements: list[CurationMeasurement]) -> dict[str, Any]:
    """Return the figures of the last line.

    ``cpu_ms_per_row`` and ``rows_per_s`` are those of the largest size. The two ratios compare it with the smallest.
    """
    first = measurements[0]
    last = measurements[-1]
    return {
        "rows_per_s": round(last.rows / last.wall_s, 1),
        "cpu_ms_per_row": round(1000 * last.cpu_s / last.rows, 3),
        "peak_mb": last.peak_mb,
        "peak_ratio": round(last.peak_mb / first.peak_mb, 3),
        "cpu_per_row_ratio": round(last.cpu_s / last.rows / (first.cpu_s / first.rows), 3),
        "sizes": [asdict(entry) for entry in measurements],
    }


def main(
    rows: Annotated[list[int], typer.Option(help="numbers of rows, ascending")] = [10_000, 100_000],  # noqa: B006
    words: Annotated[int, typer.Option(help="words of a statement")] = RowSize().words,
    tests: Annotated[int, typer.Option(help="tests of a problem")] = RowSize().tests,
    verified: Annotated[int, typer.Option(help="problems in 1,000 that have a reference")] = RowSize().verified,
    cpus: Annotated[int, typer.Option(help="blocks at a time")] = 2,
) -> None:
    """Measure launch.curate on synthetic problems."""
    measurements = []
    for count in rows:
        measurements.append(measure_curation(count, RowSize(words=words, tests=tests, verified=verified), cpus))
        progress.print(f"  {measurements[-1]}")
    print_report(measurements)
    print(json.dumps(compute_summary(measurements)))


if __name__ == "__main__":
    typer.run(main)
