"""Duplicates among candidates: what counts as one, which one stays, and that nothing depends on luck."""

import math
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.problem import ProblemTest
from launch.curation.filtering import duplicates
from launch.curation.filtering.duplicates import BAND_VALUES, BANDS, CommonTests, _Buckets, find_duplicates
from launch.curation.filtering.fingerprints import SIGNATURE_VALUES, Fingerprint, cut_examples, make_fingerprint
from launch.curation.processing.process import STDIN_LINE
from tests.launch.curation.candidates import make_candidate, make_tests

STATEMENT = (
    "You are given a grid of n rows and m columns in which every cell is free or blocked. A robot starts in the upper "
    "left cell and moves to a free neighbour in each step. Print the number of steps of the shortest way to the lower "
    "right cell, or -1 if there is none. The first line holds n and m, and the next n lines hold the rows."
)
OTHER_STATEMENT = (
    "A shop sells k kinds of fruit. Each customer wants a certain weight of each kind, and the shop has a limited "
    "store. Print the largest number of customers who can be served completely, if they may be served in any sequence."
)


def find_reasons(*candidates):
    found = find_duplicates(map(make_fingerprint, candidates))
    return {question_id: dropped.reason for question_id, dropped in found.items()}


def make_with_tests(question_id, statement, outputs=("1", "2", "3"), prefix="", **changes):
    tests = tuple(ProblemTest(f"{prefix}{number}\n", f"{output}\n") for number, output in enumerate(outputs))
    return make_candidate(question_id, question_content=statement, public_tests=tests, **changes)


@pytest.mark.parametrize(
    "statement",
    [
        STATEMENT.upper(),
        STATEMENT.replace(" n ", " $n$ ").replace(" ", "\n"),
        STATEMENT.replace("-1", "`-1`"),
        STATEMENT.replace("A robot", "Ａ robot"),
    ],
)
def test_a_statement_in_another_format_is_a_duplicate(statement):
    assert find_reasons(make_with_tests("a/1", STATEMENT), make_with_tests("b/1", statement)) == {"b/1": "duplicate"}


def test_a_statement_with_other_words_is_a_near_duplicate_if_the_tests_agree():
    edited = STATEMENT.replace("robot starts", "robot begins").replace("Print the number", "Output the number")
    assert find_reasons(make_with_tests("a/1", STATEMENT), make_with_tests("b/1", edited)) == {"b/1": "near_duplicate"}


def test_other_outputs_for_the_same_inputs_make_different_problems():
    """The fewest and the most steps: one word of difference, but another problem."""
    longest = STATEMENT.replace("shortest", "longest")
    assert find_reasons(make_with_tests("a/1", STATEMENT), make_with_tests("b/1", longest, outputs="456")) == {}
    assert find_reasons(make_with_tests("a/1", STATEMENT), make_with_tests("b/1", STATEMENT, outputs="456")) == {}


@pytest.mark.parametrize("common", [0, 1, 2, 6, 10])
def test_more_common_tests_need_less_similar_statements(common):
    limits = [CommonTests(count, count, 10).min_similarity for count in range(common, 11)]
    assert limits == sorted(limits, reverse=True)
    assert CommonTests(10, 5, 10).min_similarity == math.inf
    assert CommonTests(5, 5, 100).are_same
    assert not CommonTests(4, 4, 100).are_same


def test_variants_that_differ_in_a_number_are_different_problems():
    """Their few common tests are the trivial ones."""
    statement = "Read two integers a and b from one line. Print a + b, or 0 if both of them are below {}."
    variants = []
    for number, limit in enumerate((5, 9)):
        tests = (ProblemTest("0 0\n", "0\n"), *(ProblemTest(f"{limit} {other}\n", "1\n") for other in range(9)))
        content = statement.format(limit)
        variants.append(make_candidate(f"a/{number}", question_content=content, public_tests=tests))
    assert find_reasons(*variants) == {}


