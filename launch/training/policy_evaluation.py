"""The policy's evaluations between training steps, on the training's own engines and evaluators."""

from __future__ import annotations

import time
from dataclasses import dataclass

from launch.evaluation.answers import AnswerLog
from launch.evaluation.evaluation import (
    EVALUATION_STREAM,
    AnswerSource,
    EngineSource,
    Evaluation,
    OrderedSource,
    compute_max_in_flight,
    compute_max_judging,
    get_sampling_settings,
)
from launch.evaluation.scores import Scores, compute_scores, format_evaluation_line, make_evaluation_metrics
from launch.training.run import Run


def is_evaluation_due(run: Run, step: int) -> bool:
    """Return True if an evaluation is due after ``step`` steps."""
    evaluation = run.config.evaluation
    due = step in (0, run.config.run.steps) or (evaluation.every > 0 and step % evaluation.every == 0)
    return due and bool(run.held_out) and evaluation.samples > 0


@dataclass(frozen=True)
class PolicyEvaluation:
    """Scores and metrics of an evaluation between two steps; empty if none was due."""

    scores: Scores | None
    metrics: dict[str, float]


async def evaluate_policy(run: Run, step: int) -> PolicyEvaluation:
    """Evaluate the weights after ``step`` steps on the training's own actors, if an evaluation is due.

    The scores are those at ``evaluation.temperature``; the metrics are at all temperatures.
    """
    evaluation = run.config.evaluation
    started = time.monotonic()
    if not is_evaluation_due(run, step):
        return PolicyEvaluation(None, {})
    name = run.config.dataset.name or "held_out"
    scores = await _evaluate_at(run, step, None)
    metrics = make_evaluation_metrics(scores, name)
    for temperature in evaluation.other_temperatures:
        metrics |= make_evaluation_metrics(await _evaluate_at(run, step, temperature), f"{name}@T{temperature:g}")
    return PolicyEvaluation(scores, {**metrics, "timing_s/testing": time.monotonic() - started})


async def _evaluate_at(run: Run, step: int, other_temperature: float | None) -> Scores:
    """Evaluate the weights after ``step`` steps at one of the other temperatures; None: at the evaluation's own.

    Answers that a killed run had sampled for this evaluation are used again: they are of the same weights, those of
    the checkpoint that the run resumed from.
    """
    config = run.config
    samples = config.evaluation.samples
    temperature = config.evaluation.temperature if other_temperature is None else other_temperature
    path = run.records.directory.evaluation_path(step, other_temperature)
    if config.run.deterministic:
        # The answers that a killed run had would change how engines batch the others.
        path.with_suffix(".jsonl").unlink(missing_ok=True)
    running = _evaluation(run, step, temperature)
    phase = f"evaluate at T {temperature:g}"
    log = AnswerLog(path.with_suffix(".jsonl"), {"step": step, **get_sampling_settings(config, temperature)})
    try:
        with run.records.timeline.record_span("driver", "evaluation", step=step):
            await running.run(log, lambda done, total: run.records.display.set_phase(phase, done, total))
        problems = [prompted.problem for prompted in run.held_out]
        log.write_parquet(path, problems)
        scores = compute_scores(problems, samples, log.answers, log.judgements)
    finally:
        log.close()
    run.records.display.print_line(format_evaluation_line(step, temperature, scores))
    return scores


def _evaluation(run: Run, step: int, temperature: float) -> Evaluation:
    config = run.config
    evaluation = run.config.evaluation
    engines = EngineSource(
        generators=run.sampler.generators,
        max_tokens=config.answer_tokens,
        temperature=temperature,
        top_p=evaluation.top_p,
    )
    source: AnswerSource = engines
    at_once = compute_max_in_flight(config)
    if config.run.deterministic:
        stream = (EVALUATION_STREAM, step, round(1000 * temperature))
        source = OrderedSource(engines, run.held_out, evaluation.samples, config.run.seed, stream)
        at_once = len(run.held_out) * evaluation.samples
    return Evaluation(
        problems=run.held_out,
        samples=evaluation.samples,
        source=source,
        evaluators=run.sampler.evaluators,
        max_in_flight=at_once,
        max_judging=compute_max_judging(config),
        deadline_s=evaluation.deadline_s,
    )
