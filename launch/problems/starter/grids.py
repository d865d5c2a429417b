"""Problem families with a grid of numbers."""

from __future__ import annotations

from random import Random
from typing import Any

from launch.problems.starter.family import Family, InputLines
from launch.problems.starter.random_inputs import MIN_MAX, draw_int_list


def draw_number_grids(rng: Random, *shapes: tuple[int, int], low: int = -20, high: int = 20) -> list[list[list[int]]]:
    return [[draw_int_list(rng, width, low, high) for _ in range(height)] for height, width in shapes]


def prepend_heights(grids: list[list[list[int]]], *edges: list[list[int]]) -> list[InputLines]:
    """Make an input of each grid, with the number of rows on the first line."""
    return [(len(grid), *grid) for grid in [*grids, *edges]]


def by_columns(rows: Any) -> list[list[int]]:
    return [[row[j] for row in rows] for j in range(len(rows[0]))]


FAMILIES = (
    Family(
        name="best_row",
        difficulty="medium",
        statements=(
            "The first line has n, then come n rows of integers. Print the $word row sum times $k.",
            "Read n and a grid of n rows of integers. Add up each row and print the $word total multiplied by $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(MIN_MAX)},
        program=(
            "n = int(input())",
            "nums = [list(map(int, input().split())) for i in range(n)]",
            "print($pick(sum(x) for x in nums) * $k)",
        ),
        wrong_edits=((" * $k", ""), ("$pick(sum(x)", "sum(sum(x)"), ("sum(x)", "$pick(x)")),
        inputs=lambda p, rng: prepend_heights(draw_number_grids(rng, (3, 3), (2, 4), (4, 2), (3, 5), (5, 3)), [[7, 2]]),
        solve=lambda p, n, *rows: p["k"] * sorted(map(sum, rows))[0 if p["pick"] == "min" else -1],
    ),
    Family(
        name="best_column",
        difficulty="medium",
        statements=(
            "The first line has n, then come n rows of integers. Print the $word column sum times $k.",
            "Read n and a grid of n rows of integers. Add up each column and print the $word total multiplied by $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(MIN_MAX)},
        program=(
            "n = int(input())",
            "nums = [list(map(int, input().split())) for i in range(n)]",
            "print($pick(sum(x) for x in zip(*nums)) * $k)",
        ),
        wrong_edits=((" * $k", ""), ("zip(*nums)", "nums"), ("sum(x)", "$pick(x)")),
        inputs=lambda p, rng: prepend_heights(draw_number_grids(rng, (3, 3), (2, 4), (4, 2), (3, 5), (5, 3)), [[7, 2]]),
        solve=lambda p, n, *rows: p["k"] * sorted(map(sum, by_columns(rows)))[0 if p["pick"] == "min" else -1],
    ),
)
