"""View ``sample:STEP/ID/INDEX``: everything about one completion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from launch.run_report.mask_conditions import MaskDetails, make_mask_details
from launch.run_report.rollout_rows import RolloutRow
from launch.run_report.run_files import RecordedSettings, RunFiles
from launch.run_report.text_views.formatting import (
    ABSENT,
    format_answer,
    format_count,
    format_number,
    make_block,
    make_facts,
    make_section,
    make_table,
    make_title,
    quote,
)
from launch.run_report.text_views.rollout_lookup import (
    UnknownItem,
    describe_steps,
    describe_unknown_problem,
    find_question_ids,
    get_rollout_file,
    read_step_groups,
)

SHOWN_INDICES = 64
"""Number of sample indices that an error lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictDetails:
    """Verdict on the program; None is unknown, or there is none.

    Attributes:
        first_failed: position of the first failed test.
        accepted_by: loosest comparison strategy that a passed test needed.
        seconds: time that judging took.
    """

    status: str | None
    tests_passed: int | None
    tests_total: int | None
    accepted_by: str | None
    first_failed: int | None
    failed_input: str | None
    failed_expected: str | None
    failed_actual: str | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LogprobDifference:
    """Difference between the log-probs of learner and sampler, over the tokens at which both are finite.

    Attributes:
        tokens: number of these tokens.
        not_finite: number of other tokens.
        mean: mean of learner minus sampler; None without tokens.
        mean_absolute: mean of the absolute difference.
        largest: difference with the largest absolute value.
        largest_at: position of that token in the response.
    """

    tokens: int
    not_finite: int
    mean: float | None
    mean_absolute: float | None
    largest: float | None
    largest_at: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CompletionDetails:
    """A completion, its verdict and its credit; None is unknown.

    Attributes:
        group: position of its group in the step.
        code: program extracted from the response; None if there is none.
        generation_seconds: time that sampling took.
        unmasked_advantage: advantage before the truncation mask.
        advantage: advantage after it.
        trained: False if dynamic sampling dropped the group, or the sandbox failed.
        logprobs: None without the log-probs of both.
    """

    group: int
    prompt: str | None
    response: str | None
    code: str | None
    response_tokens: int | None
    finish_reason: str | None
    temperature: float | None
    policy_version_min: int | None
    policy_version_max: int | None
    generation_seconds: float | None
    verdict: VerdictDetails
    reward: float | None
    shaped_reward: float | None
    unmasked_advantage: float | None
    advantage: float | None
    trained: bool | None
    mask: MaskDetails
    logprobs: LogprobDifference | None

    def render(self) -> list[RenderableType]:
        """Return the sections for a terminal."""
        return [
            make_section("prompt", make_block(self.prompt)),
            make_section("answer", make_block(self.response)),
            make_section("extracted program", make_block(self.code)),
            *self._render_verdict(),
            self._render_reward(),
            *self._render_mask(),
            self._render_sampling(),
        ]

    def _render_verdict(self) -> list[RenderableType]:
        verdict = self.verdict
        facts = {
            "status": verdict.status,
            "tests passed": f"{format_count(verdict.tests_passed)} of {format_count(verdict.tests_total)}",
            "accepted by": verdict.accepted_by,
            "first failed test": format_count(verdict.first_failed),
            "seconds": format_number(verdict.seconds),
        }
        parts: list[RenderableType] = [make_section("verdict", make_facts(facts))]
        texts = {
            "input": verdict.failed_input,
            "expected output": verdict.failed_expected,
            "actual output": verdict.failed_actual,
        }
        if any(text is not None for text in texts.values()):
            parts += [make_section(f"first failed test: {name}", make_block(text)) for name, text in texts.items()]
        return parts

    def _render_reward(self) -> RenderableType:
        facts = {
            "reward": format_number(self.reward),
            "shaped reward": format_number(self.shaped_reward),
            "advantage before the mask": format_number(self.unmasked_advantage, 4),
            "advantage after the mask": format_number(self.advantage, 4),
            "trained on": format_answer(self.trained),
        }
        return make_section("reward", make_facts(facts))

    def _render_mask(self) -> list[RenderableType]:
        rows = [[condition.text, format_answer(condition.holds)] for condition in self.mask.conditions]
        table = make_table({"condition (all must hold)": "left", "holds": "left"}, rows)
        heading = f"truncation mask: {self.mask.kind or 'unknown'}"
        facts = {"masked": format_answer(self.mask.masked)}
        return [make_section(heading, *([table] if rows else []), make_facts(facts))]

    def _render_sampling(self) -> RenderableType:
        low = format_count(self.policy_version_min)
        high = format_count(self.policy_version_max)
        facts: dict[str, str | None] = {
            "tokens": format_count(self.response_tokens),
            "finish reason": self.finish_reason,
            "temperature": ABSENT if self.temperature is None else f"{self.temperature:g}",
            "policy version": low if low == high else f"{low} to {high}",
            "seconds": format_number(self.generation_seconds),
        }
        value = self.logprobs
        if value is None:
            facts["log-probs, learner - sampler"] = "unknown: the file does not have both"
        else:
            means = f"mean {format_number(value.mean, 6)}, of absolute values {format_number(value.mean_absolute, 6)}"
            largest = f"largest {format_number(value.largest, 6)} at token {format_count(value.largest_at)}"
            facts["log-probs, learner - sampler"] = f"{means}; {largest}"
            if value.not_finite:
                facts["log-probs not finite"] = f"{value.not_finite} tokens"
        return make_section("sampling", make_facts(facts))


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleView:
    """Completion of a step.

    Attributes:
        completions: the completion; several if the problem has several groups in the step.
    """

    name: str
    step: int
    question_id: str
    sample_index: int
    completions: tuple[CompletionDetails, ...]

    def render(self) -> RenderableType:
        """Return the view for a terminal."""
        parts: list[RenderableType] = []
        for completion in self.completions:
            place = f"sample {self.sample_index} of {self.question_id}, step {self.step} of run {self.name}"
            parts += [Text()] if parts else []
            parts += [make_title(f"{place}, group {completion.group}"), *completion.render()]
        return Group(*parts)