def test_a_rounded_output_among_many_makes_no_different_problem():
    outputs = [str(number) for number in range(20)]
    rounded = [*outputs[:-1], "19.0000001"]
    reasons = find_reasons(make_with_tests("a/1", STATEMENT, outputs), make_with_tests("b/1", STATEMENT, rounded))
    assert reasons == {"b/1": "duplicate"}


def test_without_common_inputs_only_nearly_equal_statements_are_duplicates():
    slightly = STATEMENT + " Good luck."
    much = STATEMENT.replace("upper left", "first").replace("free neighbour", "next one").replace("every cell", "each")
    first = make_with_tests("a/1", STATEMENT, prefix="y ")
    assert find_reasons(first, make_with_tests("b/1", slightly, prefix="x ")) == {"b/1": "near_duplicate"}
    assert find_reasons(first, make_with_tests("b/1", much, prefix="x ")) == {}
    assert find_reasons(first, make_with_tests("b/1", much, prefix="y ")) == {"b/1": "near_duplicate"}


def test_operators_count_as_words():
    text = "Read the two integers a and b from one line of the input and print the value of a + b modulo the number m."
    other = text.replace("+", "*")
    assert find_reasons(make_with_tests("a/1", text), make_with_tests("b/1", other, prefix="x ")) == {}


def test_different_statements_and_statements_without_words_are_kept():
    assert find_reasons(make_with_tests("a/1", STATEMENT), make_with_tests("b/1", OTHER_STATEMENT)) == {}
    assert find_reasons(make_with_tests("a/1", "?!"), make_with_tests("b/1", "!!", prefix="x ")) == {}
    assert find_duplicates([]) == {}


def test_examples_are_not_compared():
    text = STATEMENT + "\n\n{}\n\n3 3\n...\n"
    assert len({cut_examples(text.format(head)) for head in ("Example 1:", "**Sample Input 2**", "Examples")}) == 1
    assert cut_examples(STATEMENT) == STATEMENT
    assert "for example" in cut_examples(f"{STATEMENT}\nIf n is 3, for example 1\nthe answer is 2.")


