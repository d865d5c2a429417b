"""Measure size and write time of a step's rollout file, with and without the columns that the run report added.

    python -m benchmarks.rollout_files [--rounds N]

A step of 32 groups of 16 completions of 200 tokens, of which three of four fail. Each schema is written in turn, in one
run. There are two workloads:

- *short*: a group's failed programs fail at one test of a few numbers, and print a few numbers.
- *bound*: each failed program fails at a test of its own, and all texts are as long as ``cut_text`` allows. They are
  random, so that nothing is saved by compression.
"""

from __future__ import annotations

import base64
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from conf.schema import Config
from evaluator.verdict import FailedTest, Status, Verdict, build_verdict_without_tests, cut_text
from launch.composition import compose_config
from launch.records import run_directory
from launch.records.run_directory import SCHEMA, RunDirectory
from launch.training.run import credit_settings
from learner.credit import CreditedGroup, assign_credit
from learner.rollout import Completion, CompletionId, Group, Judgement, Rollout

GROUPS = 32
GROUP_SIZE = 16
TOKENS = 200
PASS_SHARE = 0.25
VOCABULARY = 151_936
WORDS = ("for", "in", "range(n):", "print(", "answer", "=", "0", "if", "the", "sum", "of", "input()", "return", "\n")
ADDED_COLUMNS = (
    "learner_logprobs",
    "unmasked_advantage",
    "truncated",
    "incomplete",
    "repeated_tail",
    "mask_draw",
    "failed_input",
    "failed_expected",
    "failed_actual",
)
OLD_SCHEMA = pa.schema([field for field in SCHEMA if field.name not in ADDED_COLUMNS])


@dataclass(frozen=True)
class Measurement:
    """Bytes per completion of a rollout file, and the seconds of each write."""

    bytes_per_completion: float
    seconds: list[float]


class Workload:
    """Random completions with judgements; ``bound`` makes the texts of failed tests as long as they may be."""

    def __init__(self, bound: bool, seed: int = 0) -> None:
        self.bound = bound
        self.rng = np.random.default_rng(seed)

    def build_groups(self, config: Config) -> list[CreditedGroup]:
        """Build the credited groups of a step."""
        groups = [self._build_group(number) for number in range(GROUPS)]
        settings = credit_settings(config.algorithm, config.generator.max_response_tokens, config.run.seed)
        return assign_credit(groups, [True] * GROUPS, settings, 0)

    def draw_learner_logprobs(self, groups: list[CreditedGroup]) -> dict[CompletionId, np.ndarray]:
        """Draw log-probs of the learner, which differ from the sampler's by rounding, for every completion."""
        completions = [item.rollout.completion for group in groups for item in group.rollouts]
        return {
            completion.id: completion.sampler_logprobs + self.rng.normal(0, 1e-3, TOKENS).astype(np.float32)
            for completion in completions
        }

    def _build_group(self, number: int) -> Group:
        prompt = self._draw_words(400)
        common = FailedTest(input=self._draw_text(), expected=self._draw_text(), actual=None)
        rollouts = tuple(self._build_rollout(number, index, common) for index in range(GROUP_SIZE))
        return Group(f"problem-{number}", prompt, rollouts)

    def _build_rollout(self, number: int, index: int, common: FailedTest) -> Rollout:
        completion = Completion(
            claim=number,
            question_id=f"problem-{number}",
            sample_index=index,
            prompt_token_ids=np.zeros(400, np.int32),
            response_token_ids=np.minimum(self.rng.zipf(1.2, TOKENS), VOCABULARY - 1).astype(np.int32),
            sampler_logprobs=-self.rng.random(TOKENS).astype(np.float32),
            finish_reason="stop",
            temperature=1.0,
            policy_versions=np.zeros(TOKENS, np.int32),
            text=self._draw_words(TOKENS),
            generation_seconds=1.0,
        )
        verdict = self._build_verdict(self.rng.random() < PASS_SHARE, common)
        judgement = Judgement(verdict=verdict, code=completion.text[:300], incomplete=False, seconds=0.1)
        return Rollout(completion, judgement, float(verdict.passed))

    def _build_verdict(self, passes: bool, common: FailedTest) -> Verdict:
        if passes:
            return build_verdict_without_tests(Status.PASSED, "", 20)
        test = FailedTest(
            input=self._draw_text() if self.bound else common.input,
            expected=self._draw_text() if self.bound else common.expected,
            actual=self._draw_text(),
        )
        return Verdict(
            status=Status.WRONG_ANSWER,
            tests_passed=3,
            tests_run=4,
            tests_total=20,
            first_failed=3,
            accepted_by=None,
            seconds=0.1,
            detail="",
            failed_test=test,
        )

    def _draw_text(self) -> str:
        if self.bound:
            return cut_text(base64.b64encode(self.rng.bytes(3000)).decode())
        return " ".join(map(str, self.rng.integers(0, 1000, 10))) + "\n"

    def _draw_words(self, count: int) -> str:
        return " ".join(self.rng.choice(WORDS, count))


def measure_workload(root: Path, bound: bool, rounds: int) -> dict[str, Measurement]:
    """Write the file of one workload ``rounds`` times with each schema, in turn; the first round is not measured.

    Args:
        root: folder for the run directory.
        bound: texts of failed tests are as long as they may be.
        rounds: measured rounds.

    Returns:
        Measurements by schema, "before" and "after".
    """
    config = compose_config(f"run.root={root}", f"run.name=bound_{bound}", "+experiment=lcb_v6")
    directory = RunDirectory(config)
    workload = Workload(bound)
    groups = workload.build_groups(config)
    learner_logprobs = workload.draw_learner_logprobs(groups)
    path = directory.path / "rollouts" / "step_000000.parquet"
    seconds: dict[str, list[float]] = {"before": [], "after": []}
    sizes = {}
    for _ in range(rounds + 1):
        for name, schema in (("before", OLD_SCHEMA), ("after", SCHEMA)):
            run_directory.SCHEMA = schema
            began = time.perf_counter()
            directory.write_rollouts(0, groups, learner_logprobs)
            seconds[name].append(time.perf_counter() - began)
            sizes[name] = path.stat().st_size / (GROUPS * GROUP_SIZE)
    run_directory.SCHEMA = SCHEMA
    return {name: Measurement(sizes[name], values[1:]) for name, values in seconds.items()}


def main(rounds: Annotated[int, typer.Option(help="measured writes per workload and schema")] = 15) -> None:
    """Measure size and write time of a rollout file."""
    table = Table(
        *("workload", "columns", "bytes per completion", "ms per file, median", "ms per file, all"),
        title=f"Rollout file of {GROUPS * GROUP_SIZE} completions of {TOKENS} tokens",
    )
    report: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-rollouts-") as root:
        for workload, bound in (("short", False), ("bound", True)):
            report[workload] = {}
            for name, measurement in measure_workload(Path(root), bound, rounds).items():
                milliseconds = [1e3 * value for value in measurement.seconds]
                row = {"bytes": measurement.bytes_per_completion, "ms": median(milliseconds)}
                report[workload][name] = {key: round(value, 1) for key, value in row.items()}
                spread = f"{min(milliseconds):.1f} to {max(milliseconds):.1f}"
                table.add_row(workload, name, f"{row['bytes']:.0f}", f"{row['ms']:.1f}", spread)
    Console(width=120).print(table)
    print(json.dumps(report))


if __name__ == "__main__":
    typer.run(main)
