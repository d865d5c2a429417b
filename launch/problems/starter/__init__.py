"""The built-in problem set: families of small parametrized problems, each with a reference program.

Variants are numbered: family and index together determine a problem. Variants with held-out numbers
(``Family.is_held_out``), and all variants of HELD_OUT_FAMILIES, are never used in training or warm start.
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
from launch.problems.starter.family import Family, StarterProblem, stable_hash

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
RELATED_FAMILIES = frozenset(
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
"""Held-out families that recombine elements of training families."""
LONG_FAMILIES = frozenset(
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
"""Held-out families whose programs are too long for a model to write reliably after a few minutes of warm start."""
HELD_OUT_FAMILIES = RELATED_FAMILIES | LONG_FAMILIES

_MIXED_FAMILIES = sorted(FAMILIES, key=lambda family: stable_hash(family.name))
"""The families in pseudo-random order, so that every prefix mixes the themes."""

TRAINING_FAMILIES = tuple(family for family in _MIXED_FAMILIES if family.name not in HELD_OUT_FAMILIES)

INDICES = range(10_000)
TRAINING_COUNT = 400
SEEN_FAMILY_COUNT = 120
UNSEEN_FAMILY_COUNT = 40


@cache
def build_training_problems() -> tuple[StarterProblem, ...]:
    """Return 400 problems of the training families."""
    variants = [_iterate_distinct(family, INDICES, held_out=False) for family in TRAINING_FAMILIES]
    return _take_round_robin(TRAINING_COUNT, variants)


@cache
def build_held_out_problems() -> tuple[StarterProblem, ...]:
    """Return 120 problems of the training families with held-out numbers, then 40 of the held-out families."""
    seen = TRAINING_FAMILIES
    unseen = [
        family for names in (RELATED_FAMILIES, LONG_FAMILIES) for family in _MIXED_FAMILIES if family.name in names
    ]
    return (
        *_take_round_robin(SEEN_FAMILY_COUNT, [_iterate_distinct(family, INDICES, held_out=True) for family in seen]),
        *_take_round_robin(
            UNSEEN_FAMILY_COUNT, [_iterate_distinct(family, INDICES, held_out=None) for family in unseen]
        ),
    )


def draw_warm_start_pairs(count: int, seed: int) -> list[tuple[Problem, str]]:
    """Draw ``count`` (problem, reference program) pairs of the training families, in random order.

    No statement occurs twice.
    """
    rng = Random(seed)
    orders = [rng.sample(INDICES, len(INDICES)) for _ in TRAINING_FAMILIES]
    variants = [
        _iterate_distinct(family, order, held_out=False)
        for family, order in zip(TRAINING_FAMILIES, orders, strict=True)
    ]
    pairs = [(starter.problem, starter.reference) for starter in _take_round_robin(count, variants)]
    rng.shuffle(pairs)
    return pairs


def _iterate_distinct(family: Family, indices: Iterable[int], held_out: bool | None) -> Iterator[StarterProblem]:
    """Yield the family's variants in the order of ``indices``, without repeated statements.

    ``held_out`` selects the variants that are held out (True), the others (False), or all (None).
    """
    seen: set[str] = set()
    for index in indices:
        params = family.draw_params(index)
        statement = family.format_statement(params)
        if statement not in seen and held_out in (None, family.is_held_out(params)):
            seen.add(statement)
            yield family.make_problem(index)


def _take_round_robin(count: int, sources: list[Iterator[StarterProblem]]) -> tuple[StarterProblem, ...]:
    """Take ``count`` problems, one from each source in turn; exhausted sources are skipped.

    Raises ValueError if the sources have fewer problems.
    """
    taken: list[StarterProblem] = []
    while sources and len(taken) < count:
        row = [next(source, None) for source in sources]
        sources = [source for source, problem in zip(sources, row, strict=True) if problem is not None]
        taken += [problem for problem in row if problem is not None]
    if len(taken) < count:
        raise ValueError(f"cannot take {count} problems: the families have only {len(taken)} distinct ones")
    return tuple(taken[:count])
