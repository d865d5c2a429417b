"""Evaluation of a model with engines of its own, or of a served one: started, judged meanwhile, reported.

``runs/evaluations/<name>/`` holds ``answers.jsonl`` (every answer and judgement as it came: what ``run.resume=true``
goes on from), ``answers.parquet``, ``scores.json``, ``table.txt`` and ``livecodebench/``, the same in LiveCodeBench's
own files.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from actors.generators.pool import GeneratorPool
from actors.lifecycle import stop_all
from conf.schema import Config
from evaluator.problem import to_row
from launch.cluster.placement import Part, decide_devices, plan
from launch.cluster.pools import evaluator_pool, generator_pool
from launch.cluster.ray_cluster import find_resources, ray_session, start_ray
from launch.command import tell
from launch.evaluation.answers import AnswerLog
from launch.evaluation.endpoint import EndpointError, EndpointSettings, EndpointSource
from launch.evaluation.evaluation import (
    AnswerSource,
    EngineSource,
    Evaluation,
    in_flight,
    in_judgement,
    sampling_settings,
)
from launch.evaluation.livecodebench_files import write_livecodebench_files
from launch.evaluation.scores import Scores, pass_at_k_table, score, table, to_json
from launch.preflight import check_resources, context_tokens, model_parameters
from launch.problems.datasets import DatasetError
from launch.problems.evaluation_set import EvaluationSet
from launch.problems.prompts import PromptedProblem, messages, prompt_style, prompted
from launch.records.display import answers_display
from launch.records.run_directory import open_directory, write_text
from launch.session import cancel_on_sigterm, local_model, reserve_room

INCOMPLETE = 3  # exit status: done, but some answers are lacking
NO_TOKENS = np.zeros(0, dtype=np.int32)  # of a prompt that the server makes into tokens


def roles(config: Config, parameters: int) -> list[Part]:
    """The actors of an evaluation: no learner, and no engines where a server is asked."""
    wanted = ("evaluator",) if config.generator.endpoint is not None else ("generator", "evaluator")
    return [part for part in plan(config, parameters) if part.role in wanted]


@dataclass(frozen=True)
class Asked:
    """The problems that will be asked, the model (a directory, or None for a server's), what a reader should know."""

    problems: list[PromptedProblem]
    model: Path | None
    remarks: tuple[str, ...]

    @property
    def longest_prompt(self) -> int:
        return max(len(one.token_ids) for one in self.problems)


def evaluate_model(config: Config, found: EvaluationSet, console: Console) -> int:
    """Check everything that can be checked, start the cluster and the actors, evaluate; returns the exit status."""
    with contextlib.ExitStack() as at_the_end:
        at_the_end.enter_context(ray_session())
        resources = find_resources(config)
        config = decide_devices(config, resources)
        model = None if config.generator.endpoint is not None else local_model(config, console)
        parts = roles(config, model_parameters(config, model or Path(config.model.path)))
        check_resources(parts, config, resources)
        asked = ask(config, found, model)
        for remark in asked.remarks:
            tell(console, remark, "yellow")
        directory = open_directory(config, ())
        log = AnswerLog(directory / "answers.jsonl", settings(config, asked))
        at_the_end.callback(log.close)
        start_ray(config)
        failures = asyncio.run(run_actors(config, parts, asked, log, console))
        return report(config=config, asked=asked, log=log, failures=failures, directory=directory, console=console)


def ask(config: Config, found: EvaluationSet, model: Path | None) -> Asked:
    """Problems with their prompts, less those that do not fit the model's context with a whole answer.

    Raises DatasetError when none fits, or one does not with ``dataset.strict``.
    """
    style = prompt_style(config.dataset)
    problems = found.problems
    remarks = [f"{title(config)}: {found.summary}", *(f"skipped: {row}" for row in found.summary.rejected)]
    remarks += found.remarks
    if model is None:
        asked = [PromptedProblem(one, NO_TOKENS, messages(one, style)) for one in problems]
        return Asked(asked, None, tuple(remarks))
    context = context_tokens(model)
    answer = config.answer_tokens
    kept = prompted(problems, AutoTokenizer.from_pretrained(model), style, context - answer)
    if len(kept) < len(problems):
        told = (
            f"{len(problems) - len(kept)} of {len(problems)} problems do not fit the model's context of {context} "
            f"tokens with an answer of {answer} (evaluation.max_response_tokens)"
        )
        if not kept or config.dataset.strict:
            raise DatasetError(told)
        remarks.append(f"left out: {told}")
    return Asked(kept, model, tuple(remarks))


def title(config: Config) -> str:
    """What the problems are called."""
    return config.dataset.name or Path(str(config.dataset.held_out_path)).name


def settings(config: Config, asked: Asked) -> dict[str, object]:
    """What makes two evaluations the same: answers of another model, or to other questions, are never mixed in."""
    questions = hashlib.sha256()
    for one in asked.problems:
        questions.update(json.dumps([one.messages, to_row(one.problem)], default=str).encode())
    files = sorted(asked.model.iterdir()) if asked.model is not None else []
    weights = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]
    return {
        "model.path": config.model.path,
        "generator.endpoint": config.generator.endpoint,
        "model's files": hashlib.sha256(repr(weights).encode()).hexdigest()[:16],
        "problems": questions.hexdigest()[:16],
        **sampling_settings(config),
    }


