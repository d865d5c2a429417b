"""Compare launch.evaluate with overlap (judging answers while others are sampled) and without (judging afterwards).

    python -m benchmarks.evaluate [--data DIR] [--pairs N] [--size N]

There are two workloads. On each, both modes alternate in one run, with the same evaluator actors (2 sandboxes):

- *recorded programs*: programs that real models wrote, half of them wrong, a tenth looping. Each is returned after the
  time that an engine elsewhere (on GPUs) would take, at a fixed number of tokens per second and of answers at a time.
  Both modes get the same answers at the same pace, and sampling takes no CPU here.
- *real engine*: the starter policy on its held-out problems, with vLLM and sandboxes on the same cores. Each evaluation
  samples its own answers. Their programs end at once, so there is little to hide.

``hidden`` is the share of the shorter of sampling and judging that overlapping saves.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import typer
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from actors.evaluators.pool import EvaluatorPool
from actors.generators.pool import GeneratorPool
from actors.lifecycle import stop_all
from benchmarks.tools.labelled_programs import (
    DATA_DIRECTORY,
    PROBLEMS_FILE,
    PROGRAMS_FILE,
    compute_label_counts,
    load_labelled_programs,
    load_problems_by_id,
    select_programs,
)
from conf.schema import Config
from launch.cluster.placement import get_gpu_gib, resolve_devices
from launch.cluster.pools import make_evaluator_pool, make_generator_pool
from launch.cluster.ray_cluster import find_resources, start_ray
from launch.cluster.reservation import reserve
from launch.composition import compose_config
from launch.evaluation.answers import Answer, AnswerLog
from launch.evaluation.evaluation import AnswerSource, EngineSource, Evaluation, compute_max_in_flight
from launch.evaluation.model_evaluation import plan_evaluation_roles
from launch.preflight import read_model_shape
from launch.problems.prompts import PromptedProblem, build_prompts, format_answer
from launch.problems.starter import build_held_out_problems
from launch.session import resolve_local_model

TOKENS_PER_S = 40.0  # per answer: the speed of a served 4B model that decodes many answers at a time
RECORDED_MAX_IN_FLIGHT = 64  # answers sampled at a time
MAX_JUDGING = 16  # answers judged at a time
CHARACTERS_PER_TOKEN = 3.5
DEADLINE_S = 1800.0

console = Console(width=120, highlight=False)
progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class RecordedAnswerSource:
    """Source of recorded answers, each returned after the time that sampling it would take.

    ``texts`` are the answers by question id.
    """

    texts: dict[str, str]

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """Return the recorded answer to a problem."""
        text = self.texts[prompted.problem.question_id]
        tokens = round(len(text) / CHARACTERS_PER_TOKEN)
        await asyncio.sleep(tokens / TOKENS_PER_S)
        return Answer(
            question_id=prompted.problem.question_id,
            sample_index=sample_index,
            text=text,
            tokens=tokens,
            truncated=False,
            seconds=tokens / TOKENS_PER_S,
        )


@dataclass(frozen=True)
class EvaluationTiming:
    """Cost and result of one evaluation.

    Attributes:
        wall_s: wall seconds.
        sampling_s: wall seconds until the last answer was sampled.
        passed: (question id, sample index) of the answers that passed.
    """

    wall_s: float
    sampling_s: float
    passed: frozenset[tuple[str, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationWorkload:
    """Problems to evaluate, and where their answers come from and are judged.

    Attributes:
        name: name of the workload.
        problems: problems with their prompts.
        samples: answers per problem.
        source: source of the answers.
        max_in_flight: answers sampled at a time.
        evaluators: pool that judges the answers.
    """

    name: str
    problems: Sequence[PromptedProblem]
    samples: int
    source: AnswerSource
    max_in_flight: int
    evaluators: EvaluatorPool

    async def run(self, overlapped: bool) -> EvaluationTiming:
        """Run a whole evaluation, judging answers during sampling (``overlapped``) or afterwards."""
        last_answer_at = [0.0]

        class TimedSource:
            async def answer(_, prompted: PromptedProblem, sample_index: int) -> Answer:
                answer = await self.source.answer(prompted, sample_index)
                last_answer_at[0] = time.monotonic()
                return answer

        with tempfile.TemporaryDirectory() as scratch:
            log = AnswerLog(Path(scratch) / "answers.jsonl", {})
            evaluation = Evaluation(
                problems=self.problems,
                samples=self.samples,
                source=TimedSource(),
                evaluators=self.evaluators,
                max_in_flight=self.max_in_flight,
                max_judging=MAX_JUDGING,
                deadline_s=DEADLINE_S,
                judge_while_sampling=overlapped,
            )
            began = time.monotonic()
            await evaluation.run(log)
            wall_s = time.monotonic() - began
            log.close()
        passed = frozenset(key for key, judgement in log.judgements.items() if judgement.verdict.passed)
        mode = "judged while sampling" if overlapped else "judged afterwards"
        progress.print(f"  {self.name}, {mode}: {wall_s:.1f} s")
        return EvaluationTiming(wall_s, last_answer_at[0] - began, passed)


def build_recorded_workload(data: Path, size: int, evaluators: EvaluatorPool) -> EvaluationWorkload:
    """Build the workload of ``size`` recorded programs; each gets a copy of its problem with an id of its own."""
    programs = load_labelled_programs(data / PROGRAMS_FILE)
    label_counts = compute_label_counts(size, looping=sum(program.label == "tle" for program in programs))
    selected = select_programs(programs, label_counts)
    problems = load_problems_by_id(data / PROBLEMS_FILE)
    prompted_problems = []
    texts = {}
    for number, program in enumerate(selected):
        problem = replace(problems[program.question_id], question_id=f"{program.question_id}:{number}")
        prompted_problems.append(PromptedProblem(problem, np.zeros(0, dtype=np.int32), ()))
        texts[problem.question_id] = format_answer(program.code)
    return EvaluationWorkload(
        name="recorded programs",
        problems=prompted_problems,
        samples=1,
        source=RecordedAnswerSource(texts),
        max_in_flight=RECORDED_MAX_IN_FLIGHT,
        evaluators=evaluators,
    )


def build_engine_workload(
    config: Config, model: Path, generators: GeneratorPool, evaluators: EvaluatorPool
) -> EvaluationWorkload:
    """Build the workload of the held-out starter problems.

    Args:
        config: configuration.
        model: checkpoint of the starter policy, for its tokenizer.
        generators: pool that samples the answers.
        evaluators: pool that judges the answers.
    """
    problems = [starter.problem for starter in build_held_out_problems()]
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompted_problems = build_prompts(problems, tokenizer, "training", config.generator.max_prompt_tokens)
    source = EngineSource(
        generators=generators, max_tokens=config.generator.max_response_tokens, temperature=1.0, top_p=1.0
    )
    return EvaluationWorkload(
        name="real engine",
        problems=prompted_problems,
        samples=config.evaluation.samples,
        source=source,
        max_in_flight=compute_max_in_flight(config),
        evaluators=evaluators,
    )


@dataclass(frozen=True)
class OverlapComparison:
    """A workload evaluated several times with judging during sampling, and as often with judging afterwards."""

    workload: EvaluationWorkload
    overlapped: Sequence[EvaluationTiming]
    afterwards: Sequence[EvaluationTiming]

    @property
    def speed_ratios(self) -> list[float]:
        """Speed with overlap over speed without, pair by pair."""
        return [after.wall_s / over.wall_s for over, after in zip(self.overlapped, self.afterwards, strict=True)]

    @property
    def hidden_fraction(self) -> float:
        """Share of the shorter of sampling and judging that overlapping saves, by medians."""
        wall_s = statistics.median(timing.wall_s for timing in self.afterwards)
        sampling_s = statistics.median(timing.sampling_s for timing in self.afterwards)
        saved_s = wall_s - statistics.median(timing.wall_s for timing in self.overlapped)
        return saved_s / min(sampling_s, wall_s - sampling_s)

    def problems_per_s(self, timings: Sequence[EvaluationTiming]) -> float:
        """Return problems per second, from the median time."""
        return len(self.workload.problems) / statistics.median(timing.wall_s for timing in timings)


async def compare_modes(workload: EvaluationWorkload, pairs: int) -> OverlapComparison:
    """Evaluate ``pairs`` times in each mode; the mode that starts alternates."""
    overlapped: list[EvaluationTiming] = []
    afterwards: list[EvaluationTiming] = []
    for number in range(pairs):
        for overlap in (number % 2 == 0, number % 2 == 1):
            (overlapped if overlap else afterwards).append(await workload.run(overlap))
    return OverlapComparison(workload, overlapped, afterwards)


def print_report(comparisons: Sequence[OverlapComparison]) -> None:
    """Print a table, and the metrics as one JSON object on the last line."""
    table = Table(title="launch.evaluate with judging while sampling and afterwards", title_justify="left")
    headings = (
        "workload",
        "answers",
        "problems/s, while sampling",
        "problems/s, afterwards",
        "speed ratio (range)",
        "sampling s",
        "judging s",
        "hidden share",
    )
    for heading in headings:
        table.add_column(heading)
    summary: dict[str, Any] = {}
    for comparison in comparisons:
        ratios = comparison.speed_ratios
        sampling_s = statistics.median(timing.sampling_s for timing in comparison.afterwards)
        judging_s = statistics.median(timing.wall_s - timing.sampling_s for timing in comparison.afterwards)
        table.add_row(
            comparison.workload.name,
            str(len(comparison.workload.problems) * comparison.workload.samples),
            f"{comparison.problems_per_s(comparison.overlapped):.2f}",
            f"{comparison.problems_per_s(comparison.afterwards):.2f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            f"{sampling_s:.1f}",
            f"{judging_s:.1f}",
            f"{comparison.hidden_fraction:.0%}",
        )
        name = comparison.workload.name.replace(" ", "_")
        summary[f"ratio_{name}"] = round(statistics.median(ratios), 3)
        summary[f"hidden_{name}"] = round(comparison.hidden_fraction, 3)
    recorded = comparisons[0]
    passed = [timing.passed for timing in (*recorded.overlapped, *recorded.afterwards)]
    summary["verdicts_changed"] = len(frozenset.union(*passed) - frozenset.intersection(*passed))
    console.print(table)
    console.print(
        f"Recorded programs: {RECORDED_MAX_IN_FLIGHT} answers at a time, {TOKENS_PER_S:g} tokens/s each; verdicts that "
        f"differ between evaluations: {summary['verdicts_changed']}"
    )
    print(json.dumps(summary))


async def measure(config: Config, model: Path, data: Path, size: int, pairs: int) -> list[OverlapComparison]:
    """Compare both modes on both workloads, on actors that are started once.

    Args:
        config: configuration.
        model: checkpoint of the starter policy.
        data: directory with the problems and the recorded programs.
        size: number of recorded programs.
        pairs: evaluations per workload and mode.
    """
    parts = plan_evaluation_roles(config, read_model_shape(config, model), get_gpu_gib(config))
    reservation = await reserve(parts, config.cluster.placement_deadline_s)
    evaluators = make_evaluator_pool(config)
    max_model_tokens = config.generator.max_prompt_tokens + config.generator.max_response_tokens
    generators = make_generator_pool(config, model, 10_000, max_model_tokens, reservation)
    try:
        await asyncio.gather(evaluators.start(DEADLINE_S), generators.start(DEADLINE_S))
        workloads = (
            build_recorded_workload(data, size, evaluators),
            build_engine_workload(config, model, generators, evaluators),
        )
        return [await compare_modes(workload, pairs) for workload in workloads]
    finally:
        generators.close()
        await evaluators.stop()
        stop_all([*generators.actors, *evaluators.actors])


def main(
    data: Annotated[Path, typer.Option(help="directory with the problems and the labelled programs")] = DATA_DIRECTORY,
    pairs: Annotated[int, typer.Option(min=1, help="evaluations per workload and mode")] = 3,
    size: Annotated[int, typer.Option(min=20, help="number of recorded programs")] = 240,
) -> None:
    """Measure how much time judging during sampling saves."""
    if not (data / PROGRAMS_FILE).exists():
        progress.print(f"{PROGRAMS_FILE} is missing in {data}: name its directory with --data")
        raise typer.Exit(2)
    config = compose_config(command="evaluate", training=False)
    model = resolve_local_model(config, progress)
    config = resolve_devices(config, find_resources(config))
    start_ray(config)
    try:
        comparisons = asyncio.run(measure(config, model, data, size, pairs))
    finally:
        ray.shutdown()
    print_report(comparisons)


if __name__ == "__main__":
    typer.run(main)
