"""The command ``launch.evaluate``: evaluate a model on vLLM engines that it starts, or on a model server.

Files in ``runs/evaluations/<name>/``:

    answers.jsonl     log of answers and judgements, from which ``run.resume=true`` resumes
    answers.parquet   the judged answers
    scores.json       pass@k and counts
    table.txt         the printed tables
    livecodebench/    the answers in LiveCodeBench's format
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
from evaluator.sandbox import describe_missing_fences
from launch.cluster.model_shape import ModelShape
from launch.cluster.placement import RolePlan, get_gpu_gib, plan_roles, resolve_devices
from launch.cluster.pools import make_evaluator_pool, make_generator_pool
from launch.cluster.ray_cluster import find_resources, ray_session, start_ray
from launch.command import print_line
from launch.evaluation.answers import AnswerLog
from launch.evaluation.endpoint import EndpointError, EndpointSettings, EndpointSource
from launch.evaluation.evaluation import (
    AnswerSource,
    EngineSource,
    Evaluation,
    compute_max_in_flight,
    compute_max_judging,
    get_sampling_settings,
)
from launch.evaluation.fitting_problems import select_fitting_problems
from launch.evaluation.livecodebench_files import write_livecodebench_files
from launch.evaluation.scores import (
    Scores,
    build_pass_at_1_table,
    build_pass_at_k_table,
    compute_scores,
    scores_to_json,
)
from launch.preflight import check_resources, read_context_length, read_model_shape
from launch.problems.evaluation_set import EvaluationSet
from launch.problems.prompts import PromptedProblem, build_messages, select_prompt_style
from launch.records.display import show_answer_progress
from launch.records.run_directory import open_run_directory, write_text_atomically
from launch.session import cancel_on_sigterm, reserve_resources, resolve_local_model

INCOMPLETE_STATUS = 3
"""Exit status of an evaluation that ended, but with missing or unjudged answers."""
NO_TOKENS = np.zeros(0, dtype=np.int32)  # token ids of a prompt that the server tokenizes


def plan_evaluation_roles(config: Config, model: ModelShape, gpu_gib: float) -> list[RolePlan]:
    """Plan the actors of an evaluation: evaluators, and engines unless a server samples the answers."""
    names = ("evaluator",) if config.generator.endpoint is not None else ("generator", "evaluator")
    return [role for role in plan_roles(config, model, gpu_gib) if role.name in names]


@dataclass(frozen=True)
class PreparedEvaluation:
    """Problems of an evaluation with their prompts.

    Attributes:
        problems: problems with their prompts.
        model: directory of the model; None for a served model.
        remarks: notes for the reader of the results.
    """

    problems: list[PromptedProblem]
    model: Path | None
    remarks: tuple[str, ...]

    @property
    def longest_prompt(self) -> int:
        """Length of the longest prompt in tokens."""
        return max(len(prompted.token_ids) for prompted in self.problems)


def evaluate_model(config: Config, evaluation_set: EvaluationSet, console: Console) -> int:
    """Check model, resources and problems, start cluster and actors, evaluate, and write the results.

    Returns:
        The exit status of the command.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(ray_session())
        resources = find_resources(config)
        config = resolve_devices(config, resources)
        model = None if config.generator.endpoint is not None else resolve_local_model(config, console)
        roles = plan_evaluation_roles(
            config, read_model_shape(config, model or Path(config.model.path)), get_gpu_gib(config, resources)
        )
        check_resources(roles, config, resources)
        prepared = prepare_evaluation(config, evaluation_set, model)
        for remark in prepared.remarks:
            print_line(console, remark, "yellow")
        directory = open_run_directory(config, ())
        log = AnswerLog(directory / "answers.jsonl", identify_evaluation(config, prepared))
        stack.callback(log.close)
        start_ray(config)
        failures = asyncio.run(run_evaluation_actors(config, roles, prepared, log, console))
        return write_results(
            config=config, prepared=prepared, log=log, failures=failures, directory=directory, console=console
        )


def prepare_evaluation(config: Config, evaluation_set: EvaluationSet, model: Path | None) -> PreparedEvaluation:
    """Build the prompts, and drop problems whose prompt and longest answer do not fit the model's context.

    Args:
        config: configuration of the evaluation.
        evaluation_set: loaded problems.
        model: directory of the model; None for a served model, whose context length is unknown.

    Raises:
        DatasetError: no problem fits, or one does not and ``dataset.strict`` is set.
    """
    style = select_prompt_style(config.dataset)
    problems = evaluation_set.problems
    summary = evaluation_set.summary
    remarks = [f"{get_dataset_name(config)}: {summary}", *(f"skipped: {row}" for row in summary.rejected)]
    remarks += evaluation_set.remarks
    if model is None:
        prompts = [PromptedProblem(problem, NO_TOKENS, build_messages(problem, style)) for problem in problems]
        return PreparedEvaluation(prompts, None, tuple(remarks))
    tokenizer = AutoTokenizer.from_pretrained(model)
    kept, remark = select_fitting_problems(problems, tokenizer, read_context_length(model), config)
    return PreparedEvaluation(kept, model, (*remarks, remark) if remark else tuple(remarks))


def get_dataset_name(config: Config) -> str:
    """Return the name of the problems for tables: ``dataset.name``, or else the file's name."""
    return config.dataset.name or Path(str(config.dataset.held_out_path)).name


