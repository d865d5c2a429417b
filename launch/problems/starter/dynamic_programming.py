"""Problem families for dynamic programming: counting ways, and optimal totals."""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise
from random import Random

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import (
    draw_int_list,
    draw_with_constant,
    make_list_inputs,
    make_number_inputs,
)

CHAIN_RULES: tuple[Params, ...] = (
    {"rule": "larger than the one before by at least $k", "test": "x - nums[j] >= $k"},
    {"rule": "smaller than the one before by at least $k", "test": "nums[j] - x >= $k"},
    {"rule": "different from the one before by at most $k", "test": "abs(x - nums[j]) <= $k"},
)


def draw_coins(rng: Random) -> Params:
    a, b, c = sorted(rng.sample(range(2, 26), 3))
    return {"a": a, "b": b, "c": c}


def coin_values(p: Params) -> tuple[int, int, int]:
    return p["a"], p["b"], p["c"]


def solve_coins(p: Params, n: int) -> int:
    """Breadth first over the sums that one more coin reaches."""
    reached, count = {0}, 0
    while n not in reached:
        reached = {total + x for total in reached for x in coin_values(p) if total + x <= n}
        count += 1
        if not reached:
            return -1
    return count


def solve_coin_ways(p: Params, n: int) -> int:
    a, b, c = coin_values(p)
    return sum((n - i - j) % a == 0 for i in range(0, n + 1, c) for j in range(0, n - i + 1, b))


def draw_steps(rng: Random) -> Params:
    a, b = sorted(rng.sample(range(1, 13), 2))
    return {"a": a, "b": b, "m": rng.randint(101, 999)}


def solve_stairs(p: Params, n: int) -> int:
    @cache
    def ways(left: int) -> int:
        if left <= 0:
            return int(left == 0)
        return ways(left - p["a"]) + ways(left - p["b"])

    return ways(n) % p["m"]


def follows_chain(p: Params, before: int, after: int) -> bool:
    word = p["rule"].split()[0]
    gap = {"larger": after - before, "smaller": before - after, "different": max(before - after, after - before)}[word]
    return gap <= p["k"] if word == "different" else gap >= p["k"]


def chains(p: Params, nums: list[int]) -> list[tuple[int, ...]]:
    """All subsequences of a short list in which each number follows the rule."""
    found: list[tuple[int, ...]] = []
    for x in nums:
        found += [(x,), *[(*chain, x) for chain in found if follows_chain(p, chain[-1], x)]]
    return found


def make_chain_inputs(p: Params, rng: Random) -> list[InputLines]:
    k = p["k"]

    hills = [[0, step, 2 * step, step, 0] for step in (k, k - 1, k + 1)]
    edges = [7], *hills, [3 * k, 2 * k, k, 3 * k], [9 * k, 8 * k, 1]
    return make_list_inputs(rng, 1, 4 * k, *edges, sizes=(8, 9))


def solve_knapsack(p: Params, n: int, *items: tuple[int, int]) -> int:
    chosen = [part for size in range(n + 1) for part in combinations(items, size)]
    return max(sum(b for _, b in part) for part in chosen if sum(a for a, _ in part) <= p["k"])


def make_knapsack_inputs(p: Params, rng: Random) -> list[InputLines]:
    k = p["k"]
    half = k // 2
    groups = [
        *[[(rng.randint(1, half + 1), rng.randint(1, 50)) for _ in range(size)] for size in (5, 7)],
        [(k, 5)],
        [(k + 1, 9)],
        [(half + 1, 10), (half, 7), (k - half, 7), (1, 1)],
        [(half, 6), (k - half, 6), (half - 1, 7), (half + 2, 8)],
        [(1, 9), (1, 8), (k, 12), (k - 1, 2)],
    ]
    return [(len(items), *items) for items in groups]


