"""Encoding of arguments and results of functional problems: plain JSON, or tagged JSON for Python's other types.

Tagged JSON: null, booleans, numbers and strings stand for themselves, an array is a list, and an object is always a tag
with its content: ``{"tuple": [...]}``, ``{"set": [...]}``, ``{"frozenset": [...]}``, ``{"dict": [[key, value], ...]}``,
``{"complex": [real, imaginary]}``, ``{"bytes": "latin-1 text"}``. A result may also be ``{"truth": true or false}``,
the truth value of a result that cannot be encoded. So the encoding is unambiguous.

A result may come from a process with hostile code: the text is made from what a value really holds.
"""

from __future__ import annotations

import builtins
import itertools
import json
import sys
from _json import encode_basestring_ascii, make_encoder
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NoReturn

# A candidate may delete or replace builtins. CPython takes a function's builtins from its module's ``__builtins__``
# when the function is created, so everything defined below keeps this copy.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

ValueFormat = Literal["json", "python"]  # encoding of a problem's arguments and results: plain JSON or tagged JSON

MAX_DEPTH = 500  # nesting of containers in a result that the owner's JSON reader still accepts
MAX_TAGGED_DEPTH = 100  # the same with tags, where a container takes up to three levels of JSON


class NotJsonError(TypeError):
    """Error for a result, or a part of one, that cannot be encoded."""


# Types are compared by their ids, because a metaclass may lie about equality. (In the set built by ``is_plain`` such a
# type may pass for another one; the encoder then rejects its object if it is not a JSON value.)
_SCALARS = frozenset(map(id, (bool, int, float, str, type(None))))
_LISTS = frozenset(map(id, (list, tuple)))


def get_items(value: Any) -> Sequence[object]:
    """Return what a list or tuple really holds, whatever a subclass overrides. Raises NotJsonError for other types."""
    value_type = type(value)
    if value_type is list or value_type is tuple:
        return value
    if issubclass(value_type, list):
        return list.copy(value)
    if issubclass(value_type, tuple):
        return tuple.__getitem__(value, slice(None))
    raise NotJsonError(f"{value_type.__name__} is not a list")


def is_plain(items: Sequence[Any], levels: int) -> bool:
    """Return True if ``items`` are scalars or nested lists of scalars, up to ``levels`` levels, without any subclass.

    This is a fast check for large regular results, by a few loops in C. It returns False if it cannot easily tell.
    """
    for level in range(levels):
        if level:
            items = list(itertools.chain.from_iterable(items))
        type_ids = frozenset(map(id, set(map(type, items))))
        if type_ids <= _SCALARS:
            return True
        if not type_ids <= _LISTS:
            return False
    return False


def to_plain(value: Any, path: set[int]) -> object:
    """Convert ``value`` to JSON's own types. ``path`` holds the ids of the containers around it. Raises NotJsonError.

    Tuples count as lists. Subclasses are read by the methods of their base type: json itself would call an overridden
    ``items`` of a dict. Sets, iterators, views, deques and arrays are rejected.

    >>> from collections import Counter
    >>> to_plain([(1, 2.5), Counter("aab"), None, True], set())
    [(1, 2.5), {'a': 2, 'b': 1}, None, True]
    """
    value_type = type(value)
    if id(value_type) in _SCALARS:
        return value
    if value_type is list or issubclass(value_type, (list, tuple)):
        items = get_items(value)
        if is_plain(items, levels=1):
            return items
        _enter_container(path, value)
        result: object = [to_plain(item, path) for item in items]
    elif issubclass(value_type, dict):
        _enter_container(path, value)
        result = {_to_scalar(key): to_plain(item, path) for key, item in dict.items(value)}
        _reject_equal_keys(result, dict.__len__(value))
    else:
        return _to_scalar(value)
    path.remove(id(value))
    return result


def _reject_equal_keys(converted: dict[Any, object], size: int) -> None:
    """Raise NotJsonError if two keys of a dict of ``size`` entries have the same JSON text, such as 1 and "1"."""
    names: Collection[object] = converted.keys()
    if len(set(map(type, names))) > 1:
        names = {key if type(key) is str else _encode({key: 0})[2:-5] for key in names}
    if len(names) < size:
        raise NotJsonError("two keys of a dict have the same JSON text")


def _enter_container(path: set[int], value: object, max_depth: int = MAX_DEPTH) -> None:
    if id(value) in path:
        raise NotJsonError("a container that holds itself is not a JSON value")
    if len(path) == max_depth:
        raise NotJsonError(f"containers are nested more than {max_depth} levels deep: the limit for JSON values")
    path.add(id(value))