def make_sample(run: RunFiles, step: int, question_id: str, sample_index: int) -> SampleView:
    """Make the view of a completion. Raises UserError, which names what exists."""
    groups = read_step_groups(get_rollout_file(run, step), texts=True)
    own = [group for group in groups if group.question_id == question_id]
    if not own:
        raise UnknownItem(_describe_missing_problem(run, step, question_id))
    found = [(group.index, row) for group in own for row in group.rows if row.sample_index == sample_index]
    if not found:
        indices = sorted({row.sample_index for group in own for row in group.rows})
        listed = ", ".join(map(str, indices[:SHOWN_INDICES]))
        raise UnknownItem(
            f"show: step {step} has no sample {sample_index} of problem {quote(question_id)}; it has {listed}"
        )
    return SampleView(
        name=run.name,
        step=step,
        question_id=question_id,
        sample_index=sample_index,
        completions=tuple(describe_completion(group, row, run.config) for group, row in found),
    )


def _describe_missing_problem(run: RunFiles, step: int, question_id: str) -> str:
    ids = find_question_ids(run.rollouts, [])
    steps = [each for each, known in ids.items() if question_id in known]
    problem = f"show: problem {quote(question_id)} is not in step {step}"
    if steps:
        return f"{problem}; it is in {describe_steps(steps, step)}"
    return f"{problem}: {describe_unknown_problem(question_id, ids.get(step, ()))}"


def describe_completion(group: int, row: RolloutRow, config: RecordedSettings) -> CompletionDetails:
    """Collect everything about a completion.

    Args:
        group: position of its group in the step.
        row: the row, with texts.
        config: the run's configuration.
    """
    return CompletionDetails(
        group=group,
        prompt=row.prompt,
        response=row.response,
        code=row.code,
        response_tokens=row.response_tokens,
        finish_reason=row.finish_reason,
        temperature=row.temperature,
        policy_version_min=row.policy_version_min,
        policy_version_max=row.policy_version_max,
        generation_seconds=row.generation_seconds,
        verdict=VerdictDetails(
            status=row.status,
            tests_passed=row.tests_passed,
            tests_total=row.tests_total,
            accepted_by=row.accepted_by,
            first_failed=row.first_failed,
            failed_input=row.failed_input,
            failed_expected=row.failed_expected,
            failed_actual=row.failed_actual,
            seconds=row.evaluation_seconds,
        ),
        reward=row.reward,
        shaped_reward=row.shaped_reward,
        unmasked_advantage=row.unmasked_advantage,
        advantage=row.advantage,
        trained=row.trained,
        mask=make_mask_details(row, config),
        logprobs=compare_logprobs(row.learner_logprobs, row.sampler_logprobs),
    )


def compare_logprobs(learner: np.ndarray | None, sampler: np.ndarray | None) -> LogprobDifference | None:
    """Compare log-probs [R] of the same tokens; None if one is missing or they do not have the same length."""
    if learner is None or sampler is None or len(learner) != len(sampler):
        return None
    both = np.isfinite(learner) & np.isfinite(sampler)
    positions = np.flatnonzero(both)
    differences = learner[both].astype(np.float64) - sampler[both]
    at = int(np.argmax(np.abs(differences))) if len(differences) else None
    return LogprobDifference(
        tokens=len(positions),
        not_finite=len(both) - len(positions),
        mean=None if at is None else float(differences.mean()),
        mean_absolute=None if at is None else float(np.abs(differences).mean()),
        largest=None if at is None else float(differences[at]),
        largest_at=None if at is None else int(positions[at]),
    )
