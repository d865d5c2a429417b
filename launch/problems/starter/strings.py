"""Problem families on text: slices, counts, words and ciphers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import LETTERS, draw_with_constant, draw_word, signed

PARTS: tuple[Params, ...] = (
    {"part": "the first $k characters", "slice": ":$k"},
    {"part": "the last $k characters", "slice": "-$k:"},
    {"part": "all but the first $k characters", "slice": "$k:"},
    {"part": "all but the last $k characters", "slice": ":-$k"},
)
DIRECTIONS: tuple[Params, ...] = ({"way": "forward", "op": "+"}, {"way": "back", "op": "-"})
SEPARATORS = "-+*/:;=_"


def make_word_inputs(
    rng: Random, *edges: str, letters: str = LETTERS, sizes: Sequence[int] = (8, 12, 6, 15, 20)
) -> list[InputLines]:
    """Make inputs of one word: a random one, the edge cases, then random ones; ``sizes`` are of the random words."""
    drawn = [draw_word(rng, size, letters) for size in sizes]
    return [(s,) for s in [*drawn[:1], *edges, *drawn[1:]]]


def solve_part(p: Params, s: str) -> str:
    k = p["k"]
    cut = len(s) - k
    first = {":": s[:k], "-": s[cut:], "k": s[k:]}
    if p["part"].startswith("the"):
        return first[":"] if "first" in p["part"] else first["-"]
    return first["k"] if "first" in p["part"] else s[:cut]


def shifted(s: str, by: int) -> str:
    return s.translate(str.maketrans(LETTERS, LETTERS[by % 26 :] + LETTERS[: by % 26]))


def make_sentence_inputs(p: Params, rng: Random) -> list[InputLines]:
    """Make lines of words with lengths around ``k``."""
    k = p["k"]
    mixed = [[draw_word(rng, max(1, k + rng.randint(-2, 2))) for _ in range(count)] for count in (6, 8, 5, 7)]
    edges = [draw_word(rng, k)], ["b" * (k + 1), "c" * k, "a" * (k + 1)], ["z" * (k - 1), "a" * k, "c" * (k - 1)]
    return [(" ".join(line),) for line in [*mixed[:2], *edges, *mixed[2:]]]


def make_initial_inputs(p: Params, rng: Random) -> list[InputLines]:
    return [
        (" ".join(p["c"] + x[1:] if rng.random() < 0.5 else x for x in line.split()),)
        for (line,) in make_sentence_inputs(p, rng)
    ] + [(f"{p['c'] * (p['k'] + 1)} {p['c']} {'zy'[p['c'] == 'z'] * (p['k'] + 1)}",)]


FAMILIES = (
    Family(
        name="part_of_text",
        difficulty="easy",
        statements=(
            "Read a line with one word of more than $k letters. Print $part of it.",
            "Given a word longer than $k characters, print $part.",
        ),
        draw=lambda rng: draw_with_constant(rng, PARTS, 2, 30),
        program=("s = input()", "print(s[$slice])"),
        wrong_edits=(("[$slice]", "[$slice][1:]"), ("[$slice]", ""), ("[$slice]", "[$k]")),
        inputs=lambda p, rng: make_word_inputs(
            rng, draw_word(rng, p["k"] + 1), sizes=[p["k"] + extra for extra in (5, 3, 9, 2)]
        ),
        solve=solve_part,
    ),
    Family(
        name="repeat_text",
        difficulty="easy",
        statements=(
            'Read a word. Print it $k times on one line with "$sep" between the copies.',
            'Given a word, print $k copies of it joined by "$sep".',
        ),
        draw=lambda rng: {"k": rng.randint(2, 30), "sep": rng.choice(SEPARATORS)},
        program=("s = input()", 'print("$sep".join([s] * $k))'),
        wrong_edits=(
            ("* $k", "* ($k - 1)"),
            ('print("$sep".join([s] * $k))', "print(s * $k)"),
            ('"$sep".join([s] * $k)', '(s + "$sep") * $k'),
        ),
        inputs=lambda p, rng: make_word_inputs(rng, "a", sizes=(4, 2, 6, 3)),
        solve=lambda p, s: (s + p["sep"]) * (p["k"] - 1) + s,
    ),
    Family(
        name="score_of_letter",
        difficulty="easy",
        statements=(
            'Read a word. Every letter "$c" in it gives $k points. Print the points.',
            'Given a word, count the letters "$c" in it and print the count times $k.',
        ),
        draw=lambda rng: {"k": rng.randint(2, 99), "c": rng.choice(LETTERS)},
        program=("s = input()", 'print(s.count("$c") * $k)'),
        wrong_edits=((" * $k", ""), ('s.count("$c")', "len(s)"), ('s.count("$c")', '("$c" in s)')),
        inputs=lambda p, rng: (
            [(s + p["c"] * rng.randint(1, 4),) for (s,) in make_word_inputs(rng, p["c"])]
            + [(x,) for x in ("xyz", p["c"]) if x != p["c"] and p["c"] not in x]
        ),
        solve=lambda p, s: p["k"] * len([x for x in s if x == p["c"]]),
    ),
    Family(
        name="reversed_caesar_shift",
        difficulty="medium",
        statements=(
            (
                "Read a word of small letters. Move each letter $k places $way in "
                "the alphabet, going around at the end, and print the result reversed."
            ),
            (
                "Given a word of letters a to z, shift every letter $way by $k "
                "in the cyclic alphabet and print the new word from right to left."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(1, 25), **rng.choice(DIRECTIONS)},
        program=(
            "s = input()",
            'best = ""',
            "for x in s:",
            "    best += chr((ord(x) - 97 $op $k) % 26 + 97)",
            "print(best[::-1])",
        ),
        wrong_edits=((" % 26", ""), ("[::-1]", ""), (" $op $k", "")),
        inputs=lambda p, rng: make_word_inputs(rng, "a", "z", "az", LETTERS),
        solve=lambda p, s: shifted("".join(reversed(s)), signed(p, p["k"])),
    ),
    Family(
        name="words_with_initial",
        difficulty="medium",
        statements=(
            'Read a line of words. Print how many words start with "$c" and have more than $k letters.',
            'Words are given on one line. Count those that have more than $k letters and start with "$c".',
        ),
        draw=lambda rng: {"k": rng.randint(2, 30), "c": rng.choice(LETTERS)},
        program=(
            "s = input().split()",
            'best = [x for x in s if len(x) > $k and x[0] == "$c"]',
            "print(len(best))",
        ),
        wrong_edits=((' and x[0] == "$c"', ""), ("len(x) > $k and ", ""), ("len(x) >", "len(x) <")),
        inputs=make_initial_inputs,
        solve=lambda p, line: sum(x.startswith(p["c"]) for x in line.split() if len(x) > p["k"]),
    ),
)
