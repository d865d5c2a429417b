"""One family of parametrised problems, and the making of a problem from a family and an index.

A family is data: text templates with ``$name`` places for its parameters, and three small functions. The expected
outputs come from ``solve``, written apart from the reference program, so that running the reference is a real test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from string import Template
from typing import Any, Literal

from evaluator.problem import Problem, ProblemTest

Params = dict[str, Any]
Lines = tuple[Any, ...]
"""The input of one test, a value a line. Standard input writes a sequence as words separated by spaces."""

HELD_OUT_MODULUS = 5
MAX_TESTS = 8
PUBLIC_TESTS = 2


@dataclass(frozen=True)
class StarterProblem:
    """A problem with the family it comes from and a program that solves it."""

    problem: Problem
    family: str
    reference: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A parametrised problem.

    ``draw`` returns the parameters: whatever the templates need, constants and words alike. ``program`` holds the lines
    of the reference, or of the method's body when ``signature`` (``name(self, ...) -> type``) makes the family
    functional. ``wrong_edits`` are (old, new) replacements in the program; each turns it into a plausible wrong one.
    ``inputs`` gives the inputs of 5 or more tests, the first two public; ``solve`` gives the answer to one of them.
    """

    name: str
    difficulty: Literal["easy", "medium", "hard"]
    statements: tuple[str, ...]
    draw: Callable[[Random], Params]
    program: tuple[str, ...]
    wrong_edits: tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
    inputs: Callable[[Params, Random], list[Lines]]
    solve: Callable[..., Any]
    signature: str = ""

    @property
    def func_name(self) -> str | None:
        return self.signature.split("(")[0] or None

    @property
    def starter_code(self) -> str:
        return f"class Solution:\n    def {self.signature}:\n        " if self.signature else ""

    def params(self, index: int) -> Params:
        """The parameters of variant ``index``; ``wording`` tells which statement template it uses."""
        rng = Random(stable_number(self.name, index))
        return {**self.draw(rng), "wording": rng.randrange(len(self.statements))}

    def is_held_out(self, params: Params) -> bool:
        """Whether a variant is kept from training: decided by its numbers alone, or its words if it has no number."""
        content = {name: value for name, value in params.items() if name != "wording"}
        numbers = {name: value for name, value in content.items() if isinstance(value, int)}
        return stable_number(self.name, sorted((numbers or content).items())) % HELD_OUT_MODULUS == 0

    def statement(self, params: Params) -> str:
        return Template(self.statements[params["wording"]]).substitute(params)

    def reference(self, params: Params) -> str:
        return self._source("\n".join(self.program), params)

    def wrong(self, params: Params) -> tuple[str, ...]:
        """Three programs that look right and are not."""
        program = "\n".join(self.program)
        return tuple(self._source(program.replace(old, new), params) for old, new in self.wrong_edits)

    def problem(self, index: int) -> StarterProblem:
        params = self.params(index)
        tests = self._tests(params, Random(stable_number(self.name, "tests", sorted(params.items()))))
        problem = Problem(
            question_id=f"starter/{self.name}/{index:04d}",
            question_title=self.name.replace("_", " ").capitalize(),
            question_content=self.statement(params),
            platform="other",
            difficulty=self.difficulty,
            contest_date=None,
            starter_code=self.starter_code,
            public_tests=tests[:PUBLIC_TESTS],
            private_tests=tests[PUBLIC_TESTS:],
            func_name=self.func_name,
            extra={"family": self.name},
        )
        return StarterProblem(problem, self.name, self.reference(params))

    def _source(self, program: str, params: Params) -> str:
        source = Template(program).substitute(params)
        if not self.signature:
            return source + "\n"
        return self.starter_code + source.replace("\n", "\n" + " " * 8) + "\n"

    def _tests(self, params: Params, rng: Random) -> tuple[ProblemTest, ...]:
        tests = (self._test(params, lines) for lines in self.inputs(params, rng))
        return tuple({test.input: test for test in tests}.values())[:MAX_TESTS]

    def _test(self, params: Params, lines: Lines) -> ProblemTest:
        answer = self.solve(params, *lines)
        if self.signature:
            return ProblemTest("\n".join(json.dumps(line) for line in lines), json.dumps(answer), "functional")
        return ProblemTest("".join(_words(line) + "\n" for line in lines), _words(answer) + "\n")


def stable_number(*parts: object) -> int:
    """A number that depends on ``parts`` only: the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
