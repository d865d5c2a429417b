"""Call one function of a candidate, test after test, in a process of the sandbox: the part of LeetCode's judge inside.

    owner ──{"nonce", "input"}──► read ──► arguments ──► Solution().f(...) ──► JSON text ──[nonce, kind, text]──► owner

Like that judge it gives the program its usual names, makes a fresh ``Solution`` for each call, turns JSON lists into
linked lists and trees where the problem's signature says so, takes the changed first argument where the function
returns None, and writes down what a result really holds, whatever methods the candidate gave it. The candidate shares
this process and may forge, spoil or withhold a reply: it does not know the expected value, so a forged reply earns what
its text earns, and everything else is a reply that the owner does not get. No expected output ever comes here.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import itertools
import json
import os
import re
import sys
import types
from _json import encode_basestring_ascii, make_scanner
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from evaluator.inside.values import is_plain, items_of, make_encode, plain, result_text, untagged

# A candidate may delete or replace builtins. CPython takes a function's builtins from its module's ``__builtins__`` at
# the function's birth, so everything defined below keeps these.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

T = TypeVar("T")

RECURSION_LIMIT = 550_000  # LeetCode's
MAX_NODES = 1_000_000  # of a linked list or tree in a result; LeetCode's problems have up to 100,000
READ_SIZE = 1 << 16  # bytes; most requests come in one read, and shorter replies go out in one write

# What LeetCode puts in front of a solution. ``typing`` comes first and ``builtins`` late, so that Counter and pow are
# what a program means by them; the modules come last: ``copy``, ``random`` and ``bisect`` are modules there.
PRELUDE = """
from typing import *
from sys import *
from io import *
from json import *
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from builtins import *
import array, bisect, collections, copy, datetime, decimal, fractions, functools, heapq, io, itertools, json, math
import operator, os, queue, random, re, statistics, string, sys, time, typing
"""
SORTED_CONTAINERS = "from sortedcontainers import SortedDict, SortedKeyList, SortedList, SortedSet"


class ListNode:
    """A node of LeetCode's singly linked lists."""

    def __init__(self, val: Any = 0, next: Any = None) -> None:
        self.val = val
        self.next = next


class TreeNode:
    """A node of LeetCode's binary trees."""

    def __init__(self, val: Any = 0, left: Any = None, right: Any = None) -> None:
        self.val = val
        self.left = left
        self.right = right


class EndlessError(ValueError):
    """A linked list or tree that does not end."""


@dataclass(frozen=True)
class Prelude:
    """``names`` are what LeetCode's Python defines beyond the builtins, ``main`` those of a new main module with them.

    The copy is made here because it counts a reference to each name's value: after a fork, on 400 pages that must be
    copied first.
    """

    names: dict[str, Any]
    main: dict[str, Any]


def load_prelude() -> Prelude:
    """Call it before any fork."""
    names: dict[str, Any] = {}
    exec(PRELUDE, names)
    if importlib.util.find_spec("sortedcontainers") is not None:
        exec(SORTED_CONTAINERS, names)
    names |= {"ListNode": ListNode, "TreeNode": TreeNode}
    usual = vars(builtins)
    names = {
        name: value
        for name, value in names.items()
        if not name.startswith("__") and not (name in usual and usual[name] is value)
    }
    return Prelude(names, fresh_main(names))


def fresh_main(names: dict[str, Any]) -> dict[str, Any]:
    """A new main module's own names, with ``names`` among them.

    Its ``__name__`` is not ``__main__``: this judge imports a solution, so that the main guard with which models often
    end theirs, reading a test from a standard input that has none, is not run. (Nor is it by LiveCodeBench's judge.)
    """
    main = types.ModuleType("main")
    main.__dict__.update(names, __builtins__=builtins, __file__="main.py")
    sys.modules["main"] = main
    return main.__dict__


# --- signatures: where JSON lists stand for nodes -----------------------------------------------------------------


@dataclass(frozen=True)
class NodeType:
    """``ListNode`` or ``TreeNode``, within ``depth`` lists: ``List[Optional[ListNode]]`` has depth 1."""

    name: str
    depth: int = 0


@dataclass(frozen=True)
class Signature:
    """What matters of a function's annotations. ``in_place``: it returns None, so its result is its first argument."""

    parameters: tuple[NodeType | None, ...]
    result: NodeType | None
    in_place: bool


PLAIN = Signature((), None, False)


