"""Measure time, memory and size of a run's report.

    python -m benchmarks.run_report [--steps 1000 --rows 512 --tokens 200]

Writes a synthetic run into a temporary folder: groups of 16 completions, of which a part passes that differs from group
to group; no two programs are the same; two temperatures with an evaluation every 50 steps. Then it builds the report
from nothing, and again after 20 more steps, each in a process of its own, whose imports count. Token numbers are those
of the built-in starter policy if it is in ``.cache``, otherwise arbitrary ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
import yaml
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from evaluator.verdict import Status
from launch.composition import compose_config
from launch.evaluation.answers import SCHEMA as ANSWER_SCHEMA
from launch.records.run_directory import DICTIONARY_COLUMNS, SCHEMA
from launch.run_report.step_records import read_manifest

ROOT = Path(__file__).parents[1]
GROUP_SIZE = 16
NEW_STEPS = 20
EVALUATION_EVERY = 50
PROBLEMS = 120
SALT = "0000000"
"""Digits that are replaced in every program by other ones."""
WORDS = ("the", "sum", "of", "all", "pairs", "is", "read", "from", "input", "sort", "values", "print", "each", "answer")
BUILD = """
import json, pathlib, sys, time
began = time.perf_counter()
from launch.run_report.build import build_report
run = pathlib.Path(sys.argv[1])
build_report(run, run / "report")
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps({"seconds": time.perf_counter() - began, "cpu_s": time.process_time(), "peak_rss_mb": peak}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """Cost of a build, and the report after it.

    Attributes:
        seconds: wall time.
        cpu_s: CPU seconds of the building process.
        peak_rss_mb: its peak resident memory in MiB.
        report_mb: size of the report in MB.
        first_page_mb: files that a browser loads for the front page, in MB.
        all_texts: steps with the texts of all completions.
        signal_texts: steps with the texts of groups with signal.
        figures_only: steps without texts.
    """

    seconds: float
    cpu_s: float
    peak_rss_mb: float
    report_mb: float
    first_page_mb: float
    all_texts: int
    signal_texts: int
    figures_only: int


class SyntheticRun:
    """A run directory with random completions, which grows by steps."""

    def __init__(self, path: Path, rows: int, tokens: int, seed: int = 0) -> None:
        self.path = path
        self.rng = np.random.default_rng(seed)
        self.steps = 0
        (path / "rollouts").mkdir(parents=True)
        (path / "evaluation" / "T0.3").mkdir(parents=True)
        tokenizer = next(iter(sorted((ROOT / ".cache").glob("starter-*/tokenizer.json"))), None)
        config = asdict(compose_config(f"run.root={path.parent}", f"run.name={path.name}"))
        config["run"]["steps"] = 100_000
        config["model"]["path"] = str(path if tokenizer is None else tokenizer.parent)
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        self.template = self._make_template(rows, tokens, tokenizer)

    def add_steps(self, count: int) -> None:
        """Write the rollouts, metrics and evaluations of more steps."""
        lines = []
        for step in range(self.steps, self.steps + count):
            if step % EVALUATION_EVERY == 0:
                self._write_evaluation(step)
            pq.write_table(
                self._stamp(step),
                self.path / "rollouts" / f"step_{step:06d}.parquet",
                use_dictionary=list(DICTIONARY_COLUMNS),
            )
            lines.append(json.dumps(self._make_metrics(step)) + "\n")
        with open(self.path / "metrics.jsonl", "a") as file:
            file.writelines(lines)
        self.steps += count

    def _stamp(self, step: int) -> pa.Table:
        """Return the rows of a step: those of the template in another order of groups, each with its own program."""
        count = len(self.template)
        first = int(self.rng.integers(count // GROUP_SIZE)) * GROUP_SIZE
        table = self.template.take(pa.array(np.roll(np.arange(count), first)))
        columns = {name: table[name] for name in table.column_names}
        salts = [f"{step:04d}{row:03d}" for row in range(count)]
        for name in ("response", "code"):
            texts = [text.replace(SALT, salt) for text, salt in zip(table[name].to_pylist(), salts, strict=True)]
            columns[name] = pa.array(texts)
        for name in ("step", "policy_version_min", "policy_version_max"):
            columns[name] = pa.array(np.full(count, step, np.int32))
        return pa.table(columns, SCHEMA)

    def _make_template(self, rows: int, tokens: int, tokenizer: Path | None) -> pa.Table:
        encode = None if tokenizer is None else Tokenizer.from_file(str(tokenizer)).encode
        values = [
            self._make_row(group, sample, solved, tokens, encode)
            for group, solved in enumerate(self.rng.integers(-GROUP_SIZE // 2, GROUP_SIZE * 3 // 2, rows // GROUP_SIZE))
            for sample in range(GROUP_SIZE)
        ]
        return pa.table({field.name: pa.array([row[field.name] for row in values], field.type) for field in SCHEMA})

    def _make_row(self, group: int, sample: int, solved: int, tokens: int, encode: Any) -> dict[str, Any]:
        passed = sample < solved
        code, response = self._draw_answer(tokens)
        ids = self.rng.integers(0, 50_000, tokens) if encode is None else np.array(encode(response).ids)
        logprobs = -self.rng.exponential(0.3, len(ids)).astype(np.float32)
        test = " ".join(map(str, self.rng.integers(0, 1000, 10))) + "\n"
        share = min(max(solved, 0), GROUP_SIZE) / GROUP_SIZE
        return {
            **{field.name: None for field in SCHEMA},
            "question_id": f"synthetic/problem/{group:04d}",
            "sample_index": sample,
            "prompt": f"Problem {group}: " + " ".join(self.rng.choice(WORDS, 150)),
            "response": response,
            "response_token_ids": ids,
            "sampler_logprobs": logprobs,
            "learner_logprobs": logprobs + self.rng.normal(0, 1e-3, len(ids)).astype(np.float32),
            "finish_reason": "stop" if self.rng.random() < 0.95 else "length",
            "temperature": 1.0,
            "reward": float(passed),
            "shaped_reward": float(passed),
            "unmasked_advantage": float(passed) - share,
            "advantage": float(passed) - share,
            "truncated": False,
            "incomplete": False,
            "repeated_tail": False,
            "mask_draw": self.rng.random(),
            "masked": False,
            "trained": 0 < share < 1,
            "status": str(Status.PASSED if passed else Status.WRONG_ANSWER),
            "accepted_by": "exact" if passed else None,
            "tests_passed": 20 if passed else 3,
            "tests_total": 20,
            **({} if passed else {"first_failed": 3, "failed_input": test, "failed_expected": "1\n"}),
            "failed_actual": None if passed else test,
            "code": code,
            "generation_seconds": self.rng.exponential(2.0),
            "evaluation_seconds": self.rng.exponential(0.2),
        }

    def _draw_answer(self, tokens: int) -> tuple[str, str]:
        """Draw a program and an answer with it, of about ``tokens`` tokens."""
        lines = [f"values = list(map(int, input().split()))  # {SALT}"]
        while sum(map(len, lines)) < 0.9 * tokens:
            first, second, third = self.rng.choice(WORDS, 3)
            lines.append(f"{first}_{second} = sorted(values)[{self.rng.integers(100)}] + len('{third}')")
        code = "\n".join([*lines, "print(sum(values))"])
        return code, f"{' '.join(self.rng.choice(WORDS, tokens // 3))}\n```python\n{code}\n```"

    def _write_evaluation(self, step: int) -> None:
        names = [f"held_out/{problem:04d}" for problem in range(PROBLEMS) for _ in range(4)]
        for folder, bonus in (("", 0.0), ("T0.3", 0.1)):
            passed = self.rng.random(len(names)) < 0.3 + bonus + 0.4 * min(1.0, step / 1000)
            columns = {field.name: pa.nulls(len(names), field.type) for field in ANSWER_SCHEMA} | {
                "question_id": pa.array(names),
                "sample_index": pa.array(np.tile(np.arange(4, dtype=np.int32), PROBLEMS)),
                "text": pa.array(["```python\nprint(1)\n```"] * len(names)),
                "passed": pa.array(passed),
                "status": pa.array([str(Status.PASSED if each else Status.WRONG_ANSWER) for each in passed]),
                "platform": pa.array(["other"] * len(names)),
            }
            pq.write_table(
                pa.table(columns, ANSWER_SCHEMA), self.path / "evaluation" / folder / f"step_{step:06d}.parquet"
            )

    def _make_metrics(self, step: int) -> dict[str, float]:
        names = ("gen", "reward", "old_log_prob", "update_actor", "update_weights", "bookkeeping")
        seconds = {f"timing_s/{name}": float(self.rng.exponential(5.0)) for name in names}
        shares = (
            "group/all_solved",
            "group/none_solved",
            "truncation/rate",
            "truncation/masked",
            "actor/pg_clipfrac_higher",
        )
        others = ("diversity/distinct_4", "temperature/value", "actor/entropy", "actor/grad_norm", "mismatch/kl")
        return {
            "step": step,
            "critic/rewards/mean": float(0.3 + 0.2 * self.rng.random()),
            "response_length/mean": 200.0,
            "response_length/max": 512.0,
            "perf/throughput": 5000.0,
            **{name: float(0.2 * self.rng.random()) for name in shares},
            **{name: float(0.5 + 0.2 * self.rng.random()) for name in others},
            **seconds,
            "timing_s/step": sum(seconds.values()),
        }


def measure_build(run: Path) -> Measurement:
    """Build the report in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(run)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    report = run / "report"
    sizes = {path.relative_to(report): path.stat().st_size for path in report.rglob("*") if path.is_file()}
    first = [size for path, size in sizes.items() if path.parts[0] != "data" or path.name == "front.js"]
    levels = Counter(record.level for record in read_manifest(report / "data" / "manifest.json").steps.values())
    return Measurement(
        **json.loads(done.stdout.splitlines()[-1]),
        report_mb=sum(sizes.values()) / 1e6,
        first_page_mb=sum(first) / 1e6,
        all_texts=levels["all"],
        signal_texts=levels["signal"],
        figures_only=levels["none"],
    )


def main(
    steps: Annotated[int, typer.Option(help="steps of the run")] = 1000,
    rows: Annotated[int, typer.Option(help=f"completions per step, a multiple of {GROUP_SIZE}")] = 512,
    tokens: Annotated[int, typer.Option(help="tokens per completion, about")] = 200,
) -> None:
    """Measure time, memory and size of a run's report."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="bench-report-") as root:
        run = SyntheticRun(Path(root) / "run", rows, tokens)
        run.add_steps(steps)
        results["from nothing"] = measure_build(run.path)
        run.add_steps(NEW_STEPS)
        results[f"{NEW_STEPS} new steps"] = measure_build(run.path)
        results["nothing new"] = measure_build(run.path)
        size = sum(path.stat().st_size for path in (run.path / "rollouts").iterdir()) / 1e6
    table = Table("", *results, title=f"Report of {steps} steps of {rows} completions of {tokens} tokens")
    for name in asdict(results["from nothing"]):
        table.add_row(name, *(f"{asdict(each)[name]:,.1f}" for each in results.values()))
    Console(width=120).print(table)
    print(f"rollout files: {size:,.0f} MB, {os.cpu_count()} processors")
    rounded = {name: {key: round(value, 2) for key, value in asdict(each).items()} for name, each in results.items()}
    print(json.dumps({"steps": steps, "rows": rows, "tokens": tokens, "rollouts_mb": round(size, 1), **rounded}))


if __name__ == "__main__":
    typer.run(main)
