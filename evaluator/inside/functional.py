"""Call one function of a candidate for test after test in one process: the part of LeetCode's judge inside the sandbox.

    owner ──{"nonce", "input"}──► read ──► arguments ──► Solution().f(...) ──► JSON text ──[nonce, kind, text]──► owner

As in LeetCode's judge, the program gets its usual names, each call gets a fresh ``Solution``, JSON lists become linked
lists and trees where the problem's signature says so, and the changed first argument is the result of a function that
returns None. A result is written from the values it really holds, whatever methods the candidate overrides.

The candidate shares this process and may forge, corrupt or withhold replies. It does not know the expected output, so a
forged reply is worth no more than its text, and any other interference means that the owner gets no valid reply.
Expected outputs never reach this process.
"""

from __future__ import annotations

import ast
import builtins
import functools
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

from evaluator.inside.values import from_tagged, get_items, is_plain, make_json_encoder, to_plain, to_result_text

# A candidate may delete or replace builtins. CPython takes a function's builtins from its module's ``__builtins__``
# when the function is created, so everything defined below keeps this copy.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

T = TypeVar("T")

RECURSION_LIMIT = 550_000  # LeetCode's limit
MAX_NODES = 1_000_000  # nodes of a linked list or tree in a result; LeetCode's problems have up to 100,000
READ_SIZE = 1 << 16  # bytes; most requests fit into one read, and shorter replies into one write

# Names that LeetCode defines before a solution. ``typing`` is imported first and ``builtins`` late, so that Counter and
# pow have their usual meaning. Modules are imported last, so that ``copy``, ``random`` and ``bisect`` are modules.
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
    """Node of LeetCode's singly linked lists."""

    def __init__(self, val: Any = 0, next: Any = None) -> None:
        self.val = val
        self.next = next


class TreeNode:
    """Node of LeetCode's binary trees."""

    def __init__(self, val: Any = 0, left: Any = None, right: Any = None) -> None:
        self.val = val
        self.left = left
        self.right = right


class EndlessError(ValueError):
    """Error for a linked list or tree that does not end."""


@dataclass(frozen=True)
class Prelude:
    """Names that are predefined for a program.

    ``main`` is prepared before any fork, because copying ``names`` counts a reference to each value: in a forked
    process, that would write to 400 pages, which the kernel must copy first.

    Attributes:
        names: names that LeetCode defines beyond Python's builtins.
        main: namespace of a new main module with these names.
    """

    names: dict[str, Any]
    main: dict[str, Any]


@functools.cache
def load_prelude() -> Prelude:
    """Load the prelude, once in a process. Call this before any fork."""
    names: dict[str, Any] = {}
    exec(PRELUDE, names)
    if importlib.util.find_spec("sortedcontainers") is not None:
        exec(SORTED_CONTAINERS, names)
    names |= {"ListNode": ListNode, "TreeNode": TreeNode}
    builtin_names = vars(builtins)
    names = {
        name: value
        for name, value in names.items()
        if not name.startswith("__") and not (name in builtin_names and builtin_names[name] is value)
    }
    return Prelude(names, create_main_namespace(names))


def create_main_namespace(names: dict[str, Any]) -> dict[str, Any]:
    """Create a new main module and return its namespace, which includes ``names``.

    Its ``__name__`` is not ``__main__``, because this judge, like LiveCodeBench's, imports a solution: models often end
    one with a main guard that reads a test from standard input, which is empty here.
    """
    main = types.ModuleType("main")
    main.__dict__.update(names, __builtins__=builtins, __file__="main.py")
    sys.modules["main"] = main
    return main.__dict__


# --- signatures: which JSON lists represent nodes ------------------------------------------------------------------


@dataclass(frozen=True)
class NodeType:
    """``ListNode`` or ``TreeNode`` within ``depth`` lists: ``List[Optional[ListNode]]`` has depth 1."""

    name: str
    depth: int = 0


@dataclass(frozen=True)
class Signature:
    """Relevant parts of a function's annotations.

    Attributes:
        parameters: node type of each parameter; None for other types.
        result: node type of the result; None for other types.
        in_place: the function returns None, so its result is its first argument.
    """

    parameters: tuple[NodeType | None, ...]
    result: NodeType | None
    in_place: bool