def _to_scalar(value: Any) -> object:
    """Return a bool, int, float, str or None of exactly that type. Scalars of numpy become numbers."""
    value_type = type(value)
    if id(value_type) in _SCALARS:
        return value
    for base, copy in ((int, int.__int__), (float, float.__float__), (str, str.__str__)):
        if issubclass(value_type, base):
            return copy(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(value_type, (numpy.bool_, numpy.integer, numpy.floating)):
        number = numpy.generic.item(value)
        # item() of a longdouble returns a longdouble.
        return float(number) if issubclass(value_type, numpy.longdouble) else number
    raise NotJsonError(f"{value_type.__name__} is not a JSON value")


def _reject(value: object) -> NoReturn:
    raise NotJsonError(f"{type(value).__name__} is not a JSON value")


def make_json_encoder() -> Callable[[object], str]:
    """Return a function that encodes a value of JSON's own types as ASCII JSON text.

    The function raises NotJsonError or ValueError. It is json's encoder in C, without lookups in module json, which a
    candidate could replace, and without the check for cycles, which ``to_plain`` and ``_to_tagged`` have already made.
    """
    encode = make_encoder(None, _reject, encode_basestring_ascii, None, ": ", ", ", False, False, True)
    return lambda value: "".join(encode(value, 0))


# --- tagged JSON --------------------------------------------------------------------------------------------------

_encode = make_json_encoder()
_CONTAINERS = (list, tuple, dict, set, frozenset)


def to_tagged_text(value: object, canonical: bool) -> str:
    """Encode a value as tagged JSON text. Raises NotJsonError, or ValueError for an integer beyond the process's limit.

    With ``canonical``, the order of sets and dicts depends only on their content, so that results can be compared.
    Without it, they keep their iteration order, as arguments do.

    >>> to_tagged_text([(1, 2.5), {"b": {3, 1}, 0: None}], canonical=True)
    '[{"tuple": [1, 2.5]}, {"dict": [["b", {"set": [1, 3]}], [0, null]]}]'
    """
    return _encode(_to_tagged(value, set(), canonical, False))


def to_result_text(value: object) -> str:
    """Encode a result as canonical tagged JSON text, or its truth value if it has no encoding (such as a regex match).

    Raises ValueError as ``to_tagged_text`` does, and whatever the value's own truth test raises.
    """
    try:
        return to_tagged_text(value, canonical=True)
    except NotJsonError:
        return _encode({"truth": bool(value)})


def _to_tagged(value: Any, path: set[int], canonical: bool, is_hashed: bool) -> object:
    """Convert ``value`` to JSON's own types with tags.

    ``path`` is as for ``to_plain``; ``is_hashed`` means that the value is in a set or is a key.
    """
    value_type = type(value)
    if value_type is list and is_plain(value, levels=1):
        return value
    if issubclass(value_type, _CONTAINERS):
        _enter_container(path, value, MAX_TAGGED_DEPTH)
        result = _container_to_tagged(value, value_type, path, canonical, is_hashed)
        path.remove(id(value))
        return result
    if value_type is complex:
        return {"complex": [value.real, value.imag]}
    if value_type is bytes:
        return {"bytes": value.decode("latin-1")}
    scalar = _to_scalar(value)
    # In sets and keys, 1, 1.0 and True are equal, so they get the same form, by which they also sort alike.
    if (
        canonical
        and is_hashed
        and (scalar is True or scalar is False or (type(scalar) is float and scalar.is_integer()))
    ):
        return int(scalar)
    return scalar


def _container_to_tagged(value: Any, value_type: type, path: set[int], canonical: bool, is_hashed: bool) -> object:
    if issubclass(value_type, (list, tuple)):
        items = [_to_tagged(item, path, canonical, is_hashed) for item in get_items(value)]
        return items if issubclass(value_type, list) else {"tuple": items}
    if issubclass(value_type, dict):
        entries: list[Any] = [
            [_to_tagged(key, path, canonical, True), _to_tagged(item, path, canonical, False)]
            for key, item in dict.items(value)
        ]
        return {"dict": sorted(entries, key=_first_text) if canonical else entries}
    base, name = (set, "set") if issubclass(value_type, set) else (frozenset, "frozenset")
    members = [_to_tagged(item, path, canonical, True) for item in base.__iter__(value)]
    return {name: sorted(members, key=_encode) if canonical else members}


def _first_text(entry: list[object]) -> str:
    return _encode(entry[0])


class Truth:
    """Truth value of a result that cannot be encoded. Equal to nothing else."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __bool__(self) -> bool:
        return self._value


def from_tagged_text(text: str) -> Any:
    """Decode a tagged JSON text.

    Raises ValueError if it is not JSON, has an unknown tag, or contains an unhashable set element or key.
    """
    try:
        return from_tagged(json.loads(text))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a value in tagged JSON: {error}") from error


def from_tagged(value: Any) -> Any:
    """Convert decoded tagged JSON to its value.

    Raises ValueError for an unknown tag, or TypeError for an unhashable set element or key, such as a list.

    >>> from_tagged([{"tuple": [1, 2]}, {"dict": [[{"tuple": []}, "a"]]}])
    [(1, 2), {(): 'a'}]
    """
    if isinstance(value, list):
        return [from_tagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("tuple", [*items])]:
            return tuple(map(from_tagged, items))
        case [("set", [*items])]:
            return set(map(from_tagged, items))
        case [("frozenset", [*items])]:
            return frozenset(map(from_tagged, items))
        case [("dict", [*entries])] if all(isinstance(entry, list) and len(entry) == 2 for entry in entries):
            return {from_tagged(key): from_tagged(item) for key, item in entries}
        case [("complex", [int() | float() as real, int() | float() as imaginary])]:
            return complex(real, imaginary)
        case [("bytes", str(text))]:
            return text.encode("latin-1")
        case [("truth", bool(truth))]:
            return Truth(truth)
    raise ValueError(f"not a tag with its content: {value!r}"[:200])
