"""Tagged JSON: every value comes back, equal ones look the same, and what has no form is refused."""

import doctest
import re
from collections import Counter, defaultdict, deque, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.inside import values
from evaluator.inside.values import NotJsonError, Truth, from_tagged_text, result_text, tagged_text

SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
)
SCALARS |= st.complex_numbers(allow_nan=False)
HASHED = st.recursive(SCALARS, lambda inner: st.lists(inner).map(tuple) | st.frozensets(inner), max_leaves=8)
VALUES = st.recursive(
    HASHED | st.sets(HASHED),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(HASHED, inner),
    max_leaves=20,
)
Point = namedtuple("Point", "x y")


@given(VALUES, st.booleans())
def test_values_come_back(value, canonical):
    again = from_tagged_text(tagged_text(value, canonical))
    assert again == value
    assert type(again) is type(value)


@given(st.lists(HASHED), st.randoms())
def test_the_order_of_making_does_not_show(items, random):
    stirred = random.sample(items, len(items))
    assert tagged_text(set(items), True) == tagged_text(set(stirred), True)
    entries = dict.fromkeys(items, 0)
    reordered = dict.fromkeys(stirred, 0)
    assert tagged_text(entries, True) == tagged_text(reordered, True)
    assert list(from_tagged_text(tagged_text(entries, False))) == list(entries)


def test_equal_members_of_sets_look_the_same():
    assert tagged_text({1, 10, 2}, True) == tagged_text({True, 10.0, 2.0}, True)
    assert tagged_text({(1, 2): "a"}, True) == tagged_text({(1.0, 2): "a"}, True)


PLAIN = {
    "a dict that looks like a tag": {"tuple": [1]},
    "an empty set": set(),
    "numbers that JSON has not": [float("inf"), -float("inf")],
    "half a character": "\ud83d",
}


@pytest.mark.parametrize("name", PLAIN)
def test_values_that_could_be_taken_for_others(name):
    assert from_tagged_text(tagged_text(PLAIN[name], True)) == PLAIN[name]


def test_subclasses_are_what_they_hold():
    class Liar(list):
        def __iter__(self):
            return iter([7])

        def __len__(self):
            return 1

    counts = defaultdict(int, {"a": 1})
    assert from_tagged_text(tagged_text([Liar([1, 2]), Point(1, 2), Counter("aa"), counts], True)) == [
        *([1, 2], (1, 2), {"a": 2}, {"a": 1})
    ]


ENDLESS: list = []
ENDLESS.append(ENDLESS)
DEEP: list = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize("value", [object(), deque([1]), range(3), iter([]), {1: object()}, ENDLESS, DEEP, bytearray()])
def test_what_has_no_form_is_refused(value):
    with pytest.raises(NotJsonError):
        tagged_text(value, True)


def test_a_result_without_a_form_is_its_truth():
    match, nothing = (from_tagged_text(result_text(value)) for value in (re.match("a", "a"), deque()))
    assert isinstance(match, Truth) and match and not nothing
    assert match != from_tagged_text(result_text(re.match("a", "a")))
    assert from_tagged_text(result_text(None)) is None


BAD = [
    *('{"list": [1]}', '{"tuple": 1}', "{}", '{"tuple": [], "set": []}', '{"dict": [[1]]}', '{"set": [[1]]}'),
    *('{"complex": [1]}', '{"bytes": "\\u0394"}', "[1", "[" * 100_000),
]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_what_is_no_tagged_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        from_tagged_text(text)


def test_examples_in_docstrings():
    outcome = doctest.testmod(values)
    assert outcome.attempted > 0
    assert outcome.failed == 0