def starter_signature(starter_code: str, func_name: str) -> Signature | None:
    """The signature of ``func_name`` in a problem's starter code; None if it is not there or has no annotations.

    >>> starter_signature("class Solution:\\n    def f(self, head: Optional[ListNode]) -> None:\\n        ", "f")
    Signature(parameters=(NodeType(name='ListNode', depth=0),), result=None, in_place=True)
    """
    start = re.search(rf"^[ \t]*(?:async[ \t]+)?(def[ \t]+{func_name}\b)", starter_code, re.MULTILINE)
    if start is None:
        return None
    text = starter_code[start.start(1) :]
    # Starter code ends without a body, and parameters hold colons too: the header ends at the first colon up to which
    # it parses. A header has few; the bound is for text that is no Python at all.
    for colon in itertools.islice(re.finditer(":", text), 200):
        header = text[: colon.end()]
        if header.count("(") == header.count(")"):
            try:
                return _signature(ast.parse(header + " pass"))
            except (SyntaxError, ValueError):
                continue
    return None


def candidate_signature(function: Callable[..., object]) -> Signature | None:
    """The signature by a candidate's own annotations. Raises what strange annotations may raise."""
    signature = inspect.signature(function)
    # Without defaults: many, such as a function, have no text that would parse.
    parameters = [parameter.replace(default=parameter.empty) for parameter in signature.parameters.values()]
    return _signature(ast.parse(f"def f{signature.replace(parameters=parameters)}: pass"))


def _signature(tree: ast.Module) -> Signature | None:
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    arguments = [*function.args.posonlyargs, *function.args.args]
    if arguments and arguments[0].arg in ("self", "cls"):
        arguments = arguments[1:]
    annotations = [argument.annotation for argument in arguments]
    if function.returns is None and not any(annotations):
        return None
    in_place = isinstance(function.returns, ast.Constant) and function.returns.value in (None, "None")
    return Signature(tuple(map(_node_type, annotations)), _node_type(function.returns), in_place)


def _node_type(annotation: ast.expr | None) -> NodeType | None:
    """The node type that an annotation names, if any; also in quotes, in ``ForwardRef`` and with a module's name."""
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in ("ListNode", "TreeNode"):
            return NodeType(name)
        case ast.Constant(value=str(text)):
            return _node_type(ast.parse(text, mode="eval").body)
        case ast.Call(args=[inner]):
            return _node_type(inner)
        case ast.BinOp(left=left, right=right):
            return _node_type(left) or _node_type(right)
        case ast.Subscript(value=ast.Name(id=outer) | ast.Attribute(attr=outer), slice=inner):
            choices = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            found = next(filter(None, map(_node_type, choices)), None)
            if found is None or outer in ("Optional", "Union"):
                return found
            return NodeType(found.name, found.depth + 1) if outer in ("List", "list") else None
    return None


# --- nodes from and to JSON lists ---------------------------------------------------------------------------------


def to_nodes(value: object, node: NodeType | None, names: dict[str, Any]) -> object:
    """A decoded JSON argument with its lists made into nodes; null and ``[]`` are None."""
    if node is None or not isinstance(value, list):
        return value
    if node.depth:
        inner = NodeType(node.name, node.depth - 1)
        return [to_nodes(item, inner, names) for item in value]
    make = _linked_list if node.name == "ListNode" else _tree
    return make(value, _node_class(node, names))


def _node_class(node: NodeType, names: dict[str, Any]) -> Callable[[object], Any]:
    """The class of that name that the program defined itself, if a value is enough to make a node of it, else ours."""
    own = names.get(node.name)
    if isinstance(own, type) and not isinstance(attempt(lambda: own(0)), Failure):
        return own
    return ListNode if node.name == "ListNode" else TreeNode


def _linked_list(values: list[object], kind: Callable[[object], Any]) -> object:
    head = None
    for value in reversed(values):
        node = kind(value)
        node.next = head
        head = node
    return head


def _tree(values: list[object], kind: Callable[[object], Any]) -> object:
    """Level by level; null stands for a missing child, and missing nodes have no children in the list."""
    if not values or values[0] is None:
        return None
    root = kind(values[0])
    parents = deque([root])
    rest = iter(values[1:])
    while parents:
        parent = parents.popleft()
        for side, value in zip(("left", "right"), rest, strict=False):
            child = None if value is None else kind(value)
            setattr(parent, side, child)
            if child is not None:
                parents.append(child)
    return root


def from_nodes(value: object, node: NodeType) -> list[object]:
    """The list that LeetCode writes for nodes. Raises EndlessError, and what is not such a node raises."""
    if node.depth:
        inner = NodeType(node.name, node.depth - 1)
        return [from_nodes(item, inner) for item in items_of(value)]
    return _values_of_list(value) if node.name == "ListNode" else _values_of_tree(value)


def _values_of_list(head: Any) -> list[object]:
    values: list[object] = []
    while head is not None:
        if len(values) == MAX_NODES:
            raise EndlessError(f"the linked list has a cycle, or more than {MAX_NODES} nodes")
        values.append(head.val)
        head = head.next
    return values


