"""Parse texts in a process of their own and report how well each fits as the program of an answer.

Run as a script by ``evaluator.parser_process``. One request (a line of JSON) at a time arrives on descriptor 0, which
is a socket, and one reply (another line) goes back:

    extract_code ──► ParserProcess ──Request──► main ──► rate_text, per text ──Reply──► ParserProcess

Why a process: the parser holds the GIL, cannot be interrupted, and is not always linear (256 kB of f"{x}{x}..." take
minutes). Here a timer of CPU time kills it, an address-space limit keeps it small, and the owner's threads run on.
Texts are parsed but never run.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import re
import resource
import signal
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache

MAX_MEMORY_BYTES = 2 << 30  # address space; the tree of 256 kB of source needs a quarter of this
CONNECTION = 0  # descriptor of the socket to the owner

# Names that a program for standard input mentions if it writes: it prints, or runs something else that may.
_WRITERS = frozenset(
    {
        *("print", "pprint", "pp", "write", "writelines", "writerow", "writerows", "writev", "pwrite", "write_text"),
        *("write_bytes", "stdout", "savetxt", "tofile", "sendfile", "copyfileobj", "builtins", "__builtins__", "exec"),
        *("system", "popen", "subprocess", "posix_spawn", "runpy", "ctypes", "execv", "execve", "execvp", "execl"),
    }
)
_READERS = frozenset(
    {
        *("input", "stdin", "open", "fileinput", "read", "readline", "readlines", "readinto", "raw_input", "fromfile"),
        *("loadtxt", "genfromtxt", "exec", "builtins", "__builtins__", "system", "subprocess", "runpy", "__import__"),
    }
)
_DYNAMIC = frozenset({"eval", "compile", "__import__", "importlib", "getattr", "globals", "vars", "displayhook"})
# Whoever mentions one of these may define names in ways that the tree does not show, or expects that some are missing.
_DEFINERS = frozenset(
    {
        *("exec", "globals", "locals", "vars", "setattr", "__dict__", "builtins", "__builtins__", "NameError"),
        *("import_module", "runpy"),
    }
)
_SITE_NAMES = frozenset({"exit", "quit", "copyright", "credits", "license", "help"})
_DUNDER = re.compile(r"__\w+__\Z")
_LIBRARIES = frozenset({"numpy", "scipy", "pandas", "sortedcontainers", "networkx", "sympy", "numba"})
_LEAVES = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.Constant)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_DISPLAYS = (
    *(ast.Constant, ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp),
    *(ast.GeneratorExp, ast.Compare),
)


class Fit(IntEnum):
    """Fit of a text as the program of an answer, in rising order.

    Attributes:
        UNFIT: not Python, empty, or without the required function.
        SNIPPET: cannot write output: a literal, an assignment, an assertion, definitions that nothing calls. For
            functions: a stub without a body.
        POSSIBLE: may write output, or define the function, in a way that the source does not show.
        FRAGMENT: writes output, or defines the function, but uses names that it does not define, as an example of use
            or an excerpt does.
        PRINTS: (standard input only) writes output and defines all that it uses, but reads nothing, as a demonstration.
        COMPLETE: reads, writes and defines all that it uses. For functions: defines the function and all that it uses.
    """

    UNFIT = 0
    SNIPPET = 1
    POSSIBLE = 2
    FRAGMENT = 3
    PRINTS = 4
    COMPLETE = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Request to rate the blocks of an answer.

    Attributes:
        func_name: function that the program must define; None for programs that read standard input.
        cpu_s: CPU time in seconds, after which this process is killed.
        blocks: the readings of each block, of which the first that is Python counts.
        final: for each block, whether no further block is rated if this one is complete.
    """

    func_name: str | None
    cpu_s: float
    blocks: list[list[str]]
    final: list[bool]


@dataclass(frozen=True)
class Rating:
    """Rating of one block: its fit, and the index of the reading that it refers to."""

    fit: Fit
    reading: int


def main() -> None:
    """Answer requests until the owner closes its end."""
    lower_limit(resource.RLIMIT_AS, MAX_MEMORY_BYTES)
    lower_limit(resource.RLIMIT_CORE, 0)
    # Both are inherited from the owner, and would make the timer ineffective.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    with open(CONNECTION, "rb") as requests:
        for line in requests:
            request = Request(**json.loads(line))
            signal.setitimer(signal.ITIMER_PROF, request.cpu_s)
            reply = json.dumps([(int(rating.fit), rating.reading) for rating in rate_blocks(request)])
            signal.setitimer(signal.ITIMER_PROF, 0)
            write_all(reply.encode() + b"\n")


