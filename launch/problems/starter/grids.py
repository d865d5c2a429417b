"""Problem families with a grid of numbers or letters."""

from __future__ import annotations

from random import Random
from typing import Any

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import MIN_MAX, draw_int_list

DIAGONALS: tuple[Params, ...] = (
    {"which": "main diagonal (top left to bottom right)", "short": "main", "place": "i"},
    {"which": "other diagonal (top right to bottom left)", "short": "other", "place": "n - 1 - i"},
)
LINES: tuple[Params, ...] = ({"line": "row"}, {"line": "column"})
MARKS = "#*@X"


def draw_number_grids(rng: Random, *shapes: tuple[int, int], low: int = -20, high: int = 20) -> list[list[list[int]]]:
    return [[draw_int_list(rng, width, low, high) for _ in range(height)] for height, width in shapes]


def prepend_heights(grids: list[list[list[int]]], *edges: list[list[int]]) -> list[InputLines]:
    """Make an input of each grid, with the number of rows on the first line."""
    return [(len(grid), *grid) for grid in [*grids, *edges]]


def by_columns(rows: Any) -> list[list[int]]:
    return [[row[j] for row in rows] for j in range(len(rows[0]))]


def make_maze_inputs(p: Params, rng: Random) -> list[InputLines]:
    """Make open, closed, winding, single-cell and random mazes, with walls of the drawn mark."""
    tall = [".....", "####.", ".....", ".####", "....."]
    shapes = [[".#...", ".#.#.", "...#."], ["....", "....", "...."], [".#.", "##.", "..."], ["."], tall]
    drawn = [["".join(rng.choices(".#", (3, 1), k=5)) for _ in range(4)] for _ in range(2)]
    closed = [["." + grid[0][1:], *grid[1:-1], grid[-1][:-1] + "."] for grid in drawn]
    return [(len(grid), *(row.replace("#", p["wall"]) for row in grid)) for grid in [*shapes, *closed]]


def cells(grid: tuple[str, ...], mark: str) -> set[complex]:
    return {complex(i, j) for i, row in enumerate(grid) for j, x in enumerate(row) if x == mark}


def solve_maze(p: Params, n: int, *grid: str) -> int:
    free = cells(grid, ".")
    goal = complex(n - 1, len(grid[0]) - 1)
    reached, steps = {0j}, 0
    while goal not in reached:
        wider = reached | {x + step for x in reached for step in (1, -1, 1j, -1j)} & free
        if wider == reached:
            return -1
        reached, steps = wider, steps + 1
    return steps * p["k"]


def make_patch_inputs(p: Params, rng: Random) -> list[InputLines]:
    """Make grids with patches of fewer than, exactly and more than ``k`` cells."""
    k = p["k"]
    snake = ["#" * k + ".#", "." * k + "##", "#" * (k + 2)]
    line = ["#" * k + "." + "#" * (k - 1) + ".."]
    drawn = [["".join(rng.choices("#.", k=k + 3)) for _ in range(4)] for _ in range(3)]
    corner = ["#" * (k - 1) + "." * 2, "." * (k - 1) + "##"]
    column = [*(["#."] * k), "..", "##"]
    grids = [snake, drawn[0], line, corner, ["."], column, *drawn[1:]]
    return [(len(grid), *(row.replace("#", p["mark"]) for row in grid)) for grid in grids]


def solve_patches(p: Params, n: int, *grid: str) -> int:
    left, count = cells(grid, p["mark"]), 0
    while left:
        patch, size = {min(left, key=lambda x: (x.real, x.imag))}, 0
        while len(patch) > size:
            size = len(patch)
            patch |= {x + step for x in patch for step in (1, -1, 1j, -1j)} & left
        left -= patch
        count += size >= p["k"]
    return count


