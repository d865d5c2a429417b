"""launch.evaluate with answers judged while others are sampled, against all sampled first and judged afterwards.

    python -m benchmarks.evaluate [--data DIR] [--pairs N] [--size N]

Two parts, each alternating both orders in one run, with the same evaluator actors (2 sandboxes):

- *recorded programs*: what real models wrote, half of it wrong, a tenth looping, given back after the time that an
  engine elsewhere (on GPUs) would take: one token after the other at a fixed rate, a fixed number of answers at once.
  Both sides get the same samples at the same pace, and sampling takes no CPU here.
- *real engine*: the starter policy on its held-out problems, vLLM and sandboxes on the same cores. Both sides sample
  for themselves. Its programs end at once, so there is little to hide.

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
    DATA,
    PROBLEMS,
    PROGRAMS,
    choose_workload,
    load_programs,
    mixture,
)
from conf.schema import Config
from evaluator import load_problems
from launch.cluster.placement import decide_devices
from launch.cluster.pools import evaluator_pool, generator_pool
from launch.cluster.ray_cluster import find_resources, start_ray
from launch.cluster.reservation import reserve
from launch.composition import compose_config
from launch.evaluation.answers import Answer, AnswerLog
from launch.evaluation.evaluation import AnswerSource, EngineSource, Evaluation, in_flight
from launch.evaluation.model_evaluation import roles
from launch.preflight import model_parameters
from launch.problems.prompts import PromptedProblem, answer, prompted
from launch.problems.starter import held_out_problems
from launch.session import local_model

TOKENS_PER_S = 40.0  # of one answer: what a served 4B model gives when it decodes many at once
AT_ONCE = 64  # answers
IN_JUDGEMENT = 16
CHARACTERS_PER_TOKEN = 3.5
DEADLINE_S = 1800.0

console = Console(width=120, highlight=False)
progress = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Recorded:
    """Gives recorded answers, by question, after the time that writing them would take."""

    texts: dict[str, str]

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """The recorded answer."""
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
class Timed:
    """One evaluation: wall seconds in all, of sampling until the last answer, and which answers passed."""

    wall_s: float
    sampling_s: float
    passed: frozenset[tuple[str, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What to ask whom, and how many answers at once."""

    name: str
    problems: Sequence[PromptedProblem]
    samples: int
    source: AnswerSource
    at_once: int
    evaluators: EvaluatorPool

    async def run(self, overlapped: bool) -> Timed:
        """Evaluate once, from nothing."""
        last = [0.0]

        class Watched:
            async def answer(_, prompted: PromptedProblem, sample_index: int) -> Answer:
                answer = await self.source.answer(prompted, sample_index)
                last[0] = time.monotonic()
                return answer

        with tempfile.TemporaryDirectory() as scratch:
            log = AnswerLog(Path(scratch) / "answers.jsonl", {})
            asked = Evaluation(
                problems=self.problems,
                samples=self.samples,
                source=Watched(),
                evaluators=self.evaluators,
                in_flight=self.at_once,
                in_judgement=IN_JUDGEMENT,
                deadline_s=DEADLINE_S,
                overlapped=overlapped,
            )
            began = time.monotonic()
            await asked.run(log)
            wall = time.monotonic() - began
            log.close()
        passed = frozenset(key for key, judgement in log.judgements.items() if judgement.verdict.passed)
        progress.print(f"  {self.name}, {'overlapped' if overlapped else 'afterwards'}: {wall:.1f} s")
        return Timed(wall, last[0] - began, passed)


def recorded_part(data: Path, size: int, evaluators: EvaluatorPool) -> Part:
    """``size`` recorded programs, each asked for as if its problem were one of its own."""
    programs = load_programs(data / PROGRAMS)
    chosen = choose_workload(programs, mixture(size, looping=sum(program.label == "tle" for program in programs)))
    problems = {problem.question_id: problem for problem in load_problems(data / PROBLEMS, strict=True).problems}
    asked = []
    texts = {}
    for number, program in enumerate(chosen):
        problem = replace(problems[program.question_id], question_id=f"{program.question_id}:{number}")
        asked.append(PromptedProblem(problem, np.zeros(0, dtype=np.int32), ()))
        texts[problem.question_id] = answer(program.code)
    return Part(
        name="recorded programs",
        problems=asked,
        samples=1,
        source=Recorded(texts),
        at_once=AT_ONCE,
        evaluators=evaluators,
    )


def engine_part(config: Config, model: Path, generators: GeneratorPool, evaluators: EvaluatorPool) -> Part:
    """The starter policy on its held-out problems."""
    problems = [starter.problem for starter in held_out_problems()]
    tokenizer = AutoTokenizer.from_pretrained(model)
    asked = prompted(problems, tokenizer, "training", config.generator.max_prompt_tokens)
    source = EngineSource(
        generators=generators, max_tokens=config.generator.max_response_tokens, temperature=1.0, top_p=1.0
    )
    return Part(
        name="real engine",
        problems=asked,
        samples=config.evaluation.samples,
        source=source,
        at_once=in_flight(config),
        evaluators=evaluators,
    )


