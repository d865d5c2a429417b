"""The built-in problem set: families of small parametrised problems, each with a reference program.

Variants are numbered; a family and an index decide everything about a problem. A variant whose numbers are held out
(``Family.is_held_out``), and every variant of the families in HELD_OUT_FAMILIES, never reaches training or warm start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from random import Random

from evaluator.problem import Problem
from launch.problems.starter import (
    arithmetic,
    dynamic_programming,
    grids,
    number_theory,
    searching,
    sequences,
    simulation,
    strings,
)
from launch.problems.starter.family import Family, StarterProblem, stable_number

FAMILIES: tuple[Family, ...] = (
    *arithmetic.FAMILIES,
    *sequences.FAMILIES,
    *searching.FAMILIES,
    *number_theory.FAMILIES,
    *strings.FAMILIES,
    *dynamic_programming.FAMILIES,
    *simulation.FAMILIES,
    *grids.FAMILIES,
)
RELATIVES = frozenset(
    {
        "scaled_difference",
        "count_between",
        "divisible_but_not",
        "scaled_filtered_sum",
        "kth_distinct",
        "gcd_of_list",
        "digit_sum_in_base",
        "affine_recurrence",
        "reversed_caesar_shift",
        "words_with_initial",
        "bracket_depth",
        "windows_with_sum",
        "pairs_by_difference",
        "robot_distance",
        "best_column",
        "coin_ways",
        "heaviest_chain",
        "interval_groups",
    }
)
"""Made of pieces that training families have."""
LONG = frozenset(
    {
        "most_frequent_remainder",
        "subarrays_by_sum",
        "count_big_jumps",
        "inversions",
        "next_larger",
        "best_subarray",
        "pairs_by_sum",
        "first_total",
        "brackets_of_limited_depth",
        "longest_chain",
        "longest_window",
        "last_in_circle",
        "first_in_sorted",
        "covered_length",
        "boats_for_two",
        "stair_ways",
        "most_meetings",
        "primes_up_to",
        "letter_runs",
        "knapsack",
        "fewest_coins",
        "common_subsequence",
        "grid_path",
        "large_patches",
        "maze_steps",
    }
)
"""Easy contest problems whose programs take more tokens than a model warm-started in minutes writes without a slip."""
HELD_OUT_FAMILIES = RELATIVES | LONG

_MIXED = sorted(FAMILIES, key=lambda family: stable_number(family.name))
"""The families in an order that mixes themes, so that any part of them is a fair sample."""

TRAINING_FAMILIES = tuple(family for family in _MIXED if family.name not in HELD_OUT_FAMILIES)

INDICES = range(10_000)
TRAINING_COUNT = 400
SEEN_FAMILY_COUNT = 120
UNSEEN_FAMILY_COUNT = 40


@cache
def training_problems() -> tuple[StarterProblem, ...]:
    """400 problems of the training families."""
    return _take(TRAINING_COUNT, [_distinct(family, INDICES, False) for family in TRAINING_FAMILIES])


@cache
def held_out_problems() -> tuple[StarterProblem, ...]:
    """120 problems of the training families with other numbers, then 40 of families kept from training."""
    unseen = [family for group in (RELATIVES, LONG) for family in _MIXED if family.name in group]
    return (
        *_take(SEEN_FAMILY_COUNT, [_distinct(family, INDICES, True) for family in TRAINING_FAMILIES]),
        *_take(UNSEEN_FAMILY_COUNT, [_distinct(family, INDICES, None) for family in unseen]),
    )


def warm_start_pairs(count: int, seed: int) -> list[tuple[Problem, str]]:
    """``count`` (problem, reference program) pairs of the training families, no statement twice, in random order."""
    rng = Random(seed)
    indices = [rng.sample(INDICES, len(INDICES)) for _ in TRAINING_FAMILIES]
    drawn = [_distinct(*pair, False) for pair in zip(TRAINING_FAMILIES, indices, strict=True)]
    pairs = [(starter.problem, starter.reference) for starter in _take(count, drawn)]
    rng.shuffle(pairs)
    return pairs


def _distinct(family: Family, indices: Iterable[int], held_out: bool | None) -> Iterator[StarterProblem]:
    """The family's variants in the order of ``indices``, no statement twice; ``held_out`` None takes all of them."""
    seen: set[str] = set()
    for index in indices:
        params = family.params(index)
        statement = family.statement(params)
        if statement not in seen and held_out in (None, family.is_held_out(params)):
            seen.add(statement)
            yield family.problem(index)


def _take(count: int, sources: list[Iterator[StarterProblem]]) -> tuple[StarterProblem, ...]:
    """``count`` problems, one from each source in turn; a source that runs dry is passed over."""
    taken: list[StarterProblem] = []
    while sources and len(taken) < count:
        row = [next(source, None) for source in sources]
        sources = [source for source, problem in zip(sources, row, strict=True) if problem is not None]
        taken += [problem for problem in row if problem is not None]
    if len(taken) < count:
        raise ValueError(f"{count} problems asked for, but the families have only {len(taken)} different ones")
    return tuple(taken[:count])