def lower_limit(kind: int, value: int) -> None:
    """Lower a resource limit to ``value``, unless the owner's is lower already."""
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def write_all(data: bytes) -> None:
    """Write to the owner. It has to read everything, or end this process."""
    while data:
        data = data[os.write(CONNECTION, data) :]


def rate_blocks(request: Request) -> list[Rating]:
    """Rate the blocks in order, up to the first that is final and complete."""
    ratings: list[Rating] = []
    for readings, final in zip(request.blocks, request.final, strict=True):
        ratings.append(rate_readings(readings, request.func_name))
        if final and ratings[-1].fit is Fit.COMPLETE:
            break
    return ratings


def rate_readings(readings: list[str], func_name: str | None) -> Rating:
    """Rate the first reading that is Python."""
    for index, text in enumerate(readings):
        tree = parse(text)
        if tree is not None:
            try:
                return Rating(rate_tree(tree, func_name), index)
            except MemoryError:
                return Rating(Fit.UNFIT, index)
    return Rating(Fit.UNFIT, 0)


def parse(text: str) -> ast.Module | None:
    """Return the syntax tree of a text, or None if it is not a program."""
    try:
        return ast.parse(text)
    # ValueError: null bytes and lone surrogates; RecursionError and MemoryError: nested too deeply.
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def rate_tree(tree: ast.Module, func_name: str | None) -> Fit:
    """Rate a syntax tree as the program of an answer."""
    if not tree.body:
        return Fit.UNFIT
    usage = collect_usage(tree)
    return rate_script(usage) if func_name is None else rate_module(tree, usage, func_name)


# --- standard input ---------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Usage:
    """Names that a tree uses and defines, in any scope.

    Attributes:
        loaded: names that are read. Annotations do not count, since many are never evaluated.
        stored: names that are defined or assigned.
        mentioned: names, attributes and imported names.
        imports: first parts of the modules that are imported; "." for a relative import.
        has_star_import: a module is imported with ``*``.
        calls: something is called when the module is run, and not only when one of its functions is.
        prompts: ``input`` is called with a prompt.
    """

    loaded: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    mentioned: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    has_star_import: bool = False
    calls: bool = False
    prompts: bool = False

    @property
    def has_unknown_import(self) -> bool:
        """True if a module is imported that is neither Python's nor a usual library."""
        return any(not is_known_module(name) for name in self.imports)

    def get_undefined_names(self) -> set[str]:
        """Return the names that are used but neither defined nor built in."""
        if self.has_star_import or self.mentioned & _DEFINERS:
            return set()
        names = self.loaded - self.stored - _SITE_NAMES - vars(builtins).keys()
        return {name for name in names if not _DUNDER.match(name)}


def is_known_module(name: str) -> bool:
    """Return True if ``name`` is a module of Python's, or of a usual library."""
    return name in sys.stdlib_module_names or name in _LIBRARIES


def rate_script(usage: Usage) -> Fit:
    """Rate a program that reads standard input."""
    if not usage.calls and not usage.has_unknown_import:
        return Fit.SNIPPET
    if not usage.mentioned & _WRITERS:
        is_possible = usage.mentioned & _DYNAMIC or usage.has_unknown_import or usage.prompts
        return Fit.POSSIBLE if is_possible else Fit.SNIPPET
    if usage.get_undefined_names():
        return Fit.FRAGMENT
    return Fit.COMPLETE if usage.mentioned & _READERS else Fit.PRINTS


def collect_usage(tree: ast.Module) -> Usage:
    """Collect the names of a tree. Not recursive, because trees may be deeper than Python's stack."""
    usage = Usage()
    pending: list[tuple[ast.AST, bool]] = [(tree, True)]
    while pending:
        node, runs = pending.pop()
        if isinstance(node, ast.Name):  # half of all nodes
            (usage.loaded if isinstance(node.ctx, ast.Load) else usage.stored).add(node.id)
            continue
        record_node(node, runs, usage)
        pending += list_children(node, runs)
    usage.mentioned |= usage.loaded
    return usage


