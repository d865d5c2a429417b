"""Problem families with formulas and conditions on one or two integers."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import (
    ANSWERS,
    COMPARISONS,
    PLUS_MINUS,
    compare,
    draw_low_and_high,
    make_int_pair_inputs,
    make_number_inputs,
    put_on_one_line,
    signed,
)


def draw_two_divisors(rng: Random) -> Params:
    a = rng.randint(2, 12)
    b = rng.choice([x for x in range(2, 13) if x % a and a % x])
    return {"a": a, "b": b, **rng.choice(({"join": "and"}, {"join": "or"})), **rng.choice(ANSWERS)}


def make_two_divisor_inputs(p: Params, rng: Random) -> list[InputLines]:
    a, b = p["a"], p["b"]
    other = next(x for x in range(1, a * b) if x % a and x % b)
    both = math.lcm(a, b)
    return make_number_inputs(rng, 1, 300, a, b, both, both // 2, both // 3, other)


def solve_two_divisors(p: Params, n: int) -> str:
    multiple_of = {n - n % p["a"]: "a"}, {n - n % p["b"]: "b"}
    found = [n in table for table in multiple_of]
    return p["yes"] if (all(found) if p["join"] == "and" else any(found)) else p["no"]


def solve_steps(p: Params, n: int) -> int:
    if n == 0:
        return 0
    return 1 + solve_steps(p, n // p["k"] if n % p["k"] == 0 else n - 1)


def solve_digits(p: Params, n: int) -> int:
    digits = []
    while n:
        n, digit = divmod(n, 10)
        digits.append(digit)
    by_name: dict[str, Any] = {"sum": sum, "max": max, "min": min}
    return p["k"] * by_name[p["fn"]](digits)


DIGIT_CHOICES: tuple[Params, ...] = (
    {"fn": "sum", "what": "sum of the digits"},
    {"fn": "max", "what": "largest digit"},
    {"fn": "min", "what": "smallest digit"},
)

FAMILIES = (
    Family(
        name="sum_plus_constant",
        difficulty="easy",
        statements=(
            "Read two integers a and b from one line. Print a + b $verb $k.",
            "The input has two integers on one line. Print their sum $verb $k.",
            "Two integers are given on one line. Add them and print the result $verb $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(PLUS_MINUS)},
        program=("a, b = map(int, input().split())", "print(a + b $op $k)"),
        wrong_edits=((" $op $k", ""), ("a + b", "a - b"), ("$op $k", "$op $k + 1")),
        inputs=lambda p, rng: put_on_one_line(make_int_pair_inputs(rng, -100, 100, (0, 0), (-7, 5))),
        solve=lambda p, pair: sum(pair) + signed(p, p["k"]),
    ),
    Family(
        name="linear_combination",
        difficulty="easy",
        statements=(
            "Read two integers a and b from one line. Print $k times a $verb $m times b.",
            (
                "Two integers a and b are given on one line. "
                "Multiply a by $k and b by $m. Print the first product $verb the second."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "m": rng.randint(2, 99), **rng.choice(PLUS_MINUS)},
        program=("a, b = map(int, input().split())", "print(a * $k $op b * $m)"),
        wrong_edits=((" * $m", ""), ("a * $k", "a"), ("a * $k $op b", "b * $k $op a - 1")),
        inputs=lambda p, rng: put_on_one_line(make_int_pair_inputs(rng, -100, 100, (0, 1), (3, 0), (-4, -9))),
        solve=lambda p, pair: p["k"] * pair[0] + signed(p, p["m"]) * pair[1],
    ),
    Family(
        name="scaled_difference",
        difficulty="easy",
        statements=(
            "Read two integers a and b from one line. Print $k times a - b, $verb $m.",
            "Two integers a and b are given on one line. Multiply a - b by $k and print the result $verb $m.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "m": rng.randint(2, 99), **rng.choice(PLUS_MINUS)},
        program=("a, b = map(int, input().split())", "print((a - b) * $k $op $m)"),
        wrong_edits=(("(a - b)", "(b - a)"), (" $op $m", ""), ("(a - b) *", "a - b *")),
        inputs=lambda p, rng: put_on_one_line(make_int_pair_inputs(rng, -100, 100, (0, 0), (5, 9))),
        solve=lambda p, pair: p["k"] * pair[0] - p["k"] * pair[1] + signed(p, p["m"]),
    ),
    Family(
        name="quotient_and_rest",
        difficulty="easy",
        statements=(
            "Read an integer n. Print the $one and the $two of n divided by $k, on one line.",
            "Given n, divide it by $k as integers. Print the $one, then the $two, separated by a space.",
        ),
        draw=lambda rng: {
            "k": rng.randint(2, 400),
            **rng.choice(
                (
                    {"one": "quotient", "two": "remainder", "a": "//", "b": "%"},
                    {"one": "remainder", "two": "quotient", "a": "%", "b": "//"},
                )
            ),
        },
        program=("n = int(input())", "print(n $a $k, n $b $k)"),
        wrong_edits=(("$a $k, n $b", "$b $k, n $a"), (", n $b $k", ""), ("n $a $k", "n - $k")),
        inputs=lambda p, rng: make_number_inputs(rng, 0, 3000, p["k"], p["k"] - 1, 0, p["k"] * 3 + 1),
        solve=lambda p, n: divmod(n, p["k"])[:: 1 if p["one"] == "quotient" else -1],
    ),
    Family(
        name="compare_with_constant",
        difficulty="easy",
        statements=(
            'Read an integer n. Print "$yes" if n is $than $k, otherwise print "$no".',
            'You get one integer. If it is $than $k print "$yes", else print "$no".',
        ),
        draw=lambda rng: {"k": rng.randint(2, 400), **rng.choice(COMPARISONS), **rng.choice(ANSWERS)},
        program=("n = int(input())", 'print("$yes" if n $cmp $k else "$no")'),
        wrong_edits=(("n $cmp $k", "not n $cmp $k"), ("n $cmp", "n =="), ("n $cmp", "n !=")),
        inputs=lambda p, rng: make_number_inputs(rng, -400, 900, p["k"] - 1, p["k"], p["k"] + 1, -p["k"]),
        solve=lambda p, n: p["yes"] if compare(p, n, p["k"]) else p["no"],
    ),
    Family(
        name="clamp",
        difficulty="easy",
        signature="clamp(self, n: int) -> int",
        statements=(
            "Given an integer n, return n limited to the range from $low to $high.",
            "Return n, but $low if n is less than $low and $high if n is greater than $high.",
        ),
        draw=draw_low_and_high,
        program=("return max($low, min(n, $high))",),
        wrong_edits=(("max($low, min(n, $high))", "min(n, $high)"), ("min(n, $high)", "n"), ("$high", "$high - 1")),
        inputs=lambda p, rng: make_number_inputs(
            rng, p["low"] - 9, p["high"] + 9, p["low"] - 1, p["low"], p["high"], p["high"] + 1, p["low"] + 2
        ),
        solve=lambda p, n: p["low"] if n < p["low"] else p["high"] if n > p["high"] else n,
    ),
    Family(
        name="distance_to_constant",
        difficulty="easy",
        signature="distance(self, n: int) -> int",
        statements=(
            "Given an integer n, return the distance between n and $k, multiplied by $m.",
            "Return $m times the absolute difference of n and $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "m": rng.randint(2, 99)},
        program=("return abs(n - $k) * $m",),
        wrong_edits=((" * $m", ""), ("abs(n - $k)", "(n - $k)"), ("n - $k", "n + $k")),
        inputs=lambda p, rng: make_number_inputs(rng, -300, 300, p["k"], p["k"] - 1, 0, -p["k"]),
        solve=lambda p, n: p["m"] * (max(n, p["k"]) - min(n, p["k"])),
    ),
    Family(
        name="divisible_by_two_numbers",
        difficulty="easy",
        statements=(
            'Read an integer n. Print "$yes" if n is divisible by $a $join by $b, otherwise print "$no".',
            'If the given integer is a multiple of $a $join a multiple of $b, print "$yes", else print "$no".',
        ),
        draw=draw_two_divisors,
        program=(
            "n = int(input())",
            "if n % $a == 0 $join n % $b == 0:",
            '    print("$yes")',
            "else:",
            '    print("$no")',
        ),
        wrong_edits=((" $join n % $b == 0", ""), ("n % $a == 0 $join ", ""), ("n % $a == 0", "n % $a != 0")),
        inputs=make_two_divisor_inputs,
        solve=solve_two_divisors,
    ),
    Family(
        name="boxes_needed",
        difficulty="easy",
        signature="boxCost(self, n: int) -> int",
        statements=(
            (
                "A box holds $k items and costs $m. "
                "Given the number of items n, return the cost of the boxes needed for all."
            ),
            "We pack n items in boxes of $k, and each box costs $m. Return the total cost.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 60), "m": rng.randint(2, 99)},
        program=("return -(-n // $k) * $m",),
        wrong_edits=(("-(-n // $k)", "n // $k"), ("-(-n // $k)", "(n // $k + 1)"), (" * $m", "")),
        inputs=lambda p, rng: make_number_inputs(rng, 1, 999, 1, p["k"], p["k"] + 1, p["k"] * 4),
        solve=lambda p, n: p["m"] * len(range(0, n, p["k"])),
    ),
    Family(
        name="digits_of_number",
        difficulty="medium",
        statements=(
            "Read a positive integer. Print the $what of it, multiplied by $k.",
            "Given a positive integer on one line, find the $what and print it times $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(DIGIT_CHOICES)},
        program=("s = input()", "print($fn([int(x) for x in s]) * $k)"),
        wrong_edits=((" * $k", ""), (" * $k", " + $k"), ("for x in s]", "for x in s[:-1] or s]")),
        inputs=lambda p, rng: make_number_inputs(rng, 1000, 99999, 7, 10, 129, 1230, 22305),
        solve=solve_digits,
    ),
)
