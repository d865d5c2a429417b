"""The policy's evaluations between training steps, on the training's own engines and evaluators."""

from __future__ import annotations

import time
from dataclasses import dataclass

from launch.evaluation.answers import AnswerLog
from launch.evaluation.evaluation import (
    EVALUATION,
    AnswerSource,
    EngineSource,
    Evaluation,
    OrderedSource,
    in_flight,
    in_judgement,
    sampling_settings,
)
from launch.evaluation.scores import Scores, evaluation_line, metrics, score
from launch.training.run import Run


def evaluation_due(run: Run, step: int) -> bool:
    """Is the policy after ``step`` steps evaluated?"""
    evaluation = run.config.evaluation
    due = step in (0, run.config.run.steps) or (evaluation.every > 0 and step % evaluation.every == 0)
    return due and bool(run.held_out) and evaluation.samples > 0


@dataclass(frozen=True)
class PolicyEvaluation:
    """What an evaluation between two steps found; nothing where none was due."""

    scores: Scores | None
    metrics: dict[str, float]


async def evaluate_policy(run: Run, step: int) -> PolicyEvaluation:
    """Evaluate the weights after ``step`` steps on the training's own actors, if that is due.

    What a killed run had of this evaluation, whose weights are those of its last checkpoint, is not sampled again.
    """
    config = run.config
    evaluation = run.config.evaluation
    started = time.monotonic()
    if not evaluation_due(run, step):
        return PolicyEvaluation(None, {})
    path = run.directory.evaluation_path(step)
    if config.run.deterministic:
        # Which answers a killed run had would decide how engines batch the others.
        path.with_suffix(".jsonl").unlink(missing_ok=True)
    asked = _evaluation(run, step)
    log = AnswerLog(path.with_suffix(".jsonl"), {"step": step, **sampling_settings(config)})
    try:
        with run.timeline.during("driver", "evaluation", step=step):
            await asked.run(log, lambda done, total: run.display.phase(f"evaluate {done}/{total}"))
        log.write_parquet(path)
        problems = [prompted.problem for prompted in run.held_out]
        scores = score(problems, evaluation.samples, log.answers, log.judgements)
    finally:
        log.close()
    figures = metrics(scores, config.dataset.name or "held_out")
    run.display.say(evaluation_line(step, scores))
    return PolicyEvaluation(scores, {**figures, "timing_s/testing": time.monotonic() - started})


def _evaluation(run: Run, step: int) -> Evaluation:
    config = run.config
    evaluation = run.config.evaluation
    engines = EngineSource(
        generators=run.generators,
        max_tokens=config.answer_tokens,
        temperature=evaluation.temperature,
        top_p=evaluation.top_p,
    )
    source: AnswerSource = engines
    at_once = in_flight(config)
    if config.run.deterministic:
        source = OrderedSource(engines, run.held_out, evaluation.samples, config.run.seed, (EVALUATION, step))
        at_once = len(run.held_out) * evaluation.samples
    return Evaluation(
        problems=run.held_out,
        samples=evaluation.samples,
        source=source,
        evaluators=run.evaluators,
        in_flight=at_once,
        in_judgement=in_judgement(config),
        deadline_s=evaluation.deadline_s,
    )