def list_children(node: ast.AST, runs: bool) -> list[tuple[ast.AST, bool]]:
    """Return the children of a node without annotations, each with whether it runs when the module is run."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [*((item, runs) for item in (*node.decorator_list, node.args)), *((item, False) for item in node.body)]
    if isinstance(node, ast.Lambda):
        return [(node.args, runs), (node.body, False)]
    if isinstance(node, ast.arg):
        return []
    if isinstance(node, ast.AnnAssign):
        return [(item, runs) for item in (node.target, node.value) if item is not None]
    return [(item, runs) for item in ast.iter_child_nodes(node) if not isinstance(item, _LEAVES)]


def record_node(node: ast.AST, runs: bool, usage: Usage) -> None:
    """Add the names of a node that is not a Name, without its children, to ``usage``."""
    match node:
        case ast.Attribute(attr=name):
            usage.mentioned.add(name)
        case ast.Call(func=function, args=arguments):
            usage.calls |= runs
            usage.prompts |= isinstance(function, ast.Name) and function.id == "input" and bool(arguments)
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            usage.stored.add(node.name)
            usage.calls |= runs and bool(node.decorator_list)
        case ast.Import(names=aliases):
            usage.imports |= {alias.name.partition(".")[0] for alias in aliases}
        case ast.ImportFrom(module=module, level=level):
            usage.imports.add(".") if level or module is None else usage.imports.add(module.partition(".")[0])
            usage.mentioned |= set(filter(None, [module]))
        case ast.alias(name="*"):
            usage.has_star_import = True
        case ast.alias(name=name, asname=new_name):
            usage.stored.add(new_name or name.partition(".")[0])
            usage.mentioned.add(name)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            usage.stored.add(name)
        case ast.arg(arg=name) | ast.MatchMapping(rest=str(name)):
            usage.stored.add(name)
        case ast.AugAssign(target=ast.Name(id=name)):
            usage.loaded.add(name)


# --- functions --------------------------------------------------------------------------------------------------------


class Binding(IntEnum):
    """Certainty that a scope binds a name, in rising order. A stub is a function without a body."""

    NONE = 0
    STUB = 1
    POSSIBLE = 2
    CERTAIN = 3


def rate_module(tree: ast.Module, usage: Usage, func_name: str) -> Fit:
    """Rate a program whose function, or method of ``Solution``, is called."""
    binding = max(find_binding(tree.body, func_name), find_method_binding(tree, func_name))
    if binding < Binding.CERTAIN and _may_bind(usage, func_name):
        binding = max(binding, Binding.POSSIBLE)
    if binding is Binding.CERTAIN:
        return Fit.FRAGMENT if usage.get_undefined_names() - load_prelude_names() else Fit.COMPLETE
    return {Binding.NONE: Fit.UNFIT, Binding.STUB: Fit.SNIPPET, Binding.POSSIBLE: Fit.POSSIBLE}[binding]


def _may_bind(usage: Usage, func_name: str) -> bool:
    """Return True if the module may bind the function, or add it to ``Solution``, by a call that runs."""
    return bool(usage.mentioned & {"exec", "globals", "setattr", "__dict__", "vars"}) or (
        usage.has_star_import and usage.has_unknown_import
    )


def iter_scope(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the nodes of one scope: everything in ``body`` but the insides of functions, classes and lambdas."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, _SCOPES):
            continue
        if isinstance(node, ast.comprehension):
            pending += [node.iter, *node.ifs]  # its target is a name of the comprehension only
        elif not isinstance(node, ast.AnnAssign) or node.value is not None:  # "f: int" binds nothing
            pending += ast.iter_child_nodes(node)


def is_display(value: ast.expr | None) -> bool:
    """Return True if the value of an expression is data that cannot be called, whatever its names stand for."""
    if isinstance(value, ast.UnaryOp):
        value = value.operand
    if isinstance(value, ast.BinOp):
        return isinstance(value.left, _DISPLAYS) or isinstance(value.right, _DISPLAYS)
    return isinstance(value, _DISPLAYS)


def find_binding(body: list[ast.stmt], name: str) -> Binding:
    """Return how surely the scope of ``body`` binds ``name``, in whatever way, to something that can be called."""
    found = Binding.NONE
    data_targets: set[int] = set()
    for node in iter_scope(body):
        # A parent comes before its children, so the targets of an assignment are known when they come.
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and is_display(node.value):
            data_targets |= {id(item) for item in (node.targets if isinstance(node, ast.Assign) else [node.target])}
        if id(node) not in data_targets:
            found = max(found, _get_node_binding(node, name))
    return found


def _get_node_binding(node: ast.AST, name: str) -> Binding:
    match node:
        case ast.FunctionDef(name=bound) | ast.AsyncFunctionDef(name=bound):
            if bound == name:
                return Binding.STUB if is_stub(node.body) else Binding.CERTAIN
            return Binding.CERTAIN if _declares_global(node, name) else Binding.NONE
        case ast.ClassDef(name=bound) | ast.Name(id=bound, ctx=ast.Store()) | ast.MatchStar(name=bound):
            return Binding.CERTAIN if bound == name else Binding.NONE
        case ast.MatchAs(name=bound) | ast.MatchMapping(rest=bound):
            return Binding.CERTAIN if bound == name else Binding.NONE
        case ast.Import(names=aliases):
            known = {
                alias.asname or alias.name.partition(".")[0]: is_known_module(alias.name.partition(".")[0])
                for alias in aliases
            }
        case ast.ImportFrom(module=module, names=aliases, level=level):
            is_known = not level and module is not None and is_known_module(module.partition(".")[0])
            known = {alias.asname or alias.name: is_known for alias in aliases}
        case _:
            return Binding.NONE
    if name not in known:
        return Binding.NONE
    return Binding.CERTAIN if known[name] else Binding.POSSIBLE


def is_stub(body: list[ast.stmt]) -> bool:
    """Return True if the body of a function does nothing: pass, ..., a docstring, or raise NotImplementedError."""
    for node in body:
        match node:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                continue
            case ast.Raise(exc=ast.Name(id="NotImplementedError")):
                continue
            case ast.Raise(exc=ast.Call(func=ast.Name(id="NotImplementedError"))):
                continue
            case _:
                return False
    return True


def _declares_global(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    return any(isinstance(node, ast.Global) and name in node.names for node in ast.walk(function))


def find_method_binding(tree: ast.Module, func_name: str) -> Binding:
    """Return how surely the module's ``Solution`` has, inherits or is given the method ``func_name``."""
    found = Binding.NONE
    sources: dict[str, list[ast.expr | ast.ClassDef]] = {}  # classes and values, by the names that they are bound to
    for node in iter_scope(tree.body):
        match node:
            case ast.ClassDef(name=name):
                sources.setdefault(name, []).append(node)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        sources.setdefault(target.id, []).append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                sources.setdefault(name, []).append(value)
            case ast.Attribute(attr=attribute, value=ast.Name(id="Solution"), ctx=ast.Store()):
                found = max(found, Binding.CERTAIN if attribute == func_name else Binding.NONE)
    if "Solution" not in sources:
        return max(found, find_binding(tree.body, "Solution"))  # by an import, a loop, a with statement ...
    return max(found, _find_inherited_binding(sources, func_name))


