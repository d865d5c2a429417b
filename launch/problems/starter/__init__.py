"""The built-in problem set: families of small parametrized problems, each with a reference program.

Variants are numbered: family and index together determine a problem. The 36 families are split in three:

    trained     24 families: warm start, training, and evaluation with other numbers
    untrained    8 families: warm start and evaluation
    unknown      4 families: evaluation only

The part is the problem's ``platform``, by which evaluations report scores. Variants with held-out numbers
(``Family.is_held_out``) are never used in training or warm start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from random import Random

from launch.problems.starter import arithmetic, grids, number_theory, sequences, strings
from launch.problems.starter.family import Family, StarterProblem, stable_hash

UNTRAINED = frozenset(
    {
        "affine_recurrence",
        "best_column",
        "best_row",
        "count_between",
        "gcd_or_lcm",
        "kth_distinct",
        "scaled_filtered_sum",
        "words_with_initial",
    }
)
"""Families of the warm start that are not trained on. They recombine elements of trained families."""
UNKNOWN = frozenset({"digit_sum_in_base", "divisible_but_not", "reversed_caesar_shift", "scaled_difference"})
"""Families that occur neither in the warm start nor in training."""

FAMILIES: tuple[Family, ...] = tuple(
    sorted(
        (
            *arithmetic.FAMILIES,
            *sequences.FAMILIES,
            *number_theory.FAMILIES,
            *strings.FAMILIES,
            *grids.FAMILIES,
        ),
        key=lambda family: stable_hash(family.name),
    )
)
"""All families in pseudo-random order, so that every prefix mixes the themes."""
TRAINED_FAMILIES = tuple(family for family in FAMILIES if family.name not in UNTRAINED | UNKNOWN)
UNTRAINED_FAMILIES = tuple(family for family in FAMILIES if family.name in UNTRAINED)
UNKNOWN_FAMILIES = tuple(family for family in FAMILIES if family.name in UNKNOWN)

INDICES = range(10_000)
TRAINING_COUNT = 384
HELD_OUT_COUNTS = {"trained": 96, "untrained": 32, "unknown": 16}


@cache
def build_training_problems() -> tuple[StarterProblem, ...]:
    """Return 384 problems of the trained families."""
    variants = [_iterate_distinct(family, "trained", INDICES, held_out=False) for family in TRAINED_FAMILIES]
    return _take_round_robin(TRAINING_COUNT, variants)


@cache
def build_held_out_problems() -> tuple[StarterProblem, ...]:
    """Return 96 problems of the trained, 32 of the untrained and 16 of the unknown families, all held out."""
    parts = {"trained": TRAINED_FAMILIES, "untrained": UNTRAINED_FAMILIES, "unknown": UNKNOWN_FAMILIES}
    return tuple(
        problem
        for part, families in parts.items()
        for problem in _take_round_robin(
            HELD_OUT_COUNTS[part],
            [_iterate_distinct(family, part, INDICES, held_out=True) for family in families],
        )
    )


def draw_warm_start_problems(count: int, seed: int) -> list[StarterProblem]:
    """Draw ``count`` problems of the trained and untrained families, in random order.

    No statement occurs twice.
    """
    rng = Random(seed)
    families = (*TRAINED_FAMILIES, *UNTRAINED_FAMILIES)
    orders = [rng.sample(INDICES, len(INDICES)) for _ in families]
    variants = [
        _iterate_distinct(family, "trained" if family in TRAINED_FAMILIES else "untrained", order, held_out=False)
        for family, order in zip(families, orders, strict=True)
    ]
    problems = list(_take_round_robin(count, variants))
    rng.shuffle(problems)
    return problems


def _iterate_distinct(family: Family, part: str, indices: Iterable[int], held_out: bool) -> Iterator[StarterProblem]:
    """Yield the family's variants in the order of ``indices``, without repeated statements.

    ``held_out`` selects the variants that are held out (True) or the others (False).
    """
    seen: set[str] = set()
    for index in indices:
        params = family.draw_params(index)
        statement = family.format_statement(params)
        if statement not in seen and held_out == family.is_held_out(params):
            seen.add(statement)
            yield family.make_problem(index, part)


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
