"""What the evaluation benchmark makes of its timings."""

import asyncio
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluate import CHARACTERS_PER_TOKEN, TOKENS_PER_S, Compared, Part, Recorded, Timed
from launch.problems.prompts import PromptedProblem
from tests.factories import problem

PASSED = frozenset({("a", 0)})


def test_overlapping_hides_the_shorter_part():
    unused: Any = None
    part = Part(name="p", problems=[unused] * 20, samples=1, source=unused, at_once=1, evaluators=unused)
    # 10 s of sampling and 4 s of judging afterwards; overlapped, 3 of the 4 are hidden.
    compared = Compared(part, [Timed(11.0, 10.0, PASSED)] * 3, [Timed(14.0, 10.0, PASSED)] * 3)
    assert compared.ratios == [pytest.approx(14 / 11)] * 3
    assert compared.hidden == pytest.approx(0.75)
    assert compared.per_second(compared.afterwards) == pytest.approx(20 / 14)


def test_a_recorded_answer_takes_the_time_of_its_tokens():
    text = "x" * round(CHARACTERS_PER_TOKEN * TOKENS_PER_S * 0.05)
    asked = PromptedProblem(problem("a"), np.zeros(0, np.int32), ())
    answer = asyncio.run(Recorded({"a": text}).answer(asked, 0))
    assert answer.text == text and answer.seconds == pytest.approx(0.05) and not answer.truncated
