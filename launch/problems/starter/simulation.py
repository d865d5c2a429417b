"""Problem families for simulation and greedy choice: moves, circles, boxes, boats and intervals."""

from __future__ import annotations

from random import Random

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import draw_word, make_list_inputs, make_number_inputs

Interval = tuple[int, int]


def draw_robot(rng: Random) -> Params:
    return {"k": rng.randint(2, 60), "m": rng.randint(2, 60)}


def make_move_inputs(p: Params, rng: Random) -> list[InputLines]:
    drawn = [draw_word(rng, size, "LRUD") for size in (6, 9, 14)]
    return [(s,) for s in [*drawn[:2], "L", "U", "RRD", "RRRUUL", drawn[2]]]


def solve_robot(p: Params, s: str) -> tuple[int, int]:
    return (s.count("R") - s.count("L")) * p["k"], (s.count("U") - s.count("D")) * p["m"]


def solve_circle(p: Params, n: int) -> int:
    """The recurrence for the survivor's place in a circle of ``n``."""
    place = 0
    for size in range(2, n + 1):
        place = (place + p["k"]) % size
    return place + 1


def solve_boxes(p: Params, nums: list[int]) -> int:
    boxes: list[list[int]] = []
    for x in nums:
        if boxes and sum(boxes[-1]) + x <= p["k"]:
            boxes[-1].append(x)
        else:
            boxes.append([x])
    return len(boxes)


