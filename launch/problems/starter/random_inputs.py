"""Shared helpers of the families' ``draw`` and ``inputs`` functions: word choices, random inputs with edge cases."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from launch.problems.starter.family import InputLines, Params

PLUS_MINUS: tuple[Params, ...] = ({"op": "+", "verb": "plus"}, {"op": "-", "verb": "minus"})
MIN_MAX: tuple[Params, ...] = ({"pick": "min", "word": "smallest"}, {"pick": "max", "word": "largest"})
COMPARISONS: tuple[Params, ...] = (
    {"cmp": ">", "than": "greater than"},
    {"cmp": "<", "than": "less than"},
    {"cmp": ">=", "than": "at least"},
    {"cmp": "<=", "than": "at most"},
)
ANSWERS: tuple[Params, ...] = (
    {"yes": "YES", "no": "NO"},
    {"yes": "yes", "no": "no"},
    {"yes": "good", "no": "bad"},
    {"yes": "win", "no": "lose"},
    {"yes": "true", "no": "false"},
    {"yes": "open", "no": "closed"},
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def compare(params: Params, x: int, k: int) -> bool:
    """Compare ``x`` with ``k``, using the operator that was drawn from COMPARISONS."""
    return {">": x > k, "<": x < k, ">=": x >= k, "<=": x <= k}[params["cmp"]]


def signed(p: Params, value: int) -> int:
    """Return ``value`` with the sign that was drawn from PLUS_MINUS."""
    return value if p["op"] == "+" else -value


def draw_low_and_high(rng: Random) -> Params:
    low = rng.randint(2, 60)
    return {"low": low, "high": low + rng.randint(5, 39)}


def make_number_inputs(rng: Random, low: int, high: int, *edges: int) -> list[InputLines]:
    """Make eight inputs of one integer: a random one, the edge cases, then random ones."""
    first = [rng.randint(low, high), *edges]
    return [(x,) for x in first + [rng.randint(low, high) for _ in range(8 - len(first))]]


def make_int_pair_inputs(rng: Random, low: int, high: int, *edges: tuple[int, int]) -> list[InputLines]:
    """Make eight inputs of two integers: a random one, the edge cases, then random ones."""
    drawn = [(rng.randint(low, high), rng.randint(low, high)) for _ in range(8 - len(edges))]
    return [*drawn[:1], *edges, *drawn[1:]]


def draw_int_list(rng: Random, size: int, low: int, high: int) -> list[int]:
    return [rng.randint(low, high) for _ in range(size)]


def make_list_inputs(
    rng: Random, low: int, high: int, *edges: Sequence[int], sizes: Sequence[int] = (5, 8, 6, 9, 12)
) -> list[InputLines]:
    """Make inputs of one list each: two random ones, the edge cases, then random ones; ``sizes`` are of the random."""
    drawn = [draw_int_list(rng, size, low, high) for size in sizes]
    return [(list(nums),) for nums in [*drawn[:2], *edges, *drawn[2:]]]


def put_on_one_line(inputs: list[InputLines]) -> list[InputLines]:
    """Put all values of each input on one line."""
    return [(values,) for values in inputs]


def draw_word(rng: Random, size: int, letters: str = LETTERS) -> str:
    return "".join(rng.choice(letters) for _ in range(size))


def draw_with_constant(rng: Random, choices: Sequence[Params], low: int, high: int) -> Params:
    """Draw one of ``choices`` and a number k from ``low`` to ``high``, which replaces ``$k`` in the choice's texts."""
    k = rng.randint(low, high)
    return {"k": k, **{name: text.replace("$k", str(k)) for name, text in rng.choice(choices).items()}}
