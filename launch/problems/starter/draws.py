"""What the families' ``draw`` and ``inputs`` functions share: word choices and random inputs with given edge cases."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from launch.problems.starter.family import Lines, Params

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
    """``x`` against ``k``, by the comparison drawn from COMPARISONS."""
    return {">": x > k, "<": x < k, ">=": x >= k, "<=": x <= k}[params["cmp"]]


def signed(p: Params, value: int) -> int:
    """``value`` with the sign drawn from PLUS_MINUS."""
    return value if p["op"] == "+" else -value


def low_and_high(rng: Random) -> Params:
    low = rng.randint(2, 60)
    return {"low": low, "high": low + rng.randint(5, 39)}


def numbers(rng: Random, low: int, high: int, *edges: int) -> list[Lines]:
    """Eight inputs of one integer: one at random, the edges, then at random."""
    first = [rng.randint(low, high), *edges]
    return [(x,) for x in first + [rng.randint(low, high) for _ in range(8 - len(first))]]


def int_pairs(rng: Random, low: int, high: int, *edges: tuple[int, int]) -> list[Lines]:
    """Eight inputs of two integers each: one at random, the edges, then at random."""
    drawn = [(rng.randint(low, high), rng.randint(low, high)) for _ in range(8 - len(edges))]
    return [*drawn[:1], *edges, *drawn[1:]]


def int_list(rng: Random, size: int, low: int, high: int) -> list[int]:
    return [rng.randint(low, high) for _ in range(size)]


def lists(
    rng: Random, low: int, high: int, *edges: Sequence[int], sizes: Sequence[int] = (5, 8, 6, 9, 12)
) -> list[Lines]:
    """Inputs of one list each: two at random, the edges, then at random, with the given sizes."""
    drawn = [int_list(rng, size, low, high) for size in sizes]
    return [(list(nums),) for nums in [*drawn[:2], *edges, *drawn[2:]]]


def one_line(inputs: list[Lines]) -> list[Lines]:
    """The same inputs with all their values on one line."""
    return [(values,) for values in inputs]


def counted(inputs: list[Lines]) -> list[Lines]:
    """The same inputs, each list preceded by a line with its length."""
    return [(len(nums), nums) for (nums,) in inputs]


def word(rng: Random, size: int, letters: str = LETTERS) -> str:
    return "".join(rng.choice(letters) for _ in range(size))


def with_constant(rng: Random, choices: Sequence[Params], low: int, high: int) -> Params:
    """A choice with ``$k`` in its texts replaced by a number from ``low`` to ``high``, and that number."""
    k = rng.randint(low, high)
    return {"k": k, **{name: text.replace("$k", str(k)) for name, text in rng.choice(choices).items()}}