PLAIN_SIGNATURE = Signature((), None, False)
_FUNCTION = re.compile(r"^[ \t]*(?:async[ \t]+)?(?P<function>def[ \t]+(?P<name>\w+))", re.MULTILINE)
_DOCSTRING = re.compile(r"""\s*[rR]?(\"{3}|'{3})(.*?)(?:\1|\Z)""", re.DOTALL)
# ":type head: Optional[ListNode]" or ":rtype: None Do not return anything". Spaces occur only within brackets.
_DOCSTRING_TYPE = re.compile(r":(?:rtype|type[ \t]+(?P<name>\w+))[ \t]*:[ \t]*(?P<type>[\w.]+(?:\[[^\n]*\])?)")
_NO_RESULT = re.compile(r"\bdo not return anything\b", re.IGNORECASE)


def parse_starter_signature(starter_code: str, func_name: str) -> Signature | None:
    """Return the signature of ``func_name`` in a problem's starter code; None if it is missing or has no types.

    Types are annotations, or in the docstring.

    >>> parse_starter_signature("class Solution:\\n    def f(self, head: Optional[ListNode]) -> None:\\n        ", "f")
    Signature(parameters=(NodeType(name='ListNode', depth=0),), result=None, in_place=True)
    """
    # Not a pattern with the name in it, which each process would have to compile.
    start = next((found for found in _FUNCTION.finditer(starter_code) if found["name"] == func_name), None)
    if start is None:
        return None
    text = starter_code[start.start("function") :]
    # Starter code has no body, and parameters contain colons too: the header ends at the first colon up to which it
    # parses. A header has few colons; the bound is for text that is not Python at all.
    for colon in itertools.islice(re.finditer(":", text), 200):
        header = text[: colon.end()]
        if header.count("(") == header.count(")"):
            try:
                tree = ast.parse(header + " pass")
            except (SyntaxError, ValueError):
                continue
            docstring = _DOCSTRING.match(text, colon.end())
            return _build_signature(tree, docstring[2] if docstring else "")
    return None


def read_candidate_signature(function: Callable[..., object]) -> Signature | None:
    """Return the signature from a candidate's own annotations, which may make this raise any exception."""
    signature = inspect.signature(function)
    # Defaults are removed, because the text of many of them, such as of a function, does not parse.
    parameters = [parameter.replace(default=parameter.empty) for parameter in signature.parameters.values()]
    tree = ast.parse(f"def f{signature.replace(parameters=parameters)}: pass")
    return _build_signature(tree, function.__doc__ or "")


def _build_signature(tree: ast.Module, docstring: str) -> Signature | None:
    """Return the signature from annotations and, where these are missing, from the types in the docstring."""
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    arguments = [*function.args.posonlyargs, *function.args.args]
    if arguments and arguments[0].arg in ("self", "cls"):
        arguments = arguments[1:]
    types_by_name, result_type = _read_docstring_types(docstring)
    annotations = [argument.annotation or types_by_name.get(argument.arg) for argument in arguments]
    result = function.returns or result_type
    if result is None and not any(annotations):
        return None
    in_place = isinstance(result, ast.Constant) and result.value in (None, "None")
    return Signature(tuple(map(_find_node_type, annotations)), _find_node_type(result), in_place)


def _read_docstring_types(docstring: str) -> tuple[dict[str, ast.expr], ast.expr | None]:
    """Return the types of parameters and of the result in a docstring, as in LeetCode's starter code for Python 2.

    The result of a function that is told to return nothing is None.
    """
    types_by_name = {}
    result = None
    for match in _DOCSTRING_TYPE.finditer(docstring):
        text = "None" if match["type"] == "void" else match["type"]
        try:
            parsed = ast.parse(text, mode="eval").body
        except SyntaxError:
            continue
        if match["name"] is None:
            result = parsed
        else:
            types_by_name[match["name"]] = parsed
    if result is None and _NO_RESULT.search(docstring):
        result = ast.Constant(None)
    return types_by_name, result