def solve_path(p: Params, grid: list[list[int]]) -> int:
    rest = [[row[1:] for row in grid], grid[1:]]
    ends = [solve_path(p, part) for part in rest if part and part[0]]
    here = grid[0][0] + p["k"]
    return here + (min(ends) if p["pick"] == "min" else max(ends)) if ends else here


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
    Family(
        name="diagonal_sum",
        difficulty="medium",
        statements=(
            "The first line has n, then come n rows of n integers. Print the sum of the $which times $k.",
            "Read n and an n by n grid of integers. Multiply the sum of its $short diagonal by $k and print it.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(DIAGONALS)},
        program=(
            "n = int(input())",
            "nums = [list(map(int, input().split())) for i in range(n)]",
            "print(sum(nums[i][$place] for i in range(n)) * $k)",
        ),
        wrong_edits=((" * $k", ""), ("[$place]", "[0]"), ("[i][$place]", "[i][n - 1 - ($place)]")),
        inputs=lambda p, rng: prepend_heights(
            draw_number_grids(rng, (3, 3), (4, 4), (2, 2), (5, 5)), [[7]], [[1, 2], [3, 5]]
        ),
        solve=lambda p, n, *rows: p["k"] * sum(rows[i][i if p["short"] == "main" else -1 - i] for i in range(n)),
    ),
    Family(
        name="turned_grid",
        difficulty="medium",
        statements=(
            (
                "The first line has n, then come n rows of integers. "
                "Add $k to every number, swap rows and columns, and print the new rows."
            ),
            (
                "Read n and a grid of n rows of integers. "
                "Print each of its columns as a row, with every number increased by $k."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 400)},
        program=(
            "n = int(input())",
            "nums = [list(map(int, input().split())) for i in range(n)]",
            "for x in zip(*nums):",
            "    print(*[a + $k for a in x])",
        ),
        wrong_edits=((" + $k", ""), ("zip(*nums)", "nums"), ("in x]", "in x[::-1]]")),
        inputs=lambda p, rng: prepend_heights(draw_number_grids(rng, (3, 3), (2, 4), (3, 2), (1, 3), (3, 1)), [[7]]),
        solve=lambda p, n, *rows: "\n".join(" ".join(str(x + p["k"]) for x in row) for row in by_columns(rows)),
    ),
    Family(
        name="grid_path",
        difficulty="hard",
        signature="bestPath(self, nums: list[list[int]]) -> int",
        statements=(
            (
                "Go from the top left to the bottom right cell of the grid nums, only right or down. "
                "Each cell x costs x + $k. Return the $word total."
            ),
            (
                "Add $k to each cell of nums. "
                "Return the $word sum on a path from top left to bottom right that moves only right or down."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(MIN_MAX)},
        program=(
            "best = {}",
            "for i in range(len(nums)):",
            "    for j in range(len(nums[0])):",
            "        total = [best[x] for x in ((i - 1, j), (i, j - 1)) if x in best]",
            "        best[i, j] = nums[i][j] + $k + $pick(total, default=0)",
            "return best[i, j]",
        ),
        wrong_edits=(
            (" + $k", ""),
            ("((i - 1, j), (i, j - 1))", "((i - 1, j - 1), (i, j - 1))"),
            ("$pick(total, default=0)", "sum(total)"),
        ),
        inputs=lambda p, rng: [
            (grid,) for grid in draw_number_grids(rng, (3, 3), (2, 4), (1, 1), (1, 4), (4, 1), (4, 4), low=0)
        ],
        solve=solve_path,
    ),
    Family(
        name="maze_steps",
        difficulty="hard",
        statements=(
            (
                'Read n and n rows of a maze of "." and walls "$wall". Each step costs $k. '
                "Print the least cost from top left to bottom right, or -1."
            ),
            (
                'The first line has n, then come n rows; "$wall" is a wall, "." is free. '
                "Print $k times the fewest steps from the first cell to the last, or -1."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "wall": rng.choice(MARKS)},
        program=(
            "n = int(input())",
            's = {(i, j) for i in range(n) for j, x in enumerate(input()) if x == "."}',
            "best = max(s)",
            "nums = [(0, 0, 0)]",
            "total = -1",
            "for i, j, n in nums:",
            "    if (i, j) == best:",
            "        total = n * $k",
            "    for x in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):",
            "        if x in s:",
            "            s.remove(x)",
            "            nums.append((x[0], x[1], n + 1))",
            "print(total)",
        ),
        wrong_edits=((" * $k", ""), ("(i - 1, j), ", ""), ("total = -1", "total = 0")),
        inputs=make_maze_inputs,
        solve=solve_maze,
    ),
    Family(
        name="large_patches",
        difficulty="hard",
        statements=(
            (
                'Read n and n rows of "." and "$mark". Cells "$mark" that share a side form a patch. '
                "Print the number of patches with at least $k cells."
            ),
            (
                "The first line has n, then come n rows. "
                'Count the connected groups (by sides) of "$mark" that have $k or more cells.'
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 12), "mark": rng.choice(MARKS)},
        program=(
            "n = int(input())",
            's = {(i, j) for i in range(n) for j, x in enumerate(input()) if x == "$mark"}',
            "best = 0",
            "while s:",
            "    nums = [s.pop()]",
            "    for i, j in nums:",
            "        for x in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):",
            "            if x in s:",
            "                s.remove(x)",
            "                nums.append(x)",
            "    best += len(nums) >= $k",
            "print(best)",
        ),
        wrong_edits=((">= $k", "> $k"), (", (i, j - 1)", ""), ("len(nums) >= $k", "1")),
        inputs=make_patch_inputs,
        solve=solve_patches,
    ),
)
