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

    Answers that a killed run had sampled for this evaluation are used again: they are of the same weights, those of
    the checkpoint that the run resumed from.
    """
    config = run.config
    evaluation = run.config.evaluation
    started = time.monotonic()
    if not is_evaluation_due(run, step):
        return PolicyEvaluation(None, {})
    path = run.records.directory.evaluation_path(step)
    if config.run.deterministic:
        # The answers that a killed run had would change how engines batch the others.
        path.with_suffix(".jsonl").unlink(missing_ok=True)
    running = _evaluation(run, step)
    log = AnswerLog(path.with_suffix(".jsonl"), {"step": step, **get_sampling_settings(config)})
    try:
        with run.records.timeline.record_span("driver", "evaluation", step=step):
            await running.run(log, lambda done, total: run.records.display.set_phase(f"evaluate {done}/{total}"))
        log.write_parquet(path)
        problems = [prompted.problem for prompted in run.held_out]
        scores = compute_scores(problems, evaluation.samples, log.answers, log.judgements)
    finally:
        log.close()
    figures = make_evaluation_metrics(scores, config.dataset.name or "held_out")
    run.records.display.print_line(format_evaluation_line(step, scores))
    return PolicyEvaluation(scores, {**figures, "timing_s/testing": time.monotonic() - started})


def _evaluation(run: Run, step: int) -> Evaluation:
    config = run.config
    evaluation = run.config.evaluation
    engines = EngineSource(
        generators=run.sampler.generators,
        max_tokens=config.answer_tokens,
        temperature=evaluation.temperature,
        top_p=evaluation.top_p,
    )
    source: AnswerSource = engines
    at_once = compute_max_in_flight(config)
    if config.run.deterministic:
        source = OrderedSource(engines, run.held_out, evaluation.samples, config.run.seed, (EVALUATION_STREAM, step))
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