@dataclass(frozen=True)
class Compared:
    """A part measured both ways, several times."""

    part: Part
    overlapped: Sequence[Timed]
    afterwards: Sequence[Timed]

    @property
    def ratios(self) -> list[float]:
        """Problems/s overlapped over problems/s afterwards, pair by pair."""
        return [after.wall_s / over.wall_s for over, after in zip(self.overlapped, self.afterwards, strict=True)]

    @property
    def hidden(self) -> float:
        """Share of the shorter of sampling and judging that overlapping saves, by medians."""
        wall = statistics.median(one.wall_s for one in self.afterwards)
        sampling = statistics.median(one.sampling_s for one in self.afterwards)
        saved = wall - statistics.median(one.wall_s for one in self.overlapped)
        return saved / min(sampling, wall - sampling)

    def per_second(self, runs: Sequence[Timed]) -> float:
        """Problems/s, by the median."""
        return len(self.part.problems) / statistics.median(one.wall_s for one in runs)


async def compare(part: Part, pairs: int) -> Compared:
    """Both ways, who begins alternating."""
    overlapped: list[Timed] = []
    afterwards: list[Timed] = []
    for number in range(pairs):
        for now in (number % 2 == 0, number % 2 == 1):
            (overlapped if now else afterwards).append(await part.run(now))
    return Compared(part, overlapped, afterwards)


def print_report(compared: Sequence[Compared]) -> None:
    """A table, and as the last line one JSON object."""
    table = Table(title="problems/s of launch.evaluate", title_justify="left")
    headings = (
        "part",
        "answers",
        "overlapped",
        "afterwards",
        "ratio (least-most)",
        "sampling s",
        "judging s",
        "hidden",
    )
    for heading in headings:
        table.add_column(heading)
    figures: dict[str, Any] = {}
    for one in compared:
        ratios = one.ratios
        sampling = statistics.median(run.sampling_s for run in one.afterwards)
        judging = statistics.median(run.wall_s - run.sampling_s for run in one.afterwards)
        table.add_row(
            one.part.name,
            str(len(one.part.problems) * one.part.samples),
            f"{one.per_second(one.overlapped):.2f}",
            f"{one.per_second(one.afterwards):.2f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            f"{sampling:.1f}",
            f"{judging:.1f}",
            f"{one.hidden:.0%}",
        )
        name = one.part.name.replace(" ", "_")
        figures[f"ratio_{name}"] = round(statistics.median(ratios), 3)
        figures[f"hidden_{name}"] = round(one.hidden, 3)
    recorded = compared[0]
    verdicts = [run.passed for run in (*recorded.overlapped, *recorded.afterwards)]
    figures["verdicts_changed"] = len(frozenset.union(*verdicts) - frozenset.intersection(*verdicts))
    console.print(table)
    console.print(
        f"recorded programs: {AT_ONCE} at once, {TOKENS_PER_S:g} tokens/s each; verdicts that differ between runs: "
        f"{figures['verdicts_changed']}"
    )
    print(json.dumps(figures))


async def measure(config: Config, model: Path, data: Path, size: int, pairs: int) -> list[Compared]:
    """Both parts, on actors that are started once."""
    parts = roles(config, model_parameters(config, model))
    reservation = await reserve(parts, config.cluster.placement_deadline_s)
    evaluators = evaluator_pool(config)
    longest = config.generator.max_prompt_tokens + config.generator.max_response_tokens
    generators = generator_pool(config, model, 10_000, longest, reservation)
    try:
        await asyncio.gather(evaluators.start(DEADLINE_S), generators.start(DEADLINE_S))
        measured = (recorded_part(data, size, evaluators), engine_part(config, model, generators, evaluators))
        return [await compare(part, pairs) for part in measured]
    finally:
        generators.close()
        await evaluators.stop()
        stop_all([*generators.actors, *evaluators.actors])


def main(
    data: Annotated[Path, typer.Option(help="directory with the problems and the labelled programs")] = DATA,
    pairs: Annotated[int, typer.Option(min=1, help="rounds")] = 3,
    size: Annotated[int, typer.Option(min=20, help="recorded programs")] = 240,
) -> None:
    """Measure what judging while sampling saves."""
    if not (data / PROGRAMS).exists():
        progress.print(f"no {PROGRAMS} in {data}: name its directory with --data")
        raise typer.Exit(2)
    config = compose_config(command="evaluate", training=False)
    model = local_model(config, progress)
    config = decide_devices(config, find_resources(config))
    start_ray(config)
    try:
        compared = asyncio.run(measure(config, model, data, size, pairs))
    finally:
        ray.shutdown()
    print_report(compared)


if __name__ == "__main__":
    typer.run(main)