def _find_node_type(annotation: ast.expr | None) -> NodeType | None:
    """Return the node type that an annotation names, if any.

    The annotation may be quoted, in ``ForwardRef``, or prefixed by a module's name.
    """
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in ("ListNode", "TreeNode"):
            return NodeType(name)
        case ast.Constant(value=str(text)):
            return _find_node_type(ast.parse(text, mode="eval").body)
        case ast.Call(args=[inner]):
            return _find_node_type(inner)
        case ast.BinOp(left=left, right=right):
            return _find_node_type(left) or _find_node_type(right)
        case ast.Subscript(value=ast.Name(id=outer) | ast.Attribute(attr=outer), slice=inner):
            choices = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            node_type = next(filter(None, map(_find_node_type, choices)), None)
            if node_type is None or outer in ("Optional", "Union"):
                return node_type
            return NodeType(node_type.name, node_type.depth + 1) if outer in ("List", "list") else None
    return None


# --- nodes from and to JSON lists ---------------------------------------------------------------------------------


def to_nodes(value: object, node: NodeType | None, names: dict[str, Any]) -> object:
    """Convert the lists in a decoded JSON argument to nodes. null and ``[]`` become None."""
    if node is None or not isinstance(value, list):
        return value
    if node.depth:
        inner = NodeType(node.name, node.depth - 1)
        return [to_nodes(item, inner, names) for item in value]
    make = _build_linked_list if node.name == "ListNode" else _build_tree
    return make(value, _choose_node_class(node, names))


def _choose_node_class(node: NodeType, names: dict[str, Any]) -> Callable[[object], Any]:
    """Return the program's own class ``node.name`` if it can be constructed from one value.

    Otherwise return our ``ListNode`` or ``TreeNode``.
    """
    own_class = names.get(node.name)
    if isinstance(own_class, type) and not isinstance(attempt(lambda: own_class(0)), Failure):
        return own_class
    return ListNode if node.name == "ListNode" else TreeNode


def _build_linked_list(values: list[object], node_class: Callable[[object], Any]) -> object:
    head = None
    for value in reversed(values):
        node = node_class(value)
        node.next = head
        head = node
    return head


def _build_tree(values: list[object], node_class: Callable[[object], Any]) -> object:
    """Build a tree level by level. null is a missing child, and missing nodes have no children in the list."""
    if not values or values[0] is None:
        return None
    root = node_class(values[0])
    parents = deque([root])
    rest = iter(values[1:])
    while parents:
        parent = parents.popleft()
        for side, value in zip(("left", "right"), rest, strict=False):
            child = None if value is None else node_class(value)
            setattr(parent, side, child)
            if child is not None:
                parents.append(child)
    return root


def from_nodes(value: object, node: NodeType) -> list[object]:
    """Convert nodes to the list that LeetCode writes for them.

    Raises EndlessError; any other exception if the value is not such a node.
    """
    if node.depth:
        inner = NodeType(node.name, node.depth - 1)
        return [from_nodes(item, inner) for item in get_items(value)]
    return _list_values(value) if node.name == "ListNode" else _tree_values(value)


def _list_values(head: Any) -> list[object]:
    values: list[object] = []
    while head is not None:
        if len(values) == MAX_NODES:
            raise EndlessError(f"the linked list has a cycle, or more than {MAX_NODES} nodes")
        values.append(head.val)
        head = head.next
    return values


def _tree_values(root: Any) -> list[object]:
    values: list[object] = []
    nodes = deque([root])
    while nodes:
        if len(values) >= 2 * MAX_NODES:  # values include missing children
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


def make_json_reader() -> Callable[[str, int], tuple[Any, int]]:
    """Return json's scanner in C: it parses the value at an index of a text and returns it with its end index.

    The scanner raises StopIteration if there is no value.
    """
    scanner: Callable[[str, int], tuple[Any, int]] = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]
    return scanner


def make_serialiser() -> Callable[[object, NodeType | None], str]:
    """Return a function that converts a result to ASCII JSON text.

    The function raises NotJsonError, EndlessError or ValueError.
    """
    encode = make_json_encoder()

    def serialise(value: object, node: NodeType | None) -> str:
        if node is not None:
            value = from_nodes(value, node)
        return encode(value if is_plain((value,), levels=4) else to_plain(value, set()))

    return serialise


# --- calls --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """Exception raised by the candidate's code."""

    error: BaseException


def attempt(action: Callable[[], T]) -> T | Failure:
    """Return the result of ``action``, or a Failure if it raises. SystemExit and KeyboardInterrupt are failures too."""
    try:
        return action()
    except BaseException as error:  # noqa: BLE001 - see the docstring
        return Failure(error)