def _find_inherited_binding(sources: dict[str, list[ast.expr | ast.ClassDef]], func_name: str) -> Binding:
    """Look for ``func_name`` in ``Solution``, in what it is another name of, and in what it inherits from."""
    found = Binding.NONE
    seen = {"object"}
    pending: list[ast.expr | ast.ClassDef] = [*sources["Solution"]]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ClassDef):
            found = max(found, _find_class_binding(node, func_name))
            pending += node.bases
        elif isinstance(node, ast.Name) and node.id in seen:
            continue
        elif isinstance(node, ast.Name) and node.id in sources:
            seen.add(node.id)
            pending += sources[node.id]
        elif not is_display(node):
            return Binding.CERTAIN  # made by a call or an import: the source does not show what it has
    return found


def _find_class_binding(node: ast.ClassDef, func_name: str) -> Binding:
    found = find_binding(node.body, func_name)
    for item in ast.walk(node):
        match item:
            case ast.Attribute(attr=attribute, ctx=ast.Store()) if attribute == func_name:
                return Binding.CERTAIN  # self.f = ...
            case ast.FunctionDef(name="__getattr__" | "__getattribute__"):
                found = max(found, Binding.POSSIBLE)
    if node.decorator_list or node.keywords:
        found = max(found, Binding.POSSIBLE)  # a decorator or a metaclass may add it
    return found


@cache
def load_prelude_names() -> frozenset[str]:
    """Load the names that are predefined for functions. Only once, and only if needed: it imports many modules."""
    # An empty parent package: the real __init__ would load the whole evaluator.
    package = types.ModuleType("evaluator")
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules.setdefault("evaluator", package)
    from evaluator.inside import functional

    optional = re.findall(r"Sorted\w+", functional.SORTED_CONTAINERS)  # may not be importable here
    return frozenset({*functional.load_prelude().names, *optional})


if __name__ == "__main__":
    main()
