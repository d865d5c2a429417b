"""The answers from which the policy of uneven lengths learns."""

import numpy as np
import pytest

from benchmarks.tools.uneven_policy import LONGEST, LOOP, SHORTEST, countdown, lengthened
from launch.problems.prompts import answer
from launch.problems.starter import warm_start_pairs


def count(text):
    """A stand-in for a tokenizer: four tokens a line, as the starter policy's has for a line of the countdown."""
    return 4 * text.count("\n")


@pytest.fixture(scope="module")
def pairs():
    plain = warm_start_pairs(1000, 0)
    return plain, lengthened(plain, count, 0)


def test_lengths_are_log_uniform_over_one_to_eight(pairs):
    lengths = np.array([count(answer(program)) for _, program in pairs[1]])
    assert lengths.max() <= LONGEST + 4
    middle = np.exp(np.log([SHORTEST, LONGEST]).mean())
    assert 0.45 < np.mean(lengths < middle) < 0.55


def test_a_tenth_loops(pairs):
    assert 0.07 < np.mean([LOOP in program for _, program in pairs[1]]) < 0.13


def test_the_program_stays_whole_below_the_rest(pairs):
    for (problem, program), (same, longer) in zip(*pairs, strict=True):
        assert same is problem
        assert longer.endswith(program) or longer.startswith(LOOP)


def test_countdown():
    assert countdown(2) == "# 2\n# 1\n"
    assert countdown(-3) == ""