async def run_actors(
    config: Config, parts: list[Part], asked: Asked, log: AnswerLog, console: Console
) -> dict[str, str]:
    """Start the roles, evaluate, and stop them, whatever happens. Returns why answers are lacking, by their names."""
    cancel_on_sigterm()
    total = len(asked.problems) * config.evaluation.samples
    generators: GeneratorPool | None = None
    if asked.model is not None:
        # Before the evaluators, which take what is left. The driver's end, which is near when this ends, releases it.
        reservation = await reserve_room(config, parts, asked.model, None)
        longest = asked.longest_prompt + config.answer_tokens
        drawn = len(log.answers)
        generators = generator_pool(
            config=config,
            model=asked.model,
            calls=in_flight(config) + 8,
            longest=longest,
            reservation=reservation,
            drawn=drawn,
        )
    evaluators = evaluator_pool(config)
    try:
        with answers_display(console, total) as finished:
            engines = generators.start(config.generator.start_deadline_s) if generators else asyncio.sleep(0)
            missing, _ = await asyncio.gather(evaluators.start(config.generator.start_deadline_s), engines)
            if missing:
                tell(console, f"programs are fenced less than they could be: their host refuses {', '.join(missing)}")
            return await Evaluation(
                problems=asked.problems,
                samples=config.evaluation.samples,
                source=source(config, generators),
                evaluators=evaluators,
                in_flight=in_flight(config),
                in_judgement=in_judgement(config),
                deadline_s=config.evaluation.deadline_s,
                strict=config.dataset.strict,
            ).run(log, finished)
    finally:
        await evaluators.stop()
        if generators is not None:
            generators.close()
        stop_all([*(generators.actors if generators else ()), *evaluators.actors])


def source(config: Config, generators: GeneratorPool | None) -> AnswerSource:
    """Where answers come from: our engines, or the server at ``generator.endpoint``. Raises EndpointError."""
    generator = config.generator
    evaluation = config.evaluation
    if generators is not None:
        return EngineSource(
            generators=generators,
            max_tokens=config.answer_tokens,
            temperature=evaluation.temperature,
            top_p=evaluation.top_p,
        )
    assert generator.endpoint is not None  # or there were engines
    return EndpointSource(
        EndpointSettings(
            url=generator.endpoint,
            model=config.model.path,
            api_key_env=generator.api_key_env,
            max_tokens=config.answer_tokens,
            temperature=evaluation.temperature,
            top_p=evaluation.top_p,
            timeout_s=generator.request_timeout_s,
            retries=generator.retries,
            requests_per_minute=generator.requests_per_minute,
        )
    )


def report(
    config: Config,
    asked: Asked,
    log: AnswerLog,
    failures: Mapping[str, str],
    directory: Path,
    console: Console,
) -> int:
    """Write and print what came out; returns the exit status. Raises EndpointError when there is no answer at all."""
    for name, reason in list(failures.items())[:10]:
        tell(console, f"no answer: {name}: {reason}", "yellow")
    if not log.judgements:
        raise EndpointError(f"no answer at all; the first: {next(iter(failures.values()))}")
    problems = [one.problem for one in asked.problems]
    samples = config.evaluation.samples
    temperature = config.evaluation.temperature
    scores = score(problems, samples, log.answers, log.judgements)
    tables = (table(scores, f"{title(config)}: pass@1, %"), pass_at_k_table(scores, f"{title(config)}: pass@k, %"))
    doubtful = list(doubts(config, scores))
    remarks = [*asked.remarks, *doubtful]
    log.write_parquet(directory / "answers.parquet")
    write_text(directory / "scores.json", json.dumps({**to_json(scores), "remarks": remarks}, indent=1))
    write_text(directory / "table.txt", "\n".join([as_text(tables), *remarks, ""]))
    if scores.cells:
        write_livecodebench_files(
            directory=directory / "livecodebench",
            problems=problems,
            samples=samples,
            temperature=temperature,
            answers=log.answers,
            judgements=log.judgements,
        )
    for one in tables:
        console.print(one)
        console.print()
    for remark in doubtful:
        tell(console, remark, "yellow")
    tell(console, f"answers, scores and LiveCodeBench's files: {directory}")
    return INCOMPLETE if scores.lacking or scores.sandbox_errors else 0


def doubts(config: Config, scores: Scores) -> Iterator[str]:
    """What to do about what the tables are not made of."""
    if scores.lacking or scores.sandbox_errors:
        yield f"run.name={config.run.name} run.resume=true tries again for what is lacking or could not be judged"
    if scores.truncated is not None and scores.truncated > 0.05:
        yield (
            f"{scores.truncated:.0%} of the answers were cut off at {config.answer_tokens} tokens: "
            "raise evaluation.max_response_tokens"
        )


def as_text(tables: Iterable[Table]) -> str:
    """Tables as plain text."""
    console = Console(file=io.StringIO(), width=120)
    for one in tables:
        console.print(one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
