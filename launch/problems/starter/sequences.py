"""Problem families on one list of integers: counting, filtering, mapping and sorting."""

from __future__ import annotations

from collections import Counter
from random import Random

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import (
    COMPARISONS,
    MIN_MAX,
    PLUS_MINUS,
    compare,
    draw_low_and_high,
    make_list_inputs,
    signed,
)

SORT_ORDERS: tuple[Params, ...] = (
    {"word": "smallest", "order": ""},
    {"word": "largest", "order": "reverse=True"},
)


DIVISIONS: tuple[Params, ...] = (
    {"name": "remainders after division by", "op": "%"},
    {"name": "quotients of the division by", "op": "//"},
)


def make_inputs_of_k_or_more(p: Params, rng: Random, low: int, high: int) -> list[InputLines]:
    """Make lists of at least ``k`` integers: one of exactly ``k``, one with ties."""
    k = p["k"]
    return make_list_inputs(rng, low, high, [5] * (k + 2), sizes=(k + 4, k + 6, k, k + 1, k + 3))


def make_repeated_inputs(p: Params, rng: Random) -> list[InputLines]:
    """Make lists with at least ``k`` distinct values, of which the smallest and the largest occur twice."""
    drawn = [rng.sample(range(-99, 99), p["k"] + extra) for extra in (1, 3, 0, 6, 4)]
    return [([*nums, min(nums), max(nums)],) for nums in drawn]


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
            ("x $cmp $k", "not x $cmp $k"),
            ("x $cmp", "x !="),
            ("sum(x $cmp $k for x in nums)", "sum(x for x in nums if x $cmp $k)"),
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
        name="distinct_after_division",
        difficulty="easy",
        statements=(
            "Read a line of integers. Print how many different $name $k they have.",
            "Given integers on one line, count the different $name $k.",
        ),
        draw=lambda rng: {"k": rng.randint(3, 99), **rng.choice(DIVISIONS)},
        program=("nums = list(map(int, input().split()))", "print(len({x $op $k for x in nums}))"),
        wrong_edits=((" $op $k", ""), ("{x $op $k for x in nums}", "[x $op $k for x in nums]"), ("len(", "max(")),
        inputs=lambda p, rng: make_list_inputs(
            rng,
            0,
            p["k"] * 3,
            [1],
            [0, p["k"], 2 * p["k"]],
            [0, p["k"] // 2, p["k"] // 3, p["k"], 2 * p["k"], 1, p["k"] + 1, 2, 2],
            [5, 5, p["k"] - 1],
        ),
        solve=lambda p, nums: len(Counter(divmod(x, p["k"])[p["op"] == "%"] for x in nums)),
    ),
    Family(
        name="kth_distinct",
        difficulty="easy",
        signature="pickNumber(self, nums: list[int]) -> int",
        statements=(
            (
                "Given a list nums with at least $k different values, return the "
                "different value at position $k when sorted from the $word, plus $m."
            ),
            (
                "Remove repeats from nums, sort it with the $word number first "
                "and return its element number $k (counted from 1) plus $m."
            ),
        ),
        draw=lambda rng: {
            "k": rng.randint(2, 12),
            "m": rng.randint(2, 99),
            **rng.choice(({"word": "smallest", "order": ""}, {"word": "largest", "order": ", reverse=True"})),
        },
        program=("nums = sorted(set(nums)$order)", "return nums[$k - 1] + $m"),
        wrong_edits=(("$k - 1", "$k - 2"), (" + $m", ""), ("set(nums)", "nums")),
        inputs=make_repeated_inputs,
        solve=lambda p, nums: sorted(Counter(nums), reverse=p["word"] == "largest")[p["k"] - 1] + p["m"],
    ),
    Family(
        name="scaled_filtered_sum",
        difficulty="easy",
        statements=(
            "Read a line of integers. Add up those that are $than $k and print the total times $m.",
            "Given integers on one line, print $m times the sum of the numbers that are $than $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "m": rng.randint(2, 99), **rng.choice(COMPARISONS)},
        program=("nums = list(map(int, input().split()))", "print(sum(x for x in nums if x $cmp $k) * $m)"),
        wrong_edits=((" * $m", ""), (" if x $cmp $k", ""), ("sum(x for", "sum(1 for")),
        inputs=lambda p, rng: make_list_inputs(
            rng, p["k"] - 20, p["k"] + 20, [p["k"], p["k"] + 1, p["k"] - 1], [p["k"]], [-3, 200]
        ),
        solve=lambda p, nums: sum(p["m"] * x for x in nums if compare(p, x, p["k"])),
    ),
)
