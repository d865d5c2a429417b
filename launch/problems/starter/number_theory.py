"""Problem families on divisors, primes, number bases, powers, bits and recurrences."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import (
    ANSWERS,
    COMPARISONS,
    compare,
    make_list_inputs,
    make_number_inputs,
    put_on_one_line,
)

GCD_OR_LCM: tuple[Params, ...] = (
    {"what": "greatest common divisor", "fn": "gcd", "extra": "", "result": "a"},
    {"what": "least common multiple", "fn": "lcm", "extra": "\nn = a * b", "result": "n // a"},
)
FACTOR_RESULTS: tuple[Params, ...] = (
    {"what": "all its prime factors from small to large with repeats", "result": "*nums"},
    {"what": "its largest prime factor", "result": "nums[-1]"},
    {"what": "the number of its prime factors with repeats", "result": "len(nums)"},
)
DIGIT_ENDS: tuple[Params, ...] = (
    {"end": "most significant", "order": "[::-1]"},
    {"end": "least significant", "order": ""},
)
PRIME_RESULTS: tuple[Params, ...] = ({"what": "number", "add": "1"}, {"what": "sum", "add": "i"})
BIT_OPERATIONS: tuple[Params, ...] = (
    {"name": "xor", "op": "^"},
    {"name": "and", "op": "&"},
    {"name": "or", "op": "|"},
)
SUBSET_TESTS: tuple[Params, ...] = (
    {"cmp": "==", "than": "exactly"},
    {"cmp": "<=", "than": "at most"},
    {"cmp": ">=", "than": "at least"},
)


def is_prime(n: int) -> bool:
    return n > 1 and math.factorial(n - 1) % n == n - 1


def prime_factors(n: int) -> list[int]:
    smallest = next((i for i in range(2, n + 1) if n % i == 0), None)
    return [smallest, *prime_factors(n // smallest)] if smallest else []


def solve_prime_factors(p: Params, n: int) -> Any:
    factors = prime_factors(n + p["k"])
    by_result: dict[str, Any] = {"*nums": factors, "nums[-1]": max(factors), "len(nums)": len(factors)}
    return by_result[p["result"]]


def solve_primes(p: Params, n: int) -> int:
    primes = [x for x in range(n + 1) if is_prime(x) and compare(p, x, p["k"])]
    return len(primes) if p["what"] == "number" else sum(primes)


def bit_pairs(a: int, b: int) -> list[tuple[int, int]]:
    return [(a // 2**i % 2, b // 2**i % 2) for i in range(12)]


def digits_in_base(n: int, base: int) -> list[int]:
    """Return the digits of ``n`` in ``base``, most significant first."""
    return [*digits_in_base(n // base, base), n % base] if n else []


def draw_divisible_but_not(rng: Random) -> Params:
    a = rng.randint(2, 12)
    b = rng.choice([x for x in range(2, 30) if a % x and x != a])
    return {"a": a, "b": b, **rng.choice(ANSWERS)}


def solve_subsets(p: Params, nums: list[int]) -> int:
    totals = [0]
    for x in nums:
        totals += [total + x for total in totals]
    by_test = {
        "==": totals.count,
        "<=": lambda k: sum(t <= k for t in totals),
        ">=": lambda k: sum(t >= k for t in totals),
    }
    return by_test[p["cmp"]](p["k"])


def make_subset_inputs(p: Params, rng: Random) -> list[InputLines]:
    k = p["k"]
    return make_list_inputs(rng, 1, k, [k], [1, k - 1, k, k], [k, -k, k], [k + 1, 1, 1], sizes=(4, 6, 5))


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
        name="gcd_of_list",
        difficulty="medium",
        statements=(
            "Read a line of positive integers. Print the greatest common divisor of all of them, multiplied by $k.",
            "Positive integers are given on one line. Find the greatest common divisor of them and print it times $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99)},
        program=(
            "nums = list(map(int, input().split()))",
            "a = 0",
            "for b in nums:",
            "    while b:",
            "        a, b = b, a % b",
            "print(a * $k)",
        ),
        wrong_edits=((" * $k", ""), ("while b", "if b"), ("a = 0", "a = 1")),
        inputs=lambda p, rng: [
            ([x * scale for x in nums],)
            for scale, (nums,) in zip(
                (6, 4, 15, 2, 7, 30), make_list_inputs(rng, 1, 30, [2, 4], [5], [1, 1, 1]), strict=False
            )
        ],
        solve=lambda p, nums: p["k"] * math.gcd(*nums),
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
        name="digits_in_base",
        difficulty="medium",
        statements=(
            "Read a positive integer n. Print its digits in base $k, $end first, separated by spaces.",
            (
                "Write the given positive integer in base $k: "
                "print the digits as numbers on one line, the $end digit first."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(DIGIT_ENDS)},
        program=(
            "n = int(input())",
            "nums = []",
            "while n > 0:",
            "    nums.append(n % $k)",
            "    n //= $k",
            "print(*nums$order)",
        ),
        wrong_edits=(("n % $k", "n // $k"), ("while n > 0", "while n >= $k"), ("*nums$order", "*nums$order[::-1]")),
        inputs=lambda p, rng: make_number_inputs(rng, 100, 99999, 1, p["k"], p["k"] - 1, p["k"] ** 2 + 1),
        solve=lambda p, n: digits_in_base(n, p["k"])[:: 1 if p["order"] else -1],
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
        name="prime_factors",
        difficulty="hard",
        statements=(
            "Read an integer n and add $k to it. Print $what.",
            "Take the number n + $k for the given integer n and print $what.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), **rng.choice(FACTOR_RESULTS)},
        program=(
            "n = int(input()) + $k",
            "nums = []",
            "i = 2",
            "while n > 1:",
            "    if n % i == 0:",
            "        nums.append(i)",
            "        n //= i",
            "    else:",
            "        i += 1",
            "print($result)",
        ),
        wrong_edits=((" + $k", ""), ("n //= i", "n //= i\n        i += 1"), ("while n > 1", "while i * i <= n")),
        inputs=lambda p, rng: [(n - p["k"],) for n in (180, rng.randint(100, 999), 128, 12, 210, 97, 75, 540)],
        solve=solve_prime_factors,
    ),
    Family(
        name="primes_up_to",
        difficulty="hard",
        statements=(
            "Read n. Print the $what of the primes from 2 to n that are $than $k.",
            "Given n, consider all primes up to and including n. Print the $what of those $than $k.",
        ),
        draw=lambda rng: {"k": rng.randint(5, 90), **rng.choice(PRIME_RESULTS), **rng.choice(COMPARISONS)},
        program=(
            "n = int(input())",
            "total = 0",
            "nums = [True] * (n + 1)",
            "for i in range(2, n + 1):",
            "    if nums[i]:",
            "        if i $cmp $k:",
            "            total += $add",
            "        for j in range(i * i, n + 1, i):",
            "            nums[j] = False",
            "print(total)",
        ),
        wrong_edits=(
            ("nums[j] = False", "nums[j] = True"),
            ("if i $cmp $k", "if i"),
            ("for i in range(2, n + 1)", "for i in range(2, n)"),
        ),
        inputs=lambda p, rng: make_number_inputs(rng, 2, 200, 2, 3, 97, 127, p["k"], p["k"] + 1),
        solve=solve_primes,
    ),
    Family(
        name="subsets_with_sum",
        difficulty="hard",
        signature="countSubsets(self, nums: list[int]) -> int",
        statements=(
            "Given a list nums, return the number of subsets (the empty one too) whose sum is $than $k.",
            "In how many ways can you choose some, none or all elements of nums so that their sum is $than $k?",
        ),
        draw=lambda rng: {"k": rng.randint(5, 60), **rng.choice(SUBSET_TESTS)},
        program=(
            "best = [0]",
            "for x in nums:",
            "    best += [total + x for total in best]",
            "return sum(total $cmp $k for total in best)",
        ),
        wrong_edits=(
            ("total + x for", "x for"),
            ("best += [", "best = ["),
            ("return sum(total", "return sum(not total"),
        ),
        inputs=make_subset_inputs,
        solve=solve_subsets,
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