def _values_of_tree(root: Any) -> list[object]:
    values: list[object] = []
    nodes = deque([root])
    while nodes:
        if len(values) >= 2 * MAX_NODES:  # nodes and missing children
            raise EndlessError(f"the tree has a cycle, or more than {MAX_NODES} nodes")
        node = nodes.popleft()
        if node is None:
            values.append(None)
        else:
            values.append(node.val)
            nodes.append(node.left)
            nodes.append(node.right)
    while values and values[-1] is None:
        values.pop()
    return values


# --- results to JSON text -------------------------------------------------------------------------------------------


def make_reader() -> Callable[[str, int], tuple[Any, int]]:
    """json's scanner in C: the value that starts at an index of a text, and where it ends. Raises StopIteration."""
    scanner: Callable[[str, int], tuple[Any, int]] = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]
    return scanner


def make_serialiser() -> Callable[[object, NodeType | None], str]:
    """A function giving the JSON text of a result, ASCII only. It raises NotJsonError, EndlessError or ValueError."""
    encode = make_encode()

    def serialise(value: object, node: NodeType | None) -> str:
        if node is not None:
            value = from_nodes(value, node)
        return encode(value if is_plain((value,), levels=4) else plain(value, set()))

    return serialise


# --- calls --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """What the candidate's code raised."""

    error: BaseException


def attempt(action: Callable[[], T]) -> T | Failure:
    """What ``action`` returns, or the Failure it meets: SystemExit and KeyboardInterrupt too are the candidate's."""
    try:
        return action()
    except BaseException as error:  # noqa: BLE001 - see above
        return Failure(error)


def describe(error: BaseException) -> str:
    """Name and message of an exception, cut to 1000 characters; those of a candidate's may raise or lie."""
    name = "MemoryError" if issubclass(type(error), MemoryError) else ""
    text = attempt(lambda: f"{name or type(error).__name__}: {error}"[:1000])
    return "an exception that cannot be shown" if isinstance(text, Failure) else text


def find_function(names: dict[str, Any], func_name: str, prelude: dict[str, Any]) -> Callable[..., object]:
    """A method of a fresh ``Solution``, or a bare function. Raises NameError or AttributeError if there is neither."""
    function: Callable[..., object] | None = names.get(func_name)
    if function is prelude.get(func_name):
        function = None  # the prelude's own ``add`` (from operator) is no answer to a problem that asks for one
    solution = names.get("Solution")
    if callable(solution) and (function is None or hasattr(solution, func_name)):  # a decorator may hide the class
        method: Callable[..., object] = getattr(solution(), func_name)
        return method
    if function is None:
        raise NameError(f"neither Solution.{func_name} nor {func_name} is defined")
    return function


def finished(value: object) -> object:
    """The result of a coroutine, else ``value`` itself."""
    if type(value) is types.CoroutineType:
        import asyncio  # dear to import, and needed by few

        return asyncio.run(value)
    return value


class Program:
    """A candidate: its names, and the signature by which its function is called."""

    def __init__(self, func_name: str, prelude: Prelude, signature: Signature | None) -> None:
        self._func_name = func_name
        self._prelude = prelude.names
        self._signature = signature
        self._scan = make_reader()
        self._serialise = make_serialiser()
        self._names = prelude.main
        # The arguments of the last call, until the next ones are read: with everything freed between calls, the memory
        # of large ones would go back to the kernel and be faulted in anew each time, for a third of the call's time.
        self._values: list[object] = []

    def load(self, code: types.CodeType) -> None:
        """Run the program's top level; raises what it raises, but for SystemExit.

        A program may end so after a demonstration. What it defined by then can be called; if that is nothing, calls
        fail.
        """
        try:
            exec(code, self._names)
        except SystemExit:
            return

    def answer(self, arguments: str) -> tuple[str, str]:
        """(kind, text) of one call: ``value`` and JSON, ``error``, or ``type`` if the result is not JSON."""
        result = attempt(lambda: self._call(arguments))
        if isinstance(result, Failure):
            return "error", describe(result.error)
        text = attempt(lambda: self._written(result))
        if isinstance(text, Failure):
            ours = issubclass(type(text.error), (MemoryError, EndlessError))
            return "error" if ours else "type", describe(text.error)
        return "value", text

    def _written(self, result: Any) -> str:
        """The text of what ``_call`` gave."""
        return self._serialise(*result)

    def _call(self, arguments: str) -> Any:
        """The result, and the nodes it should be made of."""
        function = find_function(self._names, self._func_name, self._prelude)
        signature = self._signature
        if signature is None:
            found = attempt(lambda: candidate_signature(function))
            signature = self._signature = PLAIN if found is None or isinstance(found, Failure) else found
        values = self._values = [self._value(line) for line in map(str.strip, arguments.split("\n")) if line]
        if any(signature.parameters):
            nodes = itertools.chain(signature.parameters, itertools.repeat(None))
            values = [to_nodes(value, node, self._names) for value, node in zip(values, nodes, strict=False)]
        result = finished(function(*values))
        if signature.in_place and values:
            return values[0], next(iter(signature.parameters), None)
        return result, signature.result

    def _value(self, line: str) -> object:
        value, end = self._scan(line, 0)
        if end != len(line):
            raise ValueError("a line of the input holds more than one JSON value")
        return value


