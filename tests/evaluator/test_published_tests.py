"""Published tests: recording the calls that they make, and judging an answer with them."""

import pytest

from evaluator.inside.published import Published, accepts, record

HALF = "def f(x):\n    return x / 2\n"


def test_distinct_calls_are_recorded_in_order():
    recording = record(Published("f", HALF, "assert f(4) == 2\nassert f(2) == 1\nassert f(4) == 2"), ["[6]", "[2]"])
    assert recording.calls == {"[4]": ("2.0", ""), "[2]": ("1.0", ""), "[6]": ("3.0", "")}


def test_arguments_are_recorded_before_the_call_without_recursive_calls():
    source = "def f(x):\n    return x.pop() + f(x) if x else 0\n"
    assert record(Published("f", source, "assert f([1, 2]) == 3"), []).calls == {"[[1, 2]]": ("3", "")}


def test_random_inputs_are_reproducible():
    tests = "import random\nfor _ in range(5): f(random.random())"
    assert record(Published("f", HALF, tests), []) == record(Published("f", HALF, tests), [])


def test_calls_that_cannot_be_tests_have_a_reason():
    source = "n = 0\ndef f(x):\n    global n\n    n += 1\n    return object() if x == 1 else n\n"
    recording = record(Published("f", source, "f(1)\nf(2)\nf(2)\nf(object())"), ["[3]", "[3, 4]"])
    assert [reason for _, reason in recording.calls.values()] == [
        "the result: object is not a JSON value",
        "the reference solution gives two results for the same arguments",
        "",
        "it raises TypeError: f() takes 1 positional argument but 2 were given",
    ]
    assert recording.missed == ["arguments: object is not a JSON value"]


def test_truth_is_recorded_for_results_without_another_form():
    source = "import re\ndef f(x):\n    return re.match('a', x)\n"
    tests = "assert f('a')\nassert not f('b')"
    recorded = record(Published("f", source, tests), [], truth=True).calls
    assert recorded == {'["a"]': ('{"truth": true}', ""), '["b"]': ("null", "")}


def test_inputs_that_violate_the_contract_have_a_reason():
    contract = "def contract(x):\n    assert x > 0, 'invalid'\n"
    recording = record(Published("f", HALF, ""), ["[1]", "[-1]"], contract)
    assert recording.calls == {"[1]": ("0.5", ""), "[-1]": (None, "it raises AssertionError: invalid")}


def test_reference_that_fails_its_tests_raises():
    with pytest.raises(AssertionError):
        record(Published("f", HALF, "assert f(4) == 3"), [])


def test_accepts_applies_the_tests_to_the_answer():
    published = Published("f", HALF, "assert abs(f(4) - 2) < 0.1\nassert f(0) == 0")
    assert accepts(published, [4], 2.05) and not accepts(published, [4], 2.5)
    assert accepts(published, [0], False) and not accepts(published, [0], 1)
    with pytest.raises(TypeError):
        accepts(published, [4], "2")


def test_tests_that_change_an_answer_do_not_affect_later_calls():
    tests = "x = f([1])\nx.append(2)\nassert f([1]) == [1]"
    assert accepts(Published("f", "def f(x):\n    return list(x)\n", tests), [[1]], [1])