def make_box_inputs(p: Params, rng: Random) -> list[InputLines]:
    k = p["k"]
    edges = [k], [k - 1, 1, k], [k // 2 + 1, k // 2, k // 2, k // 2 + 1], [1, k, 1, k, 1], [k - 1, 2, 1]
    return make_list_inputs(rng, 1, k, *edges, sizes=(6, 9, 12))


def solve_boats(p: Params, nums: list[int]) -> int:
    """The heaviest with the heaviest that still fits, one boat at a time."""
    left = sorted(nums)
    boats = 0
    while left:
        heavy = left.pop()
        partner = max((x for x in left if x + heavy <= p["k"]), default=None)
        if partner is not None:
            left.remove(partner)
        boats += 1
    return boats


def draw_intervals(rng: Random, count: int, longest: int) -> list[Interval]:
    starts = [rng.randint(0, 2 * count * longest) for _ in range(count)]
    return [(a, a + rng.randint(1, longest)) for a in starts]


def make_interval_inputs(p: Params, rng: Random) -> list[InputLines]:
    """Make groups of intervals with gaps around ``k``: touching, nested, equal, unordered, and a single interval."""
    k = p["k"]
    groups = [
        draw_intervals(rng, 5, k + 2),
        draw_intervals(rng, 7, k + 2),
        [(3, 9)],
        [(0, 2), (2 + k, 4 + k), (5 + 2 * k, 9 + 2 * k)],
        [(50 + k, 60 + k), (0, 50), (10, 20), (15, 40), (0, 50)],
        [(0, 40 + 2 * k), (1, 3), (3 + k, 5 + k)],
        [(0, 1), (k, k + 1), (2 * k + 2, 2 * k + 3), (1, 2)],
        draw_intervals(rng, 9, k + 2),
    ]
    return [(len(group), *group) for group in groups]


def solve_groups(p: Params, n: int, *items: Interval) -> int:
    """A group starts at each different ``a`` that no earlier interval reaches with a gap of at most ``k``."""
    return sum(not any(c < a <= d + p["k"] for c, d in items) for a in {a for a, _ in items})


def solve_covered(p: Params, n: int, *items: Interval) -> int:
    return p["k"] * len({x for a, b in items for x in range(a, b)})


def solve_meetings(p: Params, n: int, *items: Interval) -> int:
    """The most intervals after each end, from the last start to the first."""
    best = 0
    after: list[tuple[int, int]] = []
    for a, b in sorted(items, reverse=True):
        best = max([best, *[1 + count for start, count in after if start >= b + p["k"]], 1])
        after.append((a, best))
    return best


def solve_account(p: Params, nums: list[int]) -> tuple[int, int]:
    total, refused = p["k"], 0
    for x in nums:
        refused += total + x < 0
        total = total + x if total + x >= 0 else total
    return total, refused


FAMILIES = (
    Family(
        name="robot_walk",
        difficulty="medium",
        statements=(
            (
                "A robot starts at 0 0. Read a line of moves: "
                "L and R change x by $k, U and D change y by $m. Print the final x and y."
            ),
            (
                "Starting from x = 0, y = 0 follow the letters of a line: "
                "R adds $k to x, L subtracts it, U adds $m to y, D subtracts it. Print x and y."
            ),
        ),
        draw=draw_robot,
        program=(
            "s = input()",
            'a = s.count("R") - s.count("L")',
            'b = s.count("U") - s.count("D")',
            "print(a * $k, b * $m)",
        ),
        wrong_edits=(
            (" * $k, b * $m", ", b"),
            ('count("R") - s.count("L")', 'count("L") - s.count("R")'),
            ("a * $k, b * $m", "b * $k, a * $m"),
        ),
        inputs=make_move_inputs,
        solve=solve_robot,
    ),
    Family(
        name="robot_distance",
        difficulty="medium",
        statements=(
            (
                "A robot starts at 0 0. Read a line of moves: "
                "L and R change x by $k, U and D change y by $m. Print |x| + |y| at the end."
            ),
            (
                "Starting from x = 0, y = 0 follow the letters of a line: "
                "R adds $k to x, L subtracts it, U adds $m to y, D subtracts it. Print |x| + |y|."
            ),
        ),
        draw=draw_robot,
        program=(
            "s = input()",
            'a = s.count("R") - s.count("L")',
            'b = s.count("U") - s.count("D")',
            "print(abs(a * $k) + abs(b * $m))",
        ),
        wrong_edits=(
            ("abs(a * $k) + abs(b * $m)", "a * $k + b * $m"),
            ("abs(b * $m)", "abs(b)"),
            ("abs(a * $k) + abs(b * $m)", "abs(a * $k + b * $m)"),
        ),
        inputs=lambda p, rng: [("LLU",), *make_move_inputs(p, rng)],
        solve=lambda p, s: max(abs(x + y) if sign else abs(x - y) for x, y in [solve_robot(p, s)] for sign in (0, 1)),
    ),
    Family(
        name="last_in_circle",
        difficulty="medium",
        signature="lastOne(self, n: int) -> int",
        statements=(
            (
                "People 1 to n stand in a circle. "
                "Counting from person 1, every person number $k leaves until one is left. Return that one."
            ),
            "The numbers 1 to n form a circle. Counting around, number $k of each count is removed. Return the last.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 60)},
        program=(
            "nums = list(range(1, n + 1))",
            "i = 0",
            "while len(nums) > 1:",
            "    i = (i + $k - 1) % len(nums)",
            "    nums.pop(i)",
            "return nums[0]",
        ),
        wrong_edits=((" - 1) %", ") %"), ("range(1, n + 1)", "range(n)"), ("(i + $k - 1)", "($k - 1)")),
        inputs=lambda p, rng: make_number_inputs(rng, 5, 40, 1, 2, 3, 10, 7),
        solve=solve_circle,
    ),
    Family(
        name="boxes_in_order",
        difficulty="medium",
        statements=(
            (
                "Read a line of weights, each at most $k. Fill boxes in this order; "
                "open a new box when the total would be over $k. Print the number of boxes."
            ),
            (
                "Items are packed in the given order into boxes that hold weight $k each, a new box only when needed. "
                "Print how many boxes are used."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(5, 200)},
        program=(
            "nums = list(map(int, input().split()))",
            "best = 1",
            "total = 0",
            "for x in nums:",
            "    total += x",
            "    if total > $k:",
            "        best += 1",
            "        total = x",
            "print(best)",
        ),
        wrong_edits=(
            ("total > $k", "total >= $k"),
            ("        total = x", "        total = 0"),
            ("best = 1", "best = 0"),
        ),
        inputs=make_box_inputs,
        solve=solve_boxes,
    ),
    Family(
        name="boats_for_two",
        difficulty="hard",
        statements=(
            (
                "Read a line of weights, each at most $k. "
                "A boat carries one or two people with total weight at most $k. Print the least number of boats."
            ),
            (
                "People with the given weights use boats for at most two persons and weight $k. "
                "Print how few boats are enough."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(5, 200)},
        program=(
            "nums = list(map(int, input().split()))",
            "nums.sort()",
            "a, b = 0, len(nums) - 1",
            "best = 0",
            "while a <= b:",
            "    if nums[a] + nums[b] <= $k:",
            "        a += 1",
            "    b -= 1",
            "    best += 1",
            "print(best)",
        ),
        wrong_edits=(("nums.sort()\n", ""), ("<= $k", "< $k"), ("while a <= b", "while a < b")),
        inputs=make_box_inputs,
        solve=solve_boats,
    ),
    Family(
        name="most_meetings",
        difficulty="hard",
        statements=(
            (
                "Read n, then n lines with start and end of a meeting. "
                "A pause of at least $k is needed between two meetings. Print how many can be held."
            ),
            (
                "The first line has n, then come n intervals a b, one per line. "
                "Choose as many as possible with gaps of at least $k. Print how many."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 60)},
        program=(
            "n = int(input())",
            "nums = [list(map(int, input().split())) for i in range(n)]",
            "nums.sort(key=lambda x: x[1])",
            "best = 0",
            "total = -$k",
            "for a, b in nums:",
            "    if a >= total + $k:",
            "        best += 1",
            "        total = b",
            "print(best)",
        ),
        wrong_edits=(
            ("a >= total + $k", "a > total + $k"),
            ("a >= total + $k", "a >= total"),
            ("key=lambda x: x[1]", "key=lambda x: x[0]"),
        ),
        inputs=make_interval_inputs,
        solve=solve_meetings,
    ),
    Family(
        name="covered_length",
        difficulty="hard",
        statements=(
            (
                "Read n, then n lines with intervals a b. "
                "Print the total length covered by at least one of them, times $k."
            ),
            (
                "The first line has n, then come n lines with the ends a and b of a painted part. "
                "Each painted unit costs $k once. Print the cost."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 60)},
        program=(
            "n = int(input())",
            "nums = [list(map(int, input().split())) for i in range(n)]",
            "best = total = 0",
            "for a, b in sorted(nums):",
            "    best += max(b - max(a, total), 0)",
            "    total = max(total, b)",
            "print(best * $k)",
        ),
        wrong_edits=((" * $k", ""), ("max(a, total)", "a"), ("total = max(total, b)", "total = b")),
        inputs=make_interval_inputs,
        solve=solve_covered,
    ),
    Family(
        name="interval_groups",
        difficulty="hard",
        statements=(
            (
                "Read n, then n lines with intervals a b. "
                "Intervals with a gap of at most $k between them are joined. Print the number of groups."
            ),
            (
                "The first line has n, then come n intervals a b. "
                "Join two when the gap between them is at most $k. Print how many are left."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 60)},
        program=(
            "n = int(input())",
            "nums = [list(map(int, input().split())) for i in range(n)]",
            "best = 0",
            "total = -$k - 1",
            "for a, b in sorted(nums):",
            "    if a > total + $k:",
            "        best += 1",
            "    total = max(total, b)",
            "print(best)",
        ),
        wrong_edits=(
            ("a > total + $k", "a >= total + $k"),
            ("a > total + $k", "a > total"),
            ("total = max(total, b)", "total = b"),
        ),
        inputs=make_interval_inputs,
        solve=solve_groups,
    ),
    Family(
        name="account_with_refusals",
        difficulty="medium",
        statements=(
            (
                "An account starts with $k. Read a line of changes; "
                "one that would make it negative is refused. Print the final amount and the number refused."
            ),
            (
                "Start from $k and add the integers on one line in order, but skip any that would lead below 0. "
                "Print the result and how many were skipped."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(5, 400)},
        program=(
            "nums = list(map(int, input().split()))",
            "total = $k",
            "best = 0",
            "for x in nums:",
            "    if total + x < 0:",
            "        best += 1",
            "    else:",
            "        total += x",
            "print(total, best)",
        ),
        wrong_edits=(
            ("total = $k", "total = 0"),
            ("total + x < 0", "total + x <= 0"),
            ("    else:\n        total", "    total"),
        ),
        inputs=lambda p, rng: make_list_inputs(
            rng, -p["k"], p["k"], [-p["k"], 3], [-p["k"] - 1, 5, -3], [1], [-p["k"] + 1, -2, 1, -2]
        ),
        solve=solve_account,
    ),
)