def identify_evaluation(config: Config, prepared: PreparedEvaluation) -> dict[str, object]:
    """Return the settings that identify an evaluation: model, problems, prompts and sampling.

    A log with other settings cannot be resumed, so that answers of another model or to other prompts are never mixed.
    """
    problems_hash = hashlib.sha256()
    for prompted in prepared.problems:
        problems_hash.update(json.dumps([prompted.messages, to_row(prompted.problem)], default=str).encode())
    files = sorted(prepared.model.iterdir()) if prepared.model is not None else []
    file_stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]
    return {
        "model.path": config.model.path,
        "generator.endpoint": config.generator.endpoint,
        "model's files": hashlib.sha256(repr(file_stats).encode()).hexdigest()[:16],
        "problems": problems_hash.hexdigest()[:16],
        **get_sampling_settings(config, config.evaluation.temperature),
    }


async def run_evaluation_actors(
    config: Config, roles: list[RolePlan], prepared: PreparedEvaluation, log: AnswerLog, console: Console
) -> dict[str, str]:
    """Start the actors, evaluate, and stop the actors, whatever happens.

    Returns:
        The reason of each missing answer, by "question_id#sample_index".
    """
    cancel_on_sigterm()
    total = len(prepared.problems) * config.evaluation.samples
    generators: GeneratorPool | None = None
    if prepared.model is not None:
        # Reserved before the evaluators start, which use what is left. Released when the driver ends, soon after this.
        reservation = await reserve_resources(config, roles, prepared.model, None)
        generators = make_generator_pool(
            config=config,
            model=prepared.model,
            max_calls=compute_max_in_flight(config) + 8,
            max_tokens=prepared.longest_prompt + config.answer_tokens,
            reservation=reservation,
            previous_answers=len(log.answers),
        )
    evaluators = make_evaluator_pool(config)
    try:
        with show_answer_progress(console, total) as report_progress:
            engines = generators.start(config.generator.start_deadline_s) if generators else asyncio.sleep(0)
            missing, _ = await asyncio.gather(evaluators.start(config.generator.start_deadline_s), engines)
            if missing:
                print_line(console, describe_missing_fences(missing))
            return await Evaluation(
                problems=prepared.problems,
                samples=config.evaluation.samples,
                source=make_answer_source(config, generators),
                evaluators=evaluators,
                max_in_flight=compute_max_in_flight(config),
                max_judging=compute_max_judging(config),
                deadline_s=config.evaluation.deadline_s,
                strict=config.dataset.strict,
            ).run(log, report_progress)
    finally:
        await evaluators.stop()
        if generators is not None:
            generators.close()
        stop_all([*(generators.actors if generators else ()), *evaluators.actors])


def make_answer_source(config: Config, generators: GeneratorPool | None) -> AnswerSource:
    """Return the source of answers: the engines, or the server at ``generator.endpoint`` if ``generators`` is None.

    Raises:
        EndpointError: the environment variable with the server's key is not set.
    """
    generator = config.generator
    evaluation = config.evaluation
    if generators is not None:
        return EngineSource(
            generators=generators,
            max_tokens=config.answer_tokens,
            temperature=evaluation.temperature,
            top_p=evaluation.top_p,
        )
    assert generator.endpoint is not None  # otherwise there are engines
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
            thinking=config.model.thinking,
        )
    )


def write_results(
    config: Config,
    prepared: PreparedEvaluation,
    log: AnswerLog,
    failures: Mapping[str, str],
    directory: Path,
    console: Console,
) -> int:
    """Write the results to files and print the tables.

    Args:
        config: configuration of the evaluation.
        prepared: problems of the evaluation.
        log: answers and judgements.
        failures: reason of each missing answer, by "question_id#sample_index".
        directory: run directory.
        console: where to print.

    Returns:
        The exit status of the command.

    Raises:
        EndpointError: there is no answer at all.
    """
    for name, reason in list(failures.items())[:10]:
        print_line(console, f"no answer: {name}: {reason}", "yellow")
    if not log.judgements:
        raise EndpointError(f"no answer at all; the first failure: {next(iter(failures.values()))}")
    problems = [prompted.problem for prompted in prepared.problems]
    samples = config.evaluation.samples
    temperature = config.evaluation.temperature
    scores = compute_scores(problems, samples, log.answers, log.judgements)
    tables = (
        build_pass_at_1_table(scores, f"{get_dataset_name(config)}: pass@1, %"),
        build_pass_at_k_table(scores, f"{get_dataset_name(config)}: pass@k, %"),
    )
    warnings = list(coverage_warnings(config, scores))
    remarks = [*prepared.remarks, *warnings]
    log.write_parquet(directory / "answers.parquet", problems)
    write_text_atomically(
        directory / "scores.json", json.dumps({**scores_to_json(scores), "remarks": remarks}, indent=1)
    )
    write_text_atomically(directory / "table.txt", "\n".join([render_tables(tables), *remarks, ""]))
    if scores.cells:
        write_livecodebench_files(
            directory=directory / "livecodebench",
            problems=problems,
            samples=samples,
            temperature=temperature,
            answers=log.answers,
            judgements=log.judgements,
        )
    for table in tables:
        console.print(table)
        console.print()
    for warning in warnings:
        print_line(console, warning, "yellow")
    print_line(console, f"answers, scores and LiveCodeBench's files: {directory}")
    return INCOMPLETE_STATUS if scores.lacking or scores.sandbox_errors else 0


def coverage_warnings(config: Config, scores: Scores) -> Iterator[str]:
    """Yield a warning for each kind of answers that the tables leave out, with the key to change."""
    if scores.lacking or scores.sandbox_errors:
        yield (
            f"to retry the answers that are missing or could not be judged: run.name={config.run.name} run.resume=true"
        )
    if scores.truncated is not None and scores.truncated > 0.05:
        yield (
            f"{scores.truncated:.0%} of the answers were cut off at {config.answer_tokens} tokens: "
            "raise evaluation.max_response_tokens"
        )


def render_tables(tables: Iterable[Table]) -> str:
    """Return the tables as plain text."""
    console = Console(file=io.StringIO(), width=120)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
