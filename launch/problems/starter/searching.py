"""Problem families on lists: windows, pairs, sorting by a key, subarrays and binary search."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, combinations
from random import Random

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import COMPARISONS, MIN_MAX, compare, draw_with_constant, make_list_inputs

SORT_KEYS: tuple[Params, ...] = (
    {"by": "remainder modulo $k", "key": "x % $k"},
    {"by": "distance to $k", "key": "abs(x - $k)"},
)
TIES: tuple[Params, ...] = ({"tie": "smaller", "sign": ""}, {"tie": "larger", "sign": "-"})
SIDES: tuple[Params, ...] = (
    {"side": "left", "slices": "nums[k:] + nums[:k]"},
    {"side": "right", "slices": "nums[-k:] + nums[:-k]"},
)
SUM_RULES: tuple[Params, ...] = (
    {"rule": "equal to", "test": "== $k"},
    {"rule": "less than", "test": "< $k"},
    {"rule": "divisible by", "test": "% $k == 0"},
)
DIVISIONS: tuple[Params, ...] = (
    {"name": "remainders after division by", "op": "%"},
    {"name": "quotients of the division by", "op": "//"},
)
BOUNDS: tuple[Params, ...] = ({"than": "at least", "cmp": "<"}, {"than": "greater than", "cmp": "<="})


def follows(rule: str, total: int, k: int) -> bool:
    """Return True if a sum satisfies the rule that was drawn from SUM_RULES."""
    return {"equal to": total == k, "less than": total < k, "divisible by": total // k * k == total}[rule]


def draw_sort(rng: Random) -> Params:
    return {**draw_with_constant(rng, SORT_KEYS, 3, 99), **rng.choice(TIES)}


def solve_sort(p: Params, nums: list[int]) -> list[int]:
    ranked = sorted(nums, reverse=p["tie"] == "larger")
    distance = p["by"].startswith("distance")
    return sorted(ranked, key=lambda x: max(x - p["k"], p["k"] - x) if distance else x - x // p["k"] * p["k"])


def make_sort_inputs(p: Params, rng: Random) -> list[InputLines]:
    k = p["k"]
    edges = [5], [k - 1, k, k + 1, 0], [k + 2, k - 2, 2 * k + 2, 2, k + 1], [2 * k, 0, k, k - 2, k + 2]
    return make_list_inputs(rng, 0, 2 * k, *edges, sizes=(6, 7, 5))


def make_inputs_of_k_or_more(p: Params, rng: Random, low: int, high: int) -> list[InputLines]:
    """Make lists of at least ``k`` integers: exactly ``k``, best window first or last, only negative sums."""
    k = p["k"]
    edges = [[9] * k + [1], [1] + [-9] * k, [-2] * k + [9] * k, [-3] * k + [7]]
    return make_list_inputs(rng, low, high, *edges, sizes=(k + 4, k + 6, k, k + 2))


def windows(nums: list[int], k: int) -> list[int]:
    """Return the sum of each window of ``k`` consecutive numbers."""
    totals = [0, *accumulate(nums)]
    return [b - a for a, b in zip(totals, totals[k:], strict=False)]


def draw_window_target(rng: Random) -> Params:
    k = rng.randint(2, 20)
    return {"k": k, "m": k * rng.randint(5, 20) + rng.randint(0, k - 1)}


def make_window_target_inputs(p: Params, rng: Random) -> list[InputLines]:
    k, m = p["k"], p["m"]
    exact = [m - k + 1] + [1] * (k - 1)
    edges = exact, [*exact, m], [m - k] + [1] * (k - 1), [m] * (k + 3)
    return make_list_inputs(rng, 0, 2 * m // k, *edges, sizes=(k + 4, k + 6, k + 1, k + 9))


def make_pair_inputs(p: Params, rng: Random) -> list[InputLines]:
    k = p["k"]
    half = [k // 2, k - k // 2]
    return make_list_inputs(
        rng, 0, k, [k], half + half, [k + 1, -1, 0, k // 2, k], [k, k, 2 * k, 0], [0, 0, k - 1], sizes=(6, 9, 7)
    )


def solve_subarrays(p: Params, nums: list[int]) -> int:
    size = len(nums)
    return sum(follows(p["rule"], sum(nums[i:j]), p["k"]) for i in range(size) for j in range(i + 1, size + 1))


def make_subarray_inputs(p: Params, rng: Random) -> list[InputLines]:
    k = p["k"]
    edges = [k], [0, k, 0], [1] * 4 + [k - 4, 4 - k, k], [k, -k, k, -k]
    return make_list_inputs(rng, 0, k // 2 + 1, *edges, sizes=(7, 9, 12))


def best_subarray(p: Params, nums: list[int]) -> int:
    parts = [nums[i:j] for i in range(len(nums)) for j in range(i + 1, len(nums) + 1)]
    return {"min": min, "max": max}[p["pick"]](sum(part) - p["k"] * len(part) for part in parts)


def make_inputs_around_k(p: Params, rng: Random) -> list[InputLines]:
    """Make lists with numbers on both sides of ``k``; in one all are above, in one all are below."""
    k = p["k"]
    edges = [k + 4], [k - 4], [k - 3, k - 1, k - 2], [k + 3, k + 1, k + 2], [k - 2, k + 5, k - 1, k + 5, k - 3]
    return make_list_inputs(rng, k - 9, k + 9, *edges, sizes=(8, 11, 6))


def make_sorted_inputs(p: Params, rng: Random) -> list[InputLines]:
    k = p["k"]
    edges = [k], [k - 1], [k + 1], [k - 1, k, k, k + 1], [0, k, k]
    return [(sorted(nums),) for (nums,) in make_list_inputs(rng, 0, 2 * k, *edges, sizes=(9, 12, 15))]


def make_repeated_inputs(p: Params, rng: Random) -> list[InputLines]:
    """Make lists with at least ``k`` distinct values, of which the smallest and the largest occur twice."""
    drawn = [rng.sample(range(-99, 99), p["k"] + extra) for extra in (1, 3, 0, 6, 4)]
    return [([*nums, min(nums), max(nums)],) for nums in drawn]


def solve_later(p: Params, nums: list[int]) -> list[int]:
    later = [[x for x in nums[i:] if x >= nums[i] + p["k"]] for i in range(len(nums))]
    return [found[0] if found else -1 for found in later]


FAMILIES = (
    Family(
        name="window_sum",
        difficulty="medium",
        statements=(
            "Read a line of at least $k integers. Print the $word sum of $k consecutive ones.",
            "Given integers on one line, print the $word total of any $k neighbouring numbers.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 40), **rng.choice(MIN_MAX)},
        program=(
            "nums = list(map(int, input().split()))",
            "n = len(nums)",
            "print($pick(sum(nums[i:i + $k]) for i in range(n - $k + 1)))",
        ),
        wrong_edits=((" - $k + 1", ""), ("n - $k + 1", "n - $k or 1"), ("$pick(sum", "sum(sum")),
        inputs=lambda p, rng: make_inputs_of_k_or_more(p, rng, -20, 20),
        solve=lambda p, nums: sorted(windows(nums, p["k"]))[0 if p["pick"] == "min" else -1],
    ),
    Family(
        name="windows_with_sum",
        difficulty="medium",
        statements=(
            (
                "Read a line of at least $k integers. "
                "Print how many groups of $k consecutive ones have a sum of at least $m."
            ),
            "Given integers on one line, count the places where $k neighbouring numbers have a total of at least $m.",
        ),
        draw=draw_window_target,
        program=(
            "nums = list(map(int, input().split()))",
            "n = len(nums)",
            "print(sum(sum(nums[i:i + $k]) >= $m for i in range(n - $k + 1)))",
        ),
        wrong_edits=((" + 1)))", ")))"), (">= $m", "> $m"), ("sum(sum(", "max(sum(")),
        inputs=make_window_target_inputs,
        solve=lambda p, nums: len([total for total in windows(nums, p["k"]) if total >= p["m"]]),
    ),
    Family(
        name="sorted_by_key",
        difficulty="medium",
        statements=(
            "Read a line of integers. Print them sorted by their $by; of equal ones the $tie number comes first.",
            "Sort the integers given on one line by $by and print them. In case of a tie the $tie number goes first.",
        ),
        draw=draw_sort,
        program=(
            "nums = list(map(int, input().split()))",
            "nums.sort(key=lambda x: ($key, ${sign}x))",
            "print(*nums)",
        ),
        wrong_edits=((", ${sign}x", ", -${sign}x"), ("key=lambda x: ($key, ${sign}x)", ""), ("($key,", "(-($key),")),
        inputs=make_sort_inputs,
        solve=solve_sort,
    ),
    Family(
        name="rotate_list",
        difficulty="medium",
        signature="rotate(self, nums: list[int]) -> list[int]",
        statements=(
            "Given a list nums, return it rotated by $k places to the $side.",
            (
                "Move every element of nums $k places to the $side, those that fall off come back at the other end. "
                "Return the list."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(3, 99), **rng.choice(SIDES)},
        program=("k = $k % len(nums)", "return $slices"),
        wrong_edits=(
            (" % len(nums)", ""),
            ("$k % len", "-$k % len"),
            ("$k %", "($k - 1) %"),
        ),
        inputs=lambda p, rng: (
            [(list(range(size)),) for size in (5, 7, 1, 2, 3)] + make_list_inputs(rng, -9, 9, sizes=(9, 11))
        ),
        solve=lambda p, nums: [
            nums[(i + (p["k"] if p["side"] == "left" else -p["k"])) % len(nums)] for i in range(len(nums))
        ],
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
        name="pairs_by_sum",
        difficulty="medium",
        signature="countPairs(self, nums: list[int]) -> int",
        statements=(
            "Given a list nums, return the number of pairs i < j for which nums[i] + nums[j] is $rule $k.",
            "Return how many pairs of elements of nums (at different positions) have a sum $rule $k.",
        ),
        draw=lambda rng: draw_with_constant(rng, SUM_RULES, 3, 99),
        program=(
            "total = 0",
            "for i in range(len(nums)):",
            "    for j in range(i):",
            "        if (nums[i] + nums[j]) $test:",
            "            total += 1",
            "return total",
        ),
        wrong_edits=(
            ("range(i)", "range(1, i)"),
            ("nums[i] + nums[j]", "nums[i] - nums[j]"),
            ("range(i)", "range(len(nums))"),
        ),
        inputs=make_pair_inputs,
        solve=lambda p, nums: len([1 for pair in combinations(nums, 2) if follows(p["rule"], sum(pair), p["k"])]),
    ),
    Family(
        name="pairs_by_difference",
        difficulty="medium",
        signature="countPairs(self, nums: list[int]) -> int",
        statements=(
            (
                "Given a list nums, return the number of pairs i < j for which "
                "nums[i] and nums[j] have an absolute difference $than $k."
            ),
            "Return how many pairs of elements of nums (at different positions) have an absolute difference $than $k.",
        ),
        draw=lambda rng: {"k": rng.randint(3, 99), **rng.choice(COMPARISONS)},
        program=(
            "total = 0",
            "for i in range(len(nums)):",
            "    for j in range(i):",
            "        if abs(nums[i] - nums[j]) $cmp $k:",
            "            total += 1",
            "return total",
        ),
        wrong_edits=(
            ("abs(nums[i] - nums[j])", "nums[i] - nums[j]"),
            ("range(i)", "range(len(nums))"),
            ("range(i)", "range(i - 1, i)"),
        ),
        inputs=lambda p, rng: make_list_inputs(
            rng,
            0,
            2 * p["k"],
            [3],
            [0, p["k"], 2 * p["k"]],
            [2 * p["k"], p["k"] - 1, 0],
            [7, 7, 7],
            sizes=(6, 9, 7),
        ),
        solve=lambda p, nums: len([1 for a, b in combinations(sorted(nums), 2) if compare(p, b - a, p["k"])]),
    ),
    Family(
        name="inversions",
        difficulty="hard",
        signature="countInversions(self, nums: list[int]) -> int",
        statements=(
            "Given a list nums, return the number of pairs i < j for which nums[i] is at least nums[j] + $k.",
            "Return how many pairs of elements of nums have the earlier one larger than the later one by $k or more.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99)},
        program=(
            "total = 0",
            "for i in range(len(nums)):",
            "    for j in range(i):",
            "        if nums[j] - nums[i] >= $k:",
            "            total += 1",
            "return total",
        ),
        wrong_edits=(
            (">= $k", "> $k"),
            ("nums[j] - nums[i]", "nums[i] - nums[j]"),
            ("nums[j] - nums[i]", "abs(nums[j] - nums[i])"),
        ),
        inputs=lambda p, rng: make_list_inputs(
            rng,
            0,
            3 * p["k"],
            [3],
            [2 * p["k"], p["k"], 0],
            [0, p["k"], 2 * p["k"]],
            [p["k"] - 1, 0, p["k"], 0],
            sizes=(7, 9, 11),
        ),
        solve=lambda p, nums: len([1 for a, b in combinations(nums, 2) if a >= b + p["k"]]),
    ),
    Family(
        name="subarrays_by_sum",
        difficulty="hard",
        statements=(
            "Read a line of integers. Print how many contiguous parts (at least one number each) have a sum $rule $k.",
            "Given integers on one line, count the non-empty contiguous parts whose sum is $rule $k.",
        ),
        draw=lambda rng: draw_with_constant(rng, (SUM_RULES[0], SUM_RULES[2]), 3, 99),
        program=(
            "nums = list(map(int, input().split()))",
            "best = 0",
            "for i in range(len(nums)):",
            "    total = 0",
            "    for x in nums[i:]:",
            "        total += x",
            "        if total $test:",
            "            best += 1",
            "print(best)",
        ),
        wrong_edits=(
            ("\n            best += 1", "\n            best += 1\n            break"),
            ("nums[i:]", "nums[i + 1:]"),
            ("nums[i:]", "nums[i:i + 2]"),
        ),
        inputs=make_subarray_inputs,
        solve=solve_subarrays,
    ),
    Family(
        name="best_subarray",
        difficulty="hard",
        signature="bestSum(self, nums: list[int]) -> int",
        statements=(
            "Subtract $k from every element of nums. Return the $word sum of a non-empty contiguous part.",
            (
                "Given a list nums, each x counts as x - $k. "
                "Return the $word total of a contiguous part with at least one element."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(MIN_MAX)},
        program=(
            "best = total = nums[0] - $k",
            "for x in nums[1:]:",
            "    total = $pick(total, 0) + x - $k",
            "    best = $pick(best, total)",
            "return best",
        ),
        wrong_edits=(
            ("$pick(total, 0)", "total"),
            ("best = total = nums[0] - $k", "best = total = 0"),
            ("return best", "return total"),
        ),
        inputs=make_inputs_around_k,
        solve=best_subarray,
    ),
    Family(
        name="first_in_sorted",
        difficulty="hard",
        signature="search(self, nums: list[int]) -> int",
        statements=(
            "The list nums is sorted. Return the first index whose value is $than $k, or len(nums) if there is none.",
            (
                "Given nums in ascending order, find by binary search the smallest i with nums[i] $than $k; "
                "return len(nums) if no such i exists."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(3, 400), **rng.choice(BOUNDS)},
        program=(
            "a, b = 0, len(nums)",
            "while a < b:",
            "    i = (a + b) // 2",
            "    if nums[i] $cmp $k:",
            "        a = i + 1",
            "    else:",
            "        b = i",
            "return a",
        ),
        wrong_edits=(
            ("b = 0, len(nums)", "b = 0, len(nums) - 1"),
            ("nums[i] $cmp $k", "nums[i] $cmp $k + 1"),
            ("return a", "return a - 1"),
        ),
        inputs=make_sorted_inputs,
        solve=lambda p, nums: len([x for x in nums if x < p["k"] + (p["cmp"] == "<=")]),
    ),
    Family(
        name="next_larger",
        difficulty="hard",
        statements=(
            (
                "Read a line of integers. "
                "For each number print the first later one that is larger by at least $k, or -1, all on one line."
            ),
            (
                "Given integers on one line, replace each x by the next number "
                "to its right that is at least x + $k (-1 if none) and print them."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99)},
        program=(
            "nums = list(map(int, input().split()))",
            "for i in range(len(nums)):",
            "    best = [x for x in nums[i:] if x >= nums[i] + $k]",
            "    nums[i] = best[0] if best else -1",
            "print(*nums)",
        ),
        wrong_edits=(("nums[i:]", "nums"), ("best[0]", "min(best)"), (">= nums[i] + $k", "> nums[i] + $k")),
        inputs=lambda p, rng: make_list_inputs(
            rng,
            0,
            3 * p["k"],
            [5],
            [0, 3 * p["k"], p["k"], 0],
            [0, p["k"] - 1, p["k"], 0, p["k"]],
            [p["k"] * 2, p["k"], 0],
            sizes=(7, 9, 8),
        ),
        solve=solve_later,
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