class PythonProgram(Program):
    """A candidate that defines a plain function, called with Python's own values (tagged JSON, see ``values``).

    It has no names but its own and those of ``starter_code``, a whole program: imports, helpers of the function. What
    that says of the function itself is a stub, and does not stay. A result is what the function returns.
    """

    def __init__(self, func_name: str, starter_code: str) -> None:
        self._func_name = func_name
        self._starter_code = starter_code
        self._scan = make_reader()
        self._names = fresh_main({})

    def load(self, code: types.CodeType) -> None:
        exec(compile(self._starter_code, "starter.py", "exec", dont_inherit=True), self._names)
        self._names.pop(self._func_name, None)
        super().load(code)

    def _call(self, arguments: str) -> Any:
        lines = [line for line in map(str.strip, arguments.split("\n")) if line]
        values = self._values = [untagged(self._value(line)) for line in lines]
        function = self._names.get(self._func_name)
        if function is None:
            raise NameError(f"name {self._func_name!r} is not defined")
        return function(*values)

    def _written(self, result: object) -> str:
        return result_text(result)


def answer_calls(
    code: types.CodeType,
    func_name: str,
    prelude: Prelude,
    channel: int,
    starter_code: str = "",
    values: str = "json",
) -> NoReturn:
    """Load the program, then answer one request a frame on ``channel`` until the owner hangs up; ends the process.

    A request is 4 bytes of length and ``{"nonce", "input"}``, a reply 8 bytes and ``[nonce, kind, text]``, both JSON.
    ``starter_code`` is the problem's; without annotations in it those of the program count. ``values`` "python" makes a
    PythonProgram of it. Exit status 0 after the owner hung up, 1 with a traceback on stderr if the program cannot be
    loaded or breaks the harness.
    """
    sys.argv[:] = ["main.py"]
    os.set_inheritable(channel, False)  # else a command that the candidate left running keeps the channel open
    sys.setrecursionlimit(RECURSION_LIMIT)
    program: Program
    if values == "python":
        program = PythonProgram(func_name, starter_code)
    else:
        program = Program(func_name, prelude, starter_signature(starter_code, func_name))
    sys.modules["__main__"] = sys.modules["main"]
    serve = make_server(program, channel)
    show = sys.__excepthook__
    leave = os._exit
    failure = sys.exc_info
    try:
        program.load(code)
        serve()
        leave(0)
    finally:
        # Reached by what the top level raised, and by what the candidate's signal handlers raise in our own code.
        try:
            show(*failure())
        finally:
            leave(1)


def make_server(program: Program, channel: int) -> Callable[[], None]:
    """The loop that reads requests and writes replies; all it needs is bound before the candidate's code runs."""
    read = os.read
    write = os.write
    process_id = os.getpid
    quote = encode_basestring_ascii
    seek = os.lseek
    truncate = os.ftruncate
    scan = make_reader()
    answering = process_id()

    def receive() -> str | None:
        chunks = [read(channel, READ_SIZE)]
        missing = 4 + int.from_bytes(chunks[0][:4], "big") - len(chunks[0])
        while missing > 0 and chunks[-1]:
            chunks.append(read(channel, missing))
            missing -= len(chunks[-1])
        # The owner hung up; or sent two requests in a row, which it does only where the candidate forged a reply.
        return None if missing else b"".join(chunks)[4:].decode()

    def send(nonce: str, kind: str, text: str) -> None:
        head = f'[{quote(nonce)}, "{kind}", '.encode()
        body = quote(text).encode()
        size = (len(head) + len(body) + 1).to_bytes(8, "big")
        parts: Iterable[bytes] = (size, head, body, b"]")
        # A large body is not copied once more: results may take most of the memory there is.
        for part in [b"".join(parts)] if len(body) < READ_SIZE else parts:
            view = memoryview(part)
            while view:
                view = view[write(channel, view) :]

    def forget_prints() -> None:
        # Nobody reads them, and the limit on output is for one test, not for all calls together.
        try:
            seek(1, 0, 0)
            truncate(1, 0)
        except OSError:
            return  # the candidate has closed its standard output, or put a pipe there

    def serve() -> None:
        # A child that the candidate forked may come back from the top level or a call; only its parent answers.
        while process_id() == answering and (request := receive()) is not None:
            message = scan(request, 0)[0]
            kind, text = program.answer(message["input"])
            if process_id() == answering:
                forget_prints()
                send(message["nonce"], kind, text)

    return serve