def solve_common(p: Params, a: str, b: str) -> int:
    @cache
    def longest(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        if a[i] == b[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    return longest(0, 0) * p["k"]


def best_apart(p: Params, nums: list[int]) -> int:
    """By trying every choice of positions without neighbours."""
    places = [part for size in range(len(nums) + 1) for part in combinations(range(len(nums)), size)]
    apart = [part for part in places if all(j - i > 1 for i, j in pairwise(part))]
    return max(sum(nums[i] - p["k"] for i in part) for part in apart)


FAMILIES = (
    Family(
        name="fewest_coins",
        difficulty="hard",
        signature="fewestCoins(self, n: int) -> int",
        statements=(
            (
                "Coins of $a, $b and $c may be used any number of times. "
                "Return the least number of coins with total n, or -1."
            ),
            "Given n, return how few coins of value $a, $b or $c add up to exactly n; return -1 if it is impossible.",
        ),
        draw=draw_coins,
        program=(
            "best = [0]",
            "for i in range(1, n + 1):",
            "    best.append(1 + min(best[i - x] if x <= i else 999 for x in ($a, $b, $c)))",
            "return best[n] if best[n] < 999 else -1",
        ),
        wrong_edits=((" if best[n] < 999 else -1", ""), ("($a, $b, $c)", "($a, $b)"), ("1 + min", "min")),
        inputs=lambda p, rng: make_number_inputs(rng, 30, 99, 0, 1, *coin_values(p), 2 * p["c"] + p["a"], 4 * p["c"]),
        solve=solve_coins,
    ),
    Family(
        name="coin_ways",
        difficulty="hard",
        signature="coinWays(self, n: int) -> int",
        statements=(
            (
                "Coins of $a, $b and $c may be used any number of times. "
                "Return in how many ways they total n; order does not matter."
            ),
            (
                "Given n, return the number of ways to pay exactly n "
                "with coins of value $a, $b and $c, regardless of order."
            ),
        ),
        draw=draw_coins,
        program=(
            "best = [1] + [0] * n",
            "for x in ($a, $b, $c):",
            "    for i in range(x, n + 1):",
            "        best[i] += best[i - x]",
            "return best[n]",
        ),
        wrong_edits=(
            ("[1] + [0] * n", "[0] + [0] * n"),
            ("($a, $b, $c)", "($a, $b)"),
            ("range(x, n + 1)", "range(x, n)"),
        ),
        inputs=lambda p, rng: make_number_inputs(
            rng, 30, 99, 0, *coin_values(p), p["a"] * p["b"] * 2, 2 * p["c"] + p["a"], sum(coin_values(p))
        ),
        solve=solve_coin_ways,
    ),
    Family(
        name="stair_ways",
        difficulty="hard",
        signature="climb(self, n: int) -> int",
        statements=(
            "You climb n stairs taking $a or $b at a time. Return the number of ways to reach exactly n, modulo $m.",
            "Return how many ordered sequences of $a and $b have the sum n, modulo $m.",
        ),
        draw=draw_steps,
        program=(
            "best = [1] + [0] * n",
            "for i in range(1, n + 1):",
            "    for x in ($a, $b):",
            "        if x <= i:",
            "            best[i] += best[i - x]",
            "return best[n] % $m",
        ),
        wrong_edits=((" % $m", ""), ("for x in ($a, $b)", "for x in ($a,)"), ("[1] + [0] * n", "[1] * (n + 1)")),
        inputs=lambda p, rng: make_number_inputs(
            rng, 10, 30, p["a"] + p["b"], p["b"], 2 * p["a"] + 3 * p["b"], 24 * (p["a"] * p["b"]), 0
        ),
        solve=solve_stairs,
    ),
    Family(
        name="longest_chain",
        difficulty="hard",
        statements=(
            "Read a line of integers. Print the length of the longest subsequence where each number is $rule.",
            (
                "From the integers on one line choose as many as possible, in order, so that each is $rule. "
                "Print how many."
            ),
        ),
        draw=lambda rng: draw_with_constant(rng, CHAIN_RULES, 2, 60),
        program=(
            "nums = list(map(int, input().split()))",
            "best = []",
            "for i in range(len(nums)):",
            "    x = nums[i]",
            "    best.append(1 + max([best[j] for j in range(i) if $test], default=0))",
            "print(max(best))",
        ),
        wrong_edits=(("max(best)", "best[-1]"), ("range(i)", "range(max(i - 1, 0), i)"), ("1 + max", "max")),
        inputs=make_chain_inputs,
        solve=lambda p, nums: max(len(chain) for chain in chains(p, nums)),
    ),
    Family(
        name="heaviest_chain",
        difficulty="hard",
        statements=(
            "Read a line of positive integers. Print the largest sum of a subsequence where each number is $rule.",
            (
                "From the positive integers on one line choose some, in order, so that each is $rule. "
                "Print their largest possible sum."
            ),
        ),
        draw=lambda rng: draw_with_constant(rng, CHAIN_RULES, 2, 60),
        program=(
            "nums = list(map(int, input().split()))",
            "best = []",
            "for i in range(len(nums)):",
            "    x = nums[i]",
            "    best.append(x + max([best[j] for j in range(i) if $test], default=0))",
            "print(max(best))",
        ),
        wrong_edits=(("max(best)", "best[-1]"), ("range(i)", "range(max(i - 1, 0), i)"), ("x + max", "1 + max")),
        inputs=lambda p, rng: [([x + 1 for x in nums],) for (nums,) in make_chain_inputs(p, rng)],
        solve=lambda p, nums: max(sum(chain) for chain in chains(p, nums)),
    ),
    Family(
        name="knapsack",
        difficulty="hard",
        statements=(
            (
                "The first line has n. Each of the next n lines has the weight and the value of an item. "
                "Print the largest value with total weight at most $k."
            ),
            (
                "Read n, then n lines with weight and value. "
                "A bag carries weight $k, each item can be taken once. Print the best total value."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(8, 99)},
        program=(
            "n = int(input())",
            "best = [0] * ($k + 1)",
            "for x in range(n):",
            "    a, b = map(int, input().split())",
            "    for i in range($k, a - 1, -1):",
            "        best[i] = max(best[i], best[i - a] + b)",
            "print(best[$k])",
        ),
        wrong_edits=(
            ("range($k, a - 1, -1)", "range(a, $k + 1)"),
            ("range($k, a - 1, -1)", "range($k, a, -1)"),
            ("max(best[i], best[i - a] + b)", "max(best[i], b)"),
        ),
        inputs=make_knapsack_inputs,
        solve=solve_knapsack,
    ),
    Family(
        name="common_subsequence",
        difficulty="hard",
        statements=(
            "Two words are given, one per line. Print the length of their longest common subsequence times $k.",
            (
                "Read two lines, each a word. "
                "Every letter of their longest common subsequence gives $k points. Print the points."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99)},
        program=(
            "a = input()",
            "b = input()",
            "best = [0] * (len(b) + 1)",
            "for x in a:",
            "    total = best[:]",
            "    for i in range(len(b)):",
            "        best[i + 1] = total[i] + 1 if x == b[i] else max(best[i], total[i + 1])",
            "print(best[-1] * $k)",
        ),
        wrong_edits=((" * $k", ""), ("total = best[:]", "total = best"), ("max(best[i], total[i + 1])", "0")),
        inputs=lambda p, rng: [
            ("abcde", "xaybzc"),
            ("".join(rng.choices("abc", k=8)), "".join(rng.choices("abc", k=6)) + "x"),
            ("a", "aaa"),
            ("aaab", "abaa"),
            ("abc", "xyz"),
            ("".join(rng.choices("ab", k=10)), "".join(rng.choices("abz", k=9))),
        ],
        solve=solve_common,
    ),
    Family(
        name="no_neighbours",
        difficulty="hard",
        signature="mostPoints(self, nums: list[int]) -> int",
        statements=(
            (
                "Choose any elements of nums (or none), no two next to each other. "
                "Each x chosen gives x - $k points. Return the most points."
            ),
            (
                "Each element of nums costs $k to take, neighbours cannot both be taken. "
                "Return the largest sum minus costs, at least 0."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99)},
        program=(
            "a = b = 0",
            "for x in nums:",
            "    a, b = b, max(b, a + x - $k)",
            "return b",
        ),
        wrong_edits=((" - $k", ""), ("max(b, a + x - $k)", "a + x - $k"), ("a + x", "b + x")),
        inputs=lambda p, rng: make_list_inputs(
            rng,
            0,
            2 * p["k"] + 9,
            [p["k"] + 4],
            [0],
            [p["k"] + 5, p["k"] + 1, p["k"] + 1, p["k"] + 5],
            draw_int_list(rng, 6, p["k"], p["k"] + 9),
            sizes=(5, 7, 9),
        ),
        solve=best_apart,
    ),
)
