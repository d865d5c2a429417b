"""Problem families on text: slices, counts, words, ciphers, brackets and runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from random import Random
from typing import Any

from launch.problems.starter.family import Family, InputLines, Params
from launch.problems.starter.random_inputs import ANSWERS, LETTERS, draw_with_constant, draw_word, signed

PARTS: tuple[Params, ...] = (
    {"part": "the first $k characters", "slice": ":$k"},
    {"part": "the last $k characters", "slice": "-$k:"},
    {"part": "all but the first $k characters", "slice": "$k:"},
    {"part": "all but the last $k characters", "slice": ":-$k"},
)
DIRECTIONS: tuple[Params, ...] = ({"way": "forward", "op": "+"}, {"way": "back", "op": "-"})
SEPARATORS = "-+*/:;=_"
WORD_RESULTS: tuple[Params, ...] = (
    {"what": "how many words have", "result": "len(best)"},
    {"what": "in alphabetical order the words that have", "result": "*sorted(best)"},
    {"what": "in reversed order the words that have", "result": "*best[::-1]"},
)
LENGTH_TESTS: tuple[Params, ...] = ({"more": "more", "cmp": ">"}, {"more": "fewer", "cmp": "<"})
RUN_FORMS: tuple[Params, ...] = (
    {"form": "the letter and then the length", "pair": "x + str(n)"},
    {"form": "the length and then the letter", "pair": "str(n) + x"},
)
BRACKETS = ("()", "[]", "{}", "<>")
WINDOW_RULES: tuple[Params, ...] = (
    {"rule": "has at most $k different letters", "test": "len(set(s[j:i + 1])) > $k"},
    {"rule": "has no letter more than $k times", "test": "s[j:i + 1].count(s[i]) > $k"},
)


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


def solve_long_words(p: Params, line: str) -> Any:
    kept = [x for x in line.split() if (len(x) > p["k"] if p["cmp"] == ">" else len(x) < p["k"])]
    return {"len(best)": len(kept), "*sorted(best)": sorted(kept), "*best[::-1]": list(reversed(kept))}[p["result"]]


def make_initial_inputs(p: Params, rng: Random) -> list[InputLines]:
    return [
        (" ".join(p["c"] + x[1:] if rng.random() < 0.5 else x for x in line.split()),)
        for (line,) in make_sentence_inputs(p, rng)
    ] + [(f"{p['c'] * (p['k'] + 1)} {p['c']} {'zy'[p['c'] == 'z'] * (p['k'] + 1)}",)]


def make_run_inputs(p: Params, rng: Random) -> list[InputLines]:
    """Make texts of runs shorter than, equal to and longer than ``k``, each with at least one run of ``k`` or more."""
    k = p["k"]
    texts = ["".join(rng.choice("abcd") * rng.randint(1, k + 2) for _ in range(count)) for count in (4, 6, 8)]
    texts = [text + "e" * k for text in texts]
    return [(s,) for s in [*texts, "f" * k, "a" * (k - 1) + "b" * (k + 1) + "a" * k, "b" * k + "c" * (k - 1)]]


def solve_runs(p: Params, s: str) -> str:
    runs = [(letter, len(list(group))) for letter, group in groupby(s)]
    letter_first = p["pair"].startswith("x")
    return p["sep"].join(f"{x}{n}" if letter_first else f"{n}{x}" for x, n in runs if n >= p["k"])


def draw_brackets(rng: Random) -> Params:
    one, two = rng.sample(BRACKETS, 2)
    return {"one": one, "two": two, **rng.choice(ANSWERS)}


def make_bracket_inputs(p: Params) -> list[InputLines]:
    templates = "()[()]", "(()", "([)]", "", "())(", "[[]]()", "](", "([]())", "(])"
    table = str.maketrans("()[]", p["one"] + p["two"])
    return [(s.translate(table),) for s in templates if s]


def reduced(s: str, *pairs: str) -> str:
    """Delete the given pairs from ``s`` repeatedly, until it contains none of them."""
    smaller = s
    for pair in pairs:
        smaller = smaller.replace(pair, "")
    return s if smaller == s else reduced(smaller, *pairs)


def depth(s: str) -> int:
    """Return the nesting depth of round brackets: the largest surplus of opening brackets in a prefix."""
    return max((s[:i].count("(") - s[:i].count(")") for i in range(len(s) + 1)), default=0)


def make_nested_bracket_inputs(p: Params) -> list[InputLines]:
    k = p["k"]
    deep = "(" * k + ")" * k
    texts = "()" * 3, deep, "(" + deep + ")", "()" + deep, "(()", ")(", "(" + "()" * k + ")", deep + ")"
    return [(s,) for s in texts]


def solve_window(p: Params, s: str) -> int:
    def allowed(part: str) -> bool:
        counts = Counter(part).values()
        return len(counts) <= p["k"] if "different" in p["rule"] else max(counts) <= p["k"]

    return max(j - i for i in range(len(s)) for j in range(i + 1, len(s) + 1) if allowed(s[i:j]))


def make_window_inputs(p: Params, rng: Random) -> list[InputLines]:
    few = LETTERS[: p["k"] + 3] if "different" in p["rule"] else "abc"
    size = 3 * p["k"] + 8
    return make_word_inputs(
        rng, "a", "ab" * (p["k"] + 2), "a" * (p["k"] + 2), letters=few, sizes=(size, size + 5, size, size + 9)
    )


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
        wrong_edits=(("[$slice]", ""), ("[$slice]", "[$k]"), ("[$slice]", "[$slice][1:]")),
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
            ('print("$sep".join([s] * $k))', "print(s * $k)"),
            ("* $k", "* ($k - 1)"),
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
        name="caesar_shift",
        difficulty="medium",
        statements=(
            (
                "Read a word of small letters. "
                "Move each letter $k places $way in the alphabet, going around at the end, and print the result."
            ),
            (
                "Given a word of letters a to z, shift every letter $way "
                "by $k in the cyclic alphabet and print the new word."
            ),
        ),
        draw=lambda rng: {"k": rng.randint(1, 25), **rng.choice(DIRECTIONS)},
        program=(
            "s = input()",
            'best = ""',
            "for x in s:",
            "    best += chr((ord(x) - 97 $op $k) % 26 + 97)",
            "print(best)",
        ),
        wrong_edits=((" % 26", ""), (" $op $k", " $op $k + 1"), (" $op $k", "")),
        inputs=lambda p, rng: make_word_inputs(rng, "a", "z", "az", LETTERS),
        solve=lambda p, s: shifted(s, signed(p, p["k"])),
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
        name="words_by_length",
        difficulty="medium",
        statements=(
            "Read a line of words. Print $what $more than $k letters.",
            "Words are given on one line. Keep those with $more than $k letters. Print $what this.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 30), **rng.choice(WORD_RESULTS), **rng.choice(LENGTH_TESTS)},
        program=("s = input().split()", "best = [x for x in s if len(x) $cmp $k]", "print($result)"),
        wrong_edits=(("$cmp $k", "$cmp= $k"), (" if len(x) $cmp $k", ""), ("len(x) $cmp $k", "len(x) == $k")),
        inputs=make_sentence_inputs,
        solve=solve_long_words,
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
        wrong_edits=(("len(x) > $k and ", ""), (' and x[0] == "$c"', ""), ("len(x) >", "len(x) <")),
        inputs=make_initial_inputs,
        solve=lambda p, line: sum(x.startswith(p["c"]) for x in line.split() if len(x) > p["k"]),
    ),
    Family(
        name="pieces_of_text",
        difficulty="medium",
        statements=(
            (
                "Read a word. Cut it from the left into pieces of $k letters "
                '(the last may be shorter) and print them joined by "$sep".'
            ),
            'Given a word, insert "$sep" after every $k letters, but not at the end, and print the result.',
        ),
        draw=lambda rng: {"k": rng.randint(2, 30), "sep": rng.choice(SEPARATORS)},
        program=("s = input()", 'print("$sep".join(s[i:i + $k] for i in range(0, len(s), $k)))'),
        wrong_edits=(("len(s), $k", "len(s) - $k + 1, $k"), ("i:i + $k", "i:$k"), ('"$sep".join', '"".join')),
        inputs=lambda p, rng: make_word_inputs(
            rng, "a", draw_word(rng, p["k"]), draw_word(rng, 2 * p["k"]), sizes=[p["k"] * n + 1 for n in (2, 3, 1, 4)]
        ),
        solve=lambda p, s: "".join(p["sep"] * (i > 0 and i % p["k"] == 0) + x for i, x in enumerate(s)),
    ),
    Family(
        name="letter_runs",
        difficulty="hard",
        statements=(
            (
                "Read a word. For every run of at least $k equal letters in a row give $form. "
                'Print these joined by "$sep".'
            ),
            (
                "Split the given word into runs of equal letters. "
                'For each run of length $k or more write $form; join them by "$sep".'
            ),
        ),
        draw=lambda rng: {"k": rng.randint(2, 12), "sep": rng.choice(SEPARATORS), **rng.choice(RUN_FORMS)},
        program=(
            "s = input()",
            "best = []",
            "n = 0",
            "for i in range(len(s)):",
            "    n += 1",
            "    x = s[i]",
            "    if s[i + 1:i + 2] != x:",
            "        if n >= $k:",
            "            best.append($pair)",
            "        n = 0",
            'print("$sep".join(best))',
        ),
        wrong_edits=(("n >= $k", "n > $k"), ("\n        n = 0", ""), ("n >= $k", "n > 0")),
        inputs=make_run_inputs,
        solve=solve_runs,
    ),
    Family(
        name="two_kinds_of_brackets",
        difficulty="hard",
        statements=(
            (
                "Read a line of brackets $one and $two. "
                'Print "$yes" if they are properly nested and closed, otherwise "$no".'
            ),
            'The input is a line made of $one and $two. If the brackets are balanced print "$yes", else print "$no".',
            'Check a line of brackets, $one and $two: "$yes" if every one is matched in the right order, else "$no".',
        ),
        draw=draw_brackets,
        program=(
            "s = input()",
            "best = []",
            "for x in s:",
            '    if best and best[-1] + x in ("$one", "$two"):',
            "        best.pop()",
            "    else:",
            "        best.append(x)",
            'print("$no" if best else "$yes")',
        ),
        wrong_edits=(
            (' in ("$one", "$two")', ' == "$one"'),
            ('"$no" if best', '"$no" if len(s) % 2'),
            ('"$no" if best else "$yes"', '"$yes" if best else "$no"'),
        ),
        inputs=lambda p, rng: make_bracket_inputs(p),
        solve=lambda p, s: p["no"] if reduced(s, p["one"], p["two"]) else p["yes"],
    ),
    Family(
        name="brackets_of_limited_depth",
        difficulty="hard",
        statements=(
            (
                "Read a line of brackets ( and ). "
                'Print "$yes" if they are balanced and never nested deeper than $k, otherwise "$no".'
            ),
            'Given a line of ( and ), print "$yes" if it is balanced with depth at most $k, else print "$no".',
        ),
        draw=lambda rng: {"k": rng.randint(2, 30), **rng.choice(ANSWERS)},
        program=(
            "s = input()",
            "total = best = low = 0",
            "for x in s:",
            '    total += 1 if x == "(" else -1',
            "    best = max(best, total)",
            "    low = min(low, total)",
            'print("$yes" if total == 0 and low == 0 and best <= $k else "$no")',
        ),
        wrong_edits=((" and best <= $k", ""), (" and low == 0", ""), ("total == 0 and ", "")),
        inputs=lambda p, rng: make_nested_bracket_inputs(p),
        solve=lambda p, s: p["no"] if reduced(s, "()") or depth(s) > p["k"] else p["yes"],
    ),
    Family(
        name="bracket_depth",
        difficulty="medium",
        statements=(
            "Read a line of balanced brackets ( and ). Print how deep they are nested, multiplied by $k.",
            "Given a line of balanced ( and ), find the depth of the nesting and print it times $k.",
        ),
        draw=lambda rng: {"k": rng.randint(2, 99)},
        program=(
            "s = input()",
            "total = best = 0",
            "for x in s:",
            '    total += 1 if x == "(" else -1',
            "    best = max(best, total)",
            "print(best * $k)",
        ),
        wrong_edits=((" * $k", ""), ("best * $k", "total * $k"), ("max(best, total)", "best + 1")),
        inputs=lambda p, rng: [(s,) for s in ("(())()", "()((()))", "()", "()()()", "((()())())", "((((()))))")],
        solve=lambda p, s: p["k"] * depth(s),
    ),
    Family(
        name="longest_window",
        difficulty="hard",
        signature="longestPart(self, s: str) -> int",
        statements=(
            "Given a word s, return the length of the longest part of consecutive letters that $rule.",
            "Find the longest substring of s that $rule and return the length.",
        ),
        draw=lambda rng: draw_with_constant(rng, WINDOW_RULES, 1, 15),
        program=(
            "best = j = 0",
            "for i in range(len(s)):",
            "    while $test:",
            "        j += 1",
            "    best = max(best, i + 1 - j)",
            "return best",
        ),
        wrong_edits=(
            ("i + 1 - j", "i - j"),
            ("best = max(best, i + 1 - j)", "best = i + 1 - j"),
            ("while $test", "if not $test"),
        ),
        inputs=make_window_inputs,
        solve=solve_window,
    ),
)