def describe_error(error: BaseException) -> str:
    """Return name and message of an exception, cut to 1000 characters.

    Reading them may raise, or return false names, if the exception is a candidate's.
    """
    name = "MemoryError" if issubclass(type(error), MemoryError) else ""
    text = attempt(lambda: f"{name or type(error).__name__}: {error}"[:1000])
    return "an exception that cannot be shown" if isinstance(text, Failure) else text


def find_function(names: dict[str, Any], func_name: str, prelude: dict[str, Any]) -> Callable[..., object]:
    """Return a method of a fresh ``Solution``, or a function.

    Raises NameError or AttributeError if there is neither.
    """
    function: Callable[..., object] | None = names.get(func_name)
    if function is prelude.get(func_name):
        function = None  # a name of the prelude, such as ``add`` from operator, is not a solution
    solution = names.get("Solution")
    if callable(solution) and (
        function is None or hasattr(solution, func_name)
    ):  # callable(): a decorator may replace the class
        method: Callable[..., object] = getattr(solution(), func_name)
        return method
    if function is None:
        raise NameError(f"neither Solution.{func_name} nor {func_name} is defined")
    return function


def is_name_bound(code: types.CodeType, name: str) -> bool:
    """Return True if the top level of a program binds ``name``, such as by an import of the prelude's own function."""
    if name not in code.co_names:
        return False
    import dis  # slow to import, and needed by few programs

    stores = ("STORE_NAME", "STORE_GLOBAL")
    return any(step.opname in stores and step.argval == name for step in dis.get_instructions(code))


def await_result(value: object) -> object:
    """Run a coroutine and return its result. Any other value is returned unchanged."""
    if type(value) is types.CoroutineType:
        import asyncio  # slow to import, and needed by few programs

        return asyncio.run(value)
    return value


class CandidateProgram:
    """Loaded candidate: its namespace, and the signature with which its function is called."""

    def __init__(self, func_name: str, prelude: Prelude, signature: Signature | None) -> None:
        self._func_name = func_name
        self._prelude = prelude.names
        self._signature = signature
        self._scan = make_json_reader()
        self._serialise = make_serialiser()
        self._names = prelude.main
        # Arguments of the last call, kept until the next ones are read. If everything were freed between calls, the
        # memory of large arguments would go back to the kernel and be mapped again, for a third of the call's time.
        self._values: list[object] = []

    def load(self, code: types.CodeType) -> None:
        """Run the program's top level. Its exceptions propagate, except SystemExit.

        A program may exit after a demonstration. Functions defined by then can be called.
        """
        try:
            exec(code, self._names)
        except SystemExit:
            return
        finally:
            if self._prelude.get(self._func_name) is not None and is_name_bound(code, self._func_name):
                self._prelude = {}

    def answer(self, arguments: str) -> tuple[str, str]:
        """Answer one call with (kind, text): ``value`` and JSON, ``error``, or ``type`` if the result is not JSON."""
        result = attempt(lambda: self._call(arguments))
        if isinstance(result, Failure):
            return "error", describe_error(result.error)
        text = attempt(lambda: self._serialise_result(result))
        if isinstance(text, Failure):
            too_large = issubclass(type(text.error), (MemoryError, EndlessError))
            return "error" if too_large else "type", describe_error(text.error)
        return "value", text

    def _serialise_result(self, result: Any) -> str:
        """Return the text of a result of ``_call``."""
        return self._serialise(*result)

    def _call(self, arguments: str) -> Any:
        """Call the function. Returns the result and the node type to convert it from."""
        function = find_function(self._names, self._func_name, self._prelude)
        signature = self._signature
        if signature is None:
            annotated = attempt(lambda: read_candidate_signature(function))
            signature = PLAIN_SIGNATURE if annotated is None or isinstance(annotated, Failure) else annotated
            self._signature = signature
        values = self._values = [self._read_value(line) for line in map(str.strip, arguments.split("\n")) if line]
        if any(signature.parameters):
            nodes = itertools.chain(signature.parameters, itertools.repeat(None))
            values = [to_nodes(value, node, self._names) for value, node in zip(values, nodes, strict=False)]
        result = await_result(function(*values))
        if signature.in_place and values:
            return values[0], next(iter(signature.parameters), None)
        return result, signature.result

    def _read_value(self, line: str) -> object:
        value, end = self._scan(line, 0)
        if end != len(line):
            raise ValueError("a line of the input holds more than one JSON value")
        return value


