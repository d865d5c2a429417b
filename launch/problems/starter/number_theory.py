"""Problem families on divisors, number bases, powers, bits and recurrences."""

from __future__ import annotations

import math
from random import Random

from launch.problems.starter.family import Family, Params
from launch.problems.starter.random_inputs import (
    ANSWERS,
    make_list_inputs,
    make_number_inputs,
    put_on_one_line,
)

GCD_OR_LCM: tuple[Params, ...] = (
    {"what": "greatest common divisor", "fn": "gcd", "extra": "", "result": "a"},
    {"what": "least common multiple", "fn": "lcm", "extra": "\nn = a * b", "result": "n // a"},
)
BIT_OPERATIONS: tuple[Params, ...] = (
    {"name": "xor", "op": "^"},
    {"name": "and", "op": "&"},
    {"name": "or", "op": "|"},
)


def bit_pairs(a: int, b: int) -> list[tuple[int, int]]:
    return [(a // 2**i % 2, b // 2**i % 2) for i in range(12)]


def digits_in_base(n: int, base: int) -> list[int]:
    """Return the digits of ``n`` in ``base``, most significant first."""
    return [*digits_in_base(n // base, base), n % base] if n else []


def draw_divisible_but_not(rng: Random) -> Params:
    a = rng.randint(2, 12)
    b = rng.choice([x for x in range(2, 30) if a % x and x != a])
    return {"a": a, "b": b, **rng.choice(ANSWERS)}


def solve_fibonacci_like(p: Params, n: int) -> int:
    terms = [p["a"], p["b"]]
    while len(terms) <= n:
        terms.append(terms[-1] * p["k"] + terms[-2])
    return terms[n]


def solve_affine(p: Params, n: int) -> int:
    k, m = p["k"], p["m"]
    return p["a"] * k**n + m * sum(k**i for i in range(n))


FAMILIES = (
    Family(
        name="gcd_or_lcm",
        difficulty="medium",
        statements=(
            "Read two positive integers from one line. Print their $what, multiplied by $k.",
            "Two positive integers are given on one line. Find the $what of them and print it times $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(GCD_OR_LCM)},
        program=(
            "a, b = map(int, input().split())$extra",
            "while b:",
            "    a, b = b, a % b",
            "print($result * $k)",
        ),
        wrong_edits=((" * $k", ""), ("while b", "if b"), ("while b:\n    a, b = b, a % b", "a = min(a, b)")),
        inputs=lambda p, rng: put_on_one_line(
            [(12, 18), (rng.randint(2, 60), 84), (7, 7), (1, 9), (35, 14), (27, 64), (100, 75)]
        ),
        solve=lambda p, pair: p["k"] * (math.gcd(*pair) if p["fn"] == "gcd" else math.lcm(*pair)),
    ),
    Family(
        name="divisible_but_not",
        difficulty="easy",
        statements=(
            'Read an integer n. Print "$yes" if n is divisible by $a and not by $b, otherwise print "$no".',
            'If the given integer is a multiple of $a and not a multiple of $b, print "$yes", else print "$no".',
        ),
        draw=draw_divisible_but_not,
        program=(
            "n = int(input())",
            "if n % $a == 0 and n % $b != 0:",
            '    print("$yes")',
            "else:",
            '    print("$no")',
        ),
        wrong_edits=((" and n % $b != 0", ""), ("n % $a == 0 and ", ""), ("n % $a == 0", "n % $a != 0")),
        inputs=lambda p, rng: make_number_inputs(
            rng,
            1,
            300,
            p["a"],
            p["a"] * p["b"],
            p["a"] * p["b"] + 1,
            p["b"] // 2 * p["a"],
            p["b"] // 3 * p["a"],
            p["b"] * (p["a"] + 1),
        ),
        solve=lambda p, n: p["yes"] if n in range(0, n + 1, p["a"]) and n not in range(0, n + 1, p["b"]) else p["no"],
    ),
    Family(
        name="modular_power",
        difficulty="easy",
        signature="power(self, n: int) -> int",
        statements=(
            "Given a non-negative integer n, return n to the power $k, modulo $m.",
            "Return the remainder of n to the power $k when divided by $m.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 20), "m": rng.randint(5, 999)},
        program=("return n ** $k % $m",),
        wrong_edits=((" % $m", ""), ("n ** $k", "n * $k"), ("% $m", "// $m")),
        inputs=lambda p, rng: make_number_inputs(rng, 0, 99, 0, 1, 2, p["m"] - 1, p["m"]),
        solve=lambda p, n: math.prod([n] * p["k"]) % p["m"],
    ),
    Family(
        name="bits_after_mask",
        difficulty="easy",
        signature="countBits(self, n: int) -> int",
        statements=(
            "Given a non-negative integer n, return the number of one bits in n $name $k.",
            "Compute the bitwise $name of n and $k and return how many ones its binary form has.",
        ),
        draw=lambda rng: {"k": rng.randint(5, 400), **rng.choice(BIT_OPERATIONS)},
        program=('return bin(n $op $k).count("1")',),
        wrong_edits=((" $op $k", ""), (".count", "[3:].count"), ("n $op", "n +")),
        inputs=lambda p, rng: make_number_inputs(rng, 0, 999, 0, p["k"], 1023, p["k"] ^ 1023),
        solve=lambda p, n: sum(
            {"^": a + b == 1, "&": a + b == 2, "|": a + b > 0}[p["op"]] for a, b in bit_pairs(n, p["k"])
        ),
    ),
    Family(
        name="digit_sum_in_base",
        difficulty="medium",
        statements=(
            "Read a positive integer n. Print the sum of its digits in base $k, multiplied by $m.",
            "Write the given positive integer in base $k, add up the digits and print the sum times $m.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "m": rng.randint(2, 99)},
        program=(
            "n = int(input())",
            "total = 0",
            "while n > 0:",
            "    total += n % $k",
            "    n //= $k",
            "print(total * $m)",
        ),
        wrong_edits=((" * $m", ""), ("while n > 0", "while n >= $k"), ("n % $k", "n // $k")),
        inputs=lambda p, rng: make_number_inputs(rng, 100, 99999, 1, p["k"], p["k"] - 1, 1000, 20, 31),
        solve=lambda p, n: p["m"] * sum(digits_in_base(n, p["k"])),
    ),
    Family(
        name="polynomial_value",
        difficulty="medium",
        signature="value(self, nums: list[int]) -> int",
        statements=(
            "The list nums has the digits of a number in base $k, most significant first. Return the number modulo $m.",
            (
                "Given nums, the coefficients of a polynomial from the "
                "highest power down, return its value at $k modulo $m."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(7, 99), "m": rng.randint(101, 999)},
        program=("total = 0", "for x in nums:", "    total = total * $k + x", "return total % $m"),
        wrong_edits=((" % $m", ""), (" * $k", ""), ("in nums", "in nums[::-1]")),
        inputs=lambda p, rng: make_list_inputs(rng, 0, p["k"] - 1, [0], [1], [1, 0, 0], sizes=(5, 8, 6)),
        solve=lambda p, nums: sum(x * p["k"] ** i for i, x in enumerate(reversed(nums))) % p["m"],
    ),
    Family(
        name="fibonacci_like",
        difficulty="medium",
        signature="term(self, n: int) -> int",
        statements=(
            "Let f(0) = $a, f(1) = $b and f(n) = $k * f(n - 1) + f(n - 2). Given n, return f(n).",
            (
                "A sequence starts with $a, $b; "
                "each next term is $k times the last one plus the one before. Return term n, counted from 0."
            ),
        ),
        draw=lambda rng: {"a": rng.randint(2, 20), "b": rng.randint(2, 20), "k": rng.randint(2, 9)},
        program=("a, b = $a, $b", "for i in range(n):", "    a, b = b, b * $k + a", "return a"),
        wrong_edits=(("range(n)", "range(n + 1)"), (" * $k", ""), ("b * $k + a", "b + a * $k")),
        inputs=lambda p, rng: make_number_inputs(rng, 5, 12, 0, 1, 2, 3, 20),
        solve=solve_fibonacci_like,
    ),
    Family(
        name="affine_recurrence",
        difficulty="medium",
        signature="term(self, n: int) -> int",
        statements=(
            "Let f(0) = $a and f(n) = $k * f(n - 1) + $m. Given n, return f(n).",
            (
                "A sequence starts with $a; each next term is $k times the last one plus $m. "
                "Return term n, counted from 0."
            ),
        ),
        draw=lambda rng: {"a": rng.randint(2, 20), "k": rng.randint(2, 9), "m": rng.randint(2, 20)},
        program=("a = $a", "for i in range(n):", "    a = a * $k + $m", "return a"),
        wrong_edits=(("range(n)", "range(n + 1)"), (" * $k", ""), (" + $m", "")),
        inputs=lambda p, rng: make_number_inputs(rng, 5, 12, 0, 1, 2, 3, 20),
        solve=solve_affine,
    ),
)
