"""Training examples of the policy with uneven response lengths."""

import numpy as np
import pytest

from benchmarks.tools.uneven_policy import LOOP, MAX_TOKENS, MIN_TOKENS, lengthen_answers, write_countdown
from launch.problems.prompts import format_answer
from launch.problems.starter import draw_warm_start_problems


def count_tokens(text):
    """Fake tokenizer: four tokens per line, as the starter policy's tokenizer needs for a line of the countdown."""
    return 4 * text.count("\n")


@pytest.fixture(scope="module")
def examples():
    """Examples before and after lengthening."""
    original = [(starter.problem, starter.reference) for starter in draw_warm_start_problems(1000, 0)]
    return original, lengthen_answers(original, count_tokens, 0)


def test_lengthen_answers_draws_log_uniform_lengths(examples):
    lengths = np.array([count_tokens(format_answer(program)) for _, program in examples[1]])
    assert lengths.max() <= MAX_TOKENS + 4
    middle = np.exp(np.log([MIN_TOKENS, MAX_TOKENS]).mean())
    assert 0.45 < np.mean(lengths < middle) < 0.55


def test_lengthen_answers_replaces_a_tenth_by_loops(examples):
    assert 0.07 < np.mean([LOOP in program for _, program in examples[1]]) < 0.13


def test_lengthen_answers_keeps_the_program_at_the_end(examples):
    for (problem, program), (lengthened_problem, longer) in zip(*examples, strict=True):
        assert lengthened_problem is problem
        assert longer.endswith(program) or longer.startswith(LOOP)


def test_write_countdown():
    assert write_countdown(2) == "# 2\n# 1\n"
    assert write_countdown(-3) == ""