@pytest.mark.parametrize(
    "better",
    [
        {"right_programs": ("print(1)",)},
        {"checker": {"type": "unordered"}},
        {"private_tests": make_tests(x="1")},
        {"private_tests": make_tests(x="1", y="2")},
    ],
    ids=["reference", "checker", "one more test", "two more tests"],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_the_problem_with_the_better_tests_stays(better, reverse):
    pair = [make_with_tests("a/1", STATEMENT, right_programs=()), make_with_tests("b/1", STATEMENT, **better)]
    found = find_duplicates(map(make_fingerprint, pair[::-1] if reverse else pair))
    assert list(found) == ["a/1"]
    assert "b/1" in found["a/1"].detail


def test_a_reference_counts_more_than_a_checker_and_a_checker_more_than_tests():
    many = make_tests(**{f"x{number}": "1" for number in range(9)})
    reference = make_with_tests("a/1", STATEMENT, right_programs=("print(1)",))
    checker = make_with_tests("b/1", STATEMENT, checker={"type": "unordered"})
    tests = make_with_tests("c/1", STATEMENT, private_tests=many)
    assert sorted(find_reasons(tests, checker, reference)) == ["b/1", "c/1"]
    assert sorted(find_reasons(tests, checker)) == ["c/1"]


def test_the_earlier_source_stays_if_the_tests_are_equally_good():
    sources = [make_with_tests(f"{name}/1", STATEMENT) for name in "zab"]
    assert sorted(find_reasons(*sources)) == ["a/1", "b/1"]


def make_similar_fingerprint(number, changed, tests=b""):
    """Return a fingerprint whose signature differs in ``changed`` values from that of number 0 and from all others."""
    values = np.arange(SIGNATURE_VALUES, dtype="<u4")
    values[:changed] += 1000 * (number + 1)
    return Fingerprint(
        question_id=f"s/{number}",
        source="s",
        statement=number.to_bytes(16),
        signature=values.tobytes(),
        numbers=b"",
        tests=tests,
        has_right_programs=False,
        has_checker=False,
        test_characters=0,
    )


def test_a_problem_is_only_dropped_for_one_that_is_kept():
    """A chain: each is similar to the one before it, but the third one not to the first."""
    middle = make_similar_fingerprint(1, 0)
    first = make_similar_fingerprint(0, 0)
    values = np.frombuffer(first.signature, "<u4")
    signatures = [values.copy(), values.copy(), values.copy()]
    signatures[1][:8] += 1000
    signatures[2][:16] += 1000
    chain = [
        Fingerprint(
            question_id=name,
            source="s",
            statement=name.encode(),
            signature=signature.tobytes(),
            numbers=b"",
            tests=b"",
            has_right_programs=False,
            has_checker=False,
            test_characters=0,
        )
        for name, signature in zip("abc", signatures, strict=True)
    ]
    assert list(find_duplicates(chain)) == ["b"]
    assert list(find_duplicates([middle, first])) == ["s/0"]


@given(st.lists(st.tuples(st.integers(0, SIGNATURE_VALUES), st.booleans()), max_size=8))
def test_kept_problems_are_no_duplicates_of_each_other(shapes):
    """Compared pair by pair, with bands as the only approximation: pairs without a common band are not compared."""
    agreeing = np.array([[1, 2], [2, 3], [3, 4]], "<u8").tobytes()
    items = [
        make_similar_fingerprint(number, changed, agreeing if has_test else b"")
        for number, (changed, has_test) in enumerate(shapes)
    ]
    dropped = find_duplicates(items)
    kept = [item for item in items if item.question_id not in dropped]
    for place, first in enumerate(kept):
        for second in kept[:place]:
            equal = np.frombuffer(first.signature, "<u4") == np.frombuffer(second.signature, "<u4")
            common = CommonTests(3, 3, 3) if first.tests and second.tests else CommonTests(0, 0, 0)
            has_band = equal[: BANDS * BAND_VALUES].reshape(BANDS, BAND_VALUES).all(axis=1).any()
            assert equal.mean() < common.min_similarity or not has_band
    for record in dropped.values():
        assert any(record.detail.split(" to ")[1].startswith(f"{item.question_id},") for item in kept)


def test_fingerprints_are_the_same_in_another_process():
    script = (
        "import pickle, sys\n"
        "from launch.curation.filtering.fingerprints import make_fingerprint\n"
        "sys.stdout.buffer.write(pickle.dumps(make_fingerprint(pickle.load(sys.stdin.buffer))))"
    )
    candidate = make_with_tests("a/1", STATEMENT)
    process = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps(candidate), capture_output=True, check=True
    )
    assert pickle.loads(process.stdout) == make_fingerprint(candidate)


def test_a_phrase_of_many_statements_does_not_make_all_of_them_compared(monkeypatch):
    """Different problems have one band in common; a copy of the last one has all bands of it."""
    compared = []
    find_similar = _Buckets.find_similar
    monkeypatch.setattr(duplicates, "MAX_COMPARED", 5)
    monkeypatch.setattr(_Buckets, "find_similar", lambda *args: compared.append(find_similar(*args)) or compared[-1])
    changed = (BANDS - 1) * BAND_VALUES
    items = [make_similar_fingerprint(number, changed) for number in range(40)]
    copy = replace(items[-1], question_id="copy", statement=b"copy")
    assert list(find_duplicates([*items, copy])) == ["copy"]
    assert [len(found) for found in compared] == [0, 1, 2, 3, 4, *[5] * 35, 6]


def test_the_line_that_is_added_to_every_statement_makes_no_problems_similar():
    first = make_with_tests("a/1", f"Print the sum of two numbers.\n\n{STDIN_LINE}")
    second = make_with_tests("b/1", f"Print the product of three words.\n\n{STDIN_LINE}")
    signatures = [np.frombuffer(make_fingerprint(item).signature, "<u4") for item in (first, second)]
    assert np.mean(signatures[0] == signatures[1]) < 0.2
    alone = make_with_tests("a/2", "Print the sum of two numbers.")
    assert make_fingerprint(first).statement == make_fingerprint(alone).statement
