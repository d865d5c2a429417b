"""Metrics and the recorded answers of the evaluation benchmark."""

import asyncio
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluate import (
    CHARACTERS_PER_TOKEN,
    TOKENS_PER_S,
    EvaluationTiming,
    EvaluationWorkload,
    OverlapComparison,
    RecordedAnswerSource,
)
from launch.problems.prompts import PromptedProblem
from tests.factories import make_problem

PASSED = frozenset({("a", 0)})


def test_overlap_comparison_computes_the_hidden_fraction_of_judging():
    unused: Any = None
    workload = EvaluationWorkload(
        name="p", problems=[unused] * 20, samples=1, source=unused, max_in_flight=1, evaluators=unused
    )
    # Without overlap: 10 s of sampling, then 4 s of judging. With overlap: 11 s, so 3 of the 4 s are hidden.
    comparison = OverlapComparison(
        workload,
        overlapped=[EvaluationTiming(11.0, 10.0, PASSED)] * 3,
        afterwards=[EvaluationTiming(14.0, 10.0, PASSED)] * 3,
    )
    assert comparison.speed_ratios == [pytest.approx(14 / 11)] * 3
    assert comparison.hidden_fraction == pytest.approx(0.75)
    assert comparison.problems_per_s(comparison.afterwards) == pytest.approx(20 / 14)


def test_recorded_answer_source_waits_for_the_time_of_the_tokens():
    text = "x" * round(CHARACTERS_PER_TOKEN * TOKENS_PER_S * 0.05)
    prompted = PromptedProblem(make_problem("a"), np.zeros(0, np.int32), ())
    answer = asyncio.run(RecordedAnswerSource({"a": text}).answer(prompted, 0))
    assert answer.text == text and answer.seconds == pytest.approx(0.05) and not answer.truncated
