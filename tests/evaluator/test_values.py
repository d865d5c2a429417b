"""Tagged JSON: values round-trip, equal values have the same text, and values without a form are rejected."""

import doctest
import re
from collections import Counter, defaultdict, deque, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.inside import values
from evaluator.inside.values import NotJsonError, Truth, from_tagged_text, to_result_text, to_tagged_text

SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
)
SCALARS |= st.complex_numbers(allow_nan=False)
HASHABLE_VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner).map(tuple) | st.frozensets(inner), max_leaves=8)
VALUES = st.recursive(
    HASHABLE_VALUES | st.sets(HASHABLE_VALUES),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(HASHABLE_VALUES, inner),
    max_leaves=20,
)
Point = namedtuple("Point", "x y")


@pytest.mark.heavy
@given(VALUES, st.booleans())
def test_values_round_trip(value, canonical):
    decoded = from_tagged_text(to_tagged_text(value, canonical))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.heavy
@given(st.lists(HASHABLE_VALUES), st.randoms())
def test_canonical_text_does_not_depend_on_insertion_order(items, random):
    shuffled = random.sample(items, len(items))
    assert to_tagged_text(set(items), True) == to_tagged_text(set(shuffled), True)
    entries = dict.fromkeys(items, 0)
    reordered = dict.fromkeys(shuffled, 0)
    assert to_tagged_text(entries, True) == to_tagged_text(reordered, True)
    assert list(from_tagged_text(to_tagged_text(entries, False))) == list(entries)


def test_equal_set_members_have_the_same_canonical_text():
    assert to_tagged_text({1, 10, 2}, True) == to_tagged_text({True, 10.0, 2.0}, True)
    assert to_tagged_text({(1, 2): "a"}, True) == to_tagged_text({(1.0, 2): "a"}, True)


AMBIGUOUS_VALUES = {
    "a dict that looks like a tag": {"tuple": [1]},
    "an empty set": set(),
    "infinite numbers": [float("inf"), -float("inf")],
    "a lone surrogate": "\ud83d",
}


@pytest.mark.parametrize("name", AMBIGUOUS_VALUES)
def test_ambiguous_values_round_trip(name):
    assert from_tagged_text(to_tagged_text(AMBIGUOUS_VALUES[name], True)) == AMBIGUOUS_VALUES[name]


def test_overridden_methods_of_subclasses_are_ignored():
    class Liar(list):
        def __iter__(self):
            return iter([7])

        def __len__(self):
            return 1

    counts = defaultdict(int, {"a": 1})
    assert from_tagged_text(to_tagged_text([Liar([1, 2]), Point(1, 2), Counter("aa"), counts], True)) == [
        [1, 2],
        (1, 2),
        {"a": 2},
        {"a": 1},
    ]


CONTAINS_ITSELF: list = []
CONTAINS_ITSELF.append(CONTAINS_ITSELF)
NESTED_TOO_DEEPLY: list = []
for _ in range(200):
    NESTED_TOO_DEEPLY = [NESTED_TOO_DEEPLY]


@pytest.mark.parametrize(
    "value", [object(), deque([1]), range(3), iter([]), {1: object()}, CONTAINS_ITSELF, NESTED_TOO_DEEPLY, bytearray()]
)
def test_value_without_a_form_raises(value):
    with pytest.raises(NotJsonError):
        to_tagged_text(value, True)


def test_result_without_a_form_keeps_its_truth_value():
    match, empty_deque = (from_tagged_text(to_result_text(value)) for value in (re.match("a", "a"), deque()))
    assert isinstance(match, Truth) and match and not empty_deque
    assert match != from_tagged_text(to_result_text(re.match("a", "a")))
    assert from_tagged_text(to_result_text(None)) is None


INVALID_TEXTS = [
    *('{"list": [1]}', '{"tuple": 1}', "{}", '{"tuple": [], "set": []}', '{"dict": [[1]]}', '{"set": [[1]]}'),
    *('{"complex": [1]}', '{"bytes": "\\u0394"}', "[1", "[" * 100_000),
]


@pytest.mark.parametrize("text", INVALID_TEXTS, ids=range(len(INVALID_TEXTS)))
def test_invalid_tagged_json_raises_value_error(text):
    with pytest.raises(ValueError):
        from_tagged_text(text)


def test_docstring_examples_pass():
    result = doctest.testmod(values)
    assert result.attempted > 0
    assert result.failed == 0