class PythonCandidateProgram(CandidateProgram):
    """Candidate that defines a plain function, called with Python values (tagged JSON, see ``values``).

    Its namespace contains only its own names and those of ``starter_code``, a complete program with imports and helper
    functions. The stub of the function itself in ``starter_code`` is removed. The result is what the function returns.
    """

    def __init__(self, func_name: str, starter_code: str) -> None:
        self._func_name = func_name
        self._starter_code = starter_code
        self._prelude = {}
        self._scan = make_json_reader()
        self._names = create_main_namespace({})

    def load(self, code: types.CodeType) -> None:
        """Run the starter code, remove its stub of the function, then run the program's top level."""
        exec(compile(self._starter_code, "starter.py", "exec", dont_inherit=True), self._names)
        self._names.pop(self._func_name, None)
        super().load(code)

    def _call(self, arguments: str) -> Any:
        lines = [line for line in map(str.strip, arguments.split("\n")) if line]
        values = self._values = [from_tagged(self._read_value(line)) for line in lines]
        function = self._names.get(self._func_name)
        if function is None:
            raise NameError(f"name {self._func_name!r} is not defined")
        return function(*values)

    def _serialise_result(self, result: object) -> str:
        return to_result_text(result)


def answer_calls(
    code: types.CodeType,
    func_name: str,
    prelude: Prelude,
    channel: int,
    starter_code: str = "",
    values: str = "json",
) -> NoReturn:
    """Load the program, then answer requests on ``channel`` until the owner closes it. Ends the process.

    A request is 4 bytes of length and ``{"nonce", "input"}``, a reply 8 bytes of length and ``[nonce, kind, text]``,
    both JSON. The exit status is 0 after the owner closed the channel, and 1 with a traceback on stderr if the program
    cannot be loaded or breaks the harness.

    Args:
        code: the compiled program.
        func_name: name of the function to call.
        prelude: names predefined for the program.
        channel: descriptor of the channel to the owner.
        starter_code: starter code of the problem. Without annotations in it, those of the program are used.
        values: encoding of arguments and results: "json", or "python" for tagged JSON.
    """
    sys.argv[:] = ["main.py"]
    os.set_inheritable(channel, False)  # or a command that the candidate left running would keep the channel open
    sys.setrecursionlimit(RECURSION_LIMIT)
    program: CandidateProgram
    if values == "python":
        program = PythonCandidateProgram(func_name, starter_code)
    else:
        program = CandidateProgram(func_name, prelude, parse_starter_signature(starter_code, func_name))
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
        # Reached by exceptions of the program's top level, and of the candidate's signal handlers in this code.
        try:
            show(*failure())
        finally:
            leave(1)


def make_server(program: CandidateProgram, channel: int) -> Callable[[], None]:
    """Return the loop that reads requests and writes replies.

    Everything it needs is bound here, before the candidate's code runs and could replace it.
    """
    read = os.read
    write = os.write
    process_id = os.getpid
    quote = encode_basestring_ascii
    scan = make_json_reader()
    answering = process_id()

    def receive() -> str | None:
        chunks = [read(channel, READ_SIZE)]
        missing = 4 + int.from_bytes(chunks[0][:4], "big") - len(chunks[0])
        while missing > 0 and chunks[-1]:
            chunks.append(read(channel, missing))
            missing -= len(chunks[-1])
        # Incomplete: the owner closed the channel. Too long (negative): the owner sent two requests in a row, which it
        # does only if the candidate forged a reply.
        return None if missing else b"".join(chunks)[4:].decode()

    def send(nonce: str, kind: str, text: str) -> None:
        head = f'[{quote(nonce)}, "{kind}", '.encode()
        body = quote(text).encode()
        size = (len(head) + len(body) + 1).to_bytes(8, "big")
        parts: Iterable[bytes] = (size, head, body, b"]")
        # A large body is not copied again, because the result may already take most of the memory.
        for part in [b"".join(parts)] if len(body) < READ_SIZE else parts:
            view = memoryview(part)
            while view:
                view = view[write(channel, view) :]

    def serve() -> None:
        # A child forked by the candidate may return from the top level or a call, but only its parent may answer.
        while process_id() == answering and (request := receive()) is not None:
            message = scan(request, 0)[0]
            kind, text = program.answer(message["input"])
            if process_id() == answering:
                send(message["nonce"], kind, text)

    return serve
