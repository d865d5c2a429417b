"""Problem families on one list of integers: counting, filtering, mapping, sorting, runs and running totals."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import (
    COMPARISONS,
    MIN_MAX,
    PLUS_MINUS,
    compare,
    draw_int_list,
    draw_low_and_high,
    make_list_inputs,
    prepend_lengths,
    signed,
)

SORT_ORDERS: tuple[Params, ...] = (
    {"word": "smallest", "order": ""},
    {"word": "largest", "order": "reverse=True"},
)


def make_inputs_of_k_or_more(p: Params, rng: Random, low: int, high: int) -> list[InputLines]:
    """Make lists of at least ``k`` integers: one of exactly ``k``, one with ties."""
    k = p["k"]
    return make_list_inputs(rng, low, high, [5] * (k + 2), sizes=(k + 4, k + 6, k, k + 1, k + 3))


def solve_first_total(p: Params, nums: list[int]) -> int:
    totals = [sum(nums[: i + 1]) for i in range(len(nums))]
    return next((i + 1 for i, total in enumerate(totals) if total >= p["k"]), -1)


def solve_longest_run(p: Params, nums: list[int]) -> int:
    marks = "".join("x" if compare(p, x, p["k"]) else " " for x in nums)
    return max((len(run) for run in marks.split()), default=0)


def make_run_inputs(p: Params, rng: Random) -> list[InputLines]:
    """Make lists with values around ``k``: in one no value counts, in two all do, in one the longest run is last."""
    up = p["cmp"].startswith(">")
    good, bad = (p["k"] + 3, p["k"] - 3) if up else (p["k"] - 3, p["k"] + 3)
    edges = [bad], [good] * 4, [good, bad, bad, good, good], [good, good, bad, good], [p["k"], p["k"], good]
    return make_list_inputs(rng, p["k"] - 5, p["k"] + 5, *edges, sizes=(9, 12, 15))


def solve_most_frequent(p: Params, nums: list[int]) -> int:
    rests = [x % p["k"] for x in nums]
    often = max(rests.count(rest) for rest in rests)
    return {"min": min, "max": max}[p["pick"]](rest for rest in rests if rests.count(rest) == often)


FAMILIES = (
    Family(
        name="extreme_plus_constant",
        difficulty="easy",
        statements=(
            "Read a line of integers. Print the $word of them $verb $k.",
            "Given integers on one line, find the $word one and print it $verb $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(MIN_MAX), **rng.choice(PLUS_MINUS)},
        program=("nums = list(map(int, input().split()))", "print($pick(nums) $op $k)"),
        wrong_edits=((" $op $k", ""), ("$pick(nums)", "nums[0]"), ("$pick(nums)", "sum(nums)")),
        inputs=lambda p, rng: make_list_inputs(rng, -99, 99, [4], [-3, -8, -5], [0, 6, 6, 3]),
        solve=lambda p, nums: sorted(nums)[0 if p["pick"] == "min" else -1] + signed(p, p["k"]),
    ),
    Family(
        name="sum_of_shifted",
        difficulty="easy",
        statements=(
            "Read a line of integers. Subtract $k from each and print the sum of the results times $m.",
            (
                "Given integers on one line, take $k away from every "
                "one of them, add them up and print $m times the total."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "m": rng.randint(2, 99)},
        program=("nums = list(map(int, input().split()))", "print(sum(x - $k for x in nums) * $m)"),
        wrong_edits=((" * $m", ""), ("x - $k for", "x for"), ("sum(x - $k for x in nums)", "(sum(nums) - $k)")),
        inputs=lambda p, rng: make_list_inputs(rng, -99, 99, [4], [0, 0, 0]),
        solve=lambda p, nums: p["m"] * (sum(nums) - p["k"] * len(nums)),
    ),
    Family(
        name="count_compared",
        difficulty="easy",
        statements=(
            "Read a line of integers. Print how many of them are $than $k.",
            "Given integers on one line, count those that are $than $k and print the count.",
            "The input is a line of integers. How many are $than $k?",
        ),
        draw=lambda rng: {"k": rng.randint(2, 400), **rng.choice(COMPARISONS)},
        program=("nums = list(map(int, input().split()))", "print(sum(x $cmp $k for x in nums))"),
        wrong_edits=(
            ("x $cmp", "x !="),
            ("sum(x $cmp $k for x in nums)", "sum(x for x in nums if x $cmp $k)"),
            ("x $cmp $k", "not x $cmp $k"),
        ),
        inputs=lambda p, rng: make_list_inputs(
            rng, p["k"] - 20, p["k"] + 20, [p["k"], p["k"] + 1, p["k"]], [p["k"] - 1], [-p["k"]] * 3
        ),
        solve=lambda p, nums: len([x for x in nums if compare(p, x, p["k"])]),
    ),
    Family(
        name="count_between",
        difficulty="easy",
        statements=(
            "Read a line of integers. Print how many of them are at least $low and at most $high.",
            "Given integers on one line, count those that are at least $low and at most $high.",
        ),
        draw=draw_low_and_high,
        program=("nums = list(map(int, input().split()))", "print(sum(x >= $low and x <= $high for x in nums))"),
        wrong_edits=(("x >= $low and ", ""), (" and x <= $high", ""), ("<=", "<")),
        inputs=lambda p, rng: make_list_inputs(
            rng, -20, 120, [p["low"], p["high"]], [p["low"] - 1], [p["high"] + 1, p["low"]]
        ),
        solve=lambda p, nums: len([x for x in nums if x in range(p["low"], p["high"] + 1)]),
    ),
    Family(
        name="sum_of_multiples",
        difficulty="easy",
        statements=(
            "Read a line of integers. Print the sum of those that are $multiple of $k.",
            "Given integers on one line, add up the ones that are $multiple of $k and print the total.",
        ),
        draw=lambda rng: {
            "k": rng.randint(2, 60),
            **rng.choice(({"multiple": "multiples", "eq": "=="}, {"multiple": "not multiples", "eq": "!="})),
        },
        program=("nums = list(map(int, input().split()))", "print(sum(x for x in nums if x % $k $eq 0))"),
        wrong_edits=((" if x % $k $eq 0", ""), ("sum(x for", "sum(1 for"), ("% $k $eq 0", "% $k $eq 1")),
        inputs=lambda p, rng: [
            ([*nums, p["k"] * rng.randint(2, 9), -p["k"], p["k"] * 5 + 1, p["k"] // 2, p["k"] // 3],)
            for (nums,) in make_list_inputs(rng, -99, 99, [4], sizes=(5, 4, 7, 6, 3))
        ],
        solve=lambda p, nums: sum(x for x in nums if (x // p["k"] * p["k"] == x) == (p["eq"] == "==")),
    ),
    Family(
        name="filter_list",
        difficulty="easy",
        statements=(
            (
                "Read a line of integers. "
                "Print those that are $than $k in the same order on one line, or $m if there are none."
            ),
            (
                "Given integers on one line, keep only the numbers $than $k. "
                "Print them on one line; if none is left, print $m."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "m": rng.randint(0, 9), **rng.choice(COMPARISONS)},
        program=(
            "nums = list(map(int, input().split()))",
            "best = [x for x in nums if x $cmp $k]",
            "print(*best or [$m])",
        ),
        wrong_edits=((" or [$m]", ""), ("x $cmp $k", "not x $cmp $k"), ("*best or [$m]", "len(best) or $m")),
        inputs=lambda p, rng: make_list_inputs(
            rng,
            p["k"] - 9,
            p["k"] + 9,
            [p["k"] + 9, p["k"] + 8],
            [p["k"] - 9, p["k"] - 8],
            [p["k"], p["k"] + 1, p["k"] - 1],
        ),
        solve=lambda p, nums: list(filter(lambda x: compare(p, x, p["k"]), nums)) or p["m"],
    ),
    Family(
        name="map_list",
        difficulty="easy",
        statements=(
            "Read a line of integers. Multiply each by $k, then $add $m, and print the results on one line.",
            "Given integers on one line, print for each x the value $k * x $op $m, separated by spaces.",
        ),
        draw=lambda rng: {
            "k": rng.randint(2, 99),
            "m": rng.randint(2, 99),
            **rng.choice(({"add": "add", "op": "+"}, {"add": "subtract", "op": "-"})),
        },
        program=("nums = list(map(int, input().split()))", "print(*[x * $k $op $m for x in nums])"),
        wrong_edits=((" $op $m", ""), (" * $k", ""), ("*[x * $k $op $m", "*[x * $k $op $m + 1")),
        inputs=lambda p, rng: make_list_inputs(rng, -99, 99, [0], [1, -1], sizes=(4, 6, 5, 3)),
        solve=lambda p, nums: [p["k"] * x + signed(p, p["m"]) for x in nums],
    ),
    Family(
        name="kth_in_order",
        difficulty="easy",
        signature="pickNumber(self, nums: list[int]) -> int",
        statements=(
            (
                "Given a list nums of at least $k integers, return the "
                "number at position $k when sorted from the $word, plus $m."
            ),
            "Sort nums with the $word number first and return its element number $k (counted from 1) plus $m.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 12), "m": rng.randint(2, 99), **rng.choice(SORT_ORDERS)},
        program=("nums.sort($order)", "return nums[$k - 1] + $m"),
        wrong_edits=(("$k - 1", "$k - 2"), (" + $m", ""), ("nums.sort($order)\n", "")),
        inputs=lambda p, rng: make_inputs_of_k_or_more(p, rng, -50, 50),
        solve=lambda p, nums: sorted(nums)[p["k"] - 1 if p["word"] == "smallest" else -p["k"]] + p["m"],
    ),
    Family(
        name="longest_run",
        difficulty="medium",
        signature="longestRun(self, nums: list[int]) -> int",
        statements=(
            "Given a list nums, return the length of the longest run of consecutive elements that are all $than $k.",
            "Find the longest contiguous part of nums where every element is $than $k and return its length.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 400), **rng.choice(COMPARISONS)},
        program=(
            "best = total = 0",
            "for x in nums:",
            "    total = total + 1 if x $cmp $k else 0",
            "    best = max(best, total)",
            "return best",
        ),
        wrong_edits=(("else 0", "else total"), ("else 0", "else 1"), ("return best", "return total")),
        inputs=make_run_inputs,
        solve=solve_longest_run,
    ),
    Family(
        name="first_total",
        difficulty="medium",
        statements=(
            (
                "The first line has n, the second n integers. "
                "Print the first position (from 1) where the running total is at least $k, or -1."
            ),
            (
                "Read n and then a line of n integers. "
                "How many must be added from the left until the sum is at least $k? Print -1 if it never is."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(10, 400)},
        program=(
            "n = int(input())",
            "nums = list(map(int, input().split()))",
            "total = 0",
            "best = -1",
            "for i in range(n):",
            "    total += nums[i]",
            "    if total >= $k and best == -1:",
            "        best = i + 1",
            "print(best)",
        ),
        wrong_edits=(("best = i + 1", "best = i"), ("total >=", "total >"), (" and best == -1", "")),
        inputs=lambda p, rng: prepend_lengths(
            make_list_inputs(rng, 1, p["k"], [p["k"]], [p["k"] - 1], [p["k"], -1, 5], [1, 1, -p["k"]], sizes=(6, 8, 5))
        ),
        solve=lambda p, n, nums: solve_first_total(p, nums),
    ),
    Family(
        name="most_frequent_remainder",
        difficulty="medium",
        statements=(
            (
                "Read a line of integers. Print the most frequent remainder modulo $k; "
                "if several are equally frequent, the $word of them."
            ),
            (
                "Given integers on one line, take each modulo $k. "
                "Print the value that occurs most often (the $word one in case of a tie)."
            ),
        ),
        draw=lambda rng: {
            "k": rng.randint(3, 60),
            **rng.choice(({**MIN_MAX[0], "order": ""}, {**MIN_MAX[1], "order": ", reverse=True"})),
        },
        program=(
            "nums = list(map(int, input().split()))",
            "count = {}",
            "for x in nums:",
            "    count[x % $k] = count.get(x % $k, 0) + 1",
            "print(max(sorted(count$order), key=count.get))",
        ),
        wrong_edits=(
            ("max(sorted(count$order), key=count.get)", "$pick(count)"),
            ("x % $k", "x"),
            ("sorted(count$order)", "sorted(count$order)[::-1]"),
        ),
        inputs=lambda p, rng: make_list_inputs(
            rng,
            0,
            99,
            [p["k"] * 2 - 1, 1, 0],
            [p["k"] + 1, 1, 2, p["k"] * 3 + 1, 0, p["k"] - 1, p["k"] - 1],
            [2, p["k"] + 2, 1, p["k"] + 1],
        ),
        solve=solve_most_frequent,
    ),
    Family(
        name="count_big_jumps",
        difficulty="easy",
        signature="countJumps(self, nums: list[int]) -> int",
        statements=(
            "Given a list nums, return how many neighbouring pairs have an absolute difference $than $k.",
            "Return the number of indices i from 1 on such that nums[i] and nums[i - 1] differ by a value $than $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 60), **rng.choice(COMPARISONS)},
        program=(
            "total = 0",
            "for i in range(1, len(nums)):",
            "    if abs(nums[i] - nums[i - 1]) $cmp $k:",
            "        total += 1",
            "return total",
        ),
        wrong_edits=(
            ("abs(nums[i] - nums[i - 1])", "nums[i] - nums[i - 1]"),
            ("range(1, len(nums))", "range(len(nums))"),
            ("$cmp $k", "== $k"),
        ),
        inputs=lambda p, rng: make_list_inputs(
            rng,
            0,
            p["k"] * 2,
            [7],
            [p["k"] * 3, 0, 0],
            [0, p["k"], p["k"]],
            [0, p["k"] + 1, -1],
            draw_int_list(rng, 3, 0, 9),
        ),
        solve=lambda p, nums: len([1 for a, b in pairwise(nums) if compare(p, max(a - b, b - a), p["k"])]),
    ),
)
