"""A family of parametrized problems, and construction of a problem from a family and an index.

A family is data: text templates with ``$name`` placeholders for its parameters, and three small functions. The expected
outputs come from ``solve``, which is written independently of the reference program, so that running the reference
against them is a real test.
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
InputLines = tuple[Any, ...]
"""The input of one test, one value per line. On standard input, a sequence is written as space-separated words."""

HELD_OUT_MODULUS = 5
MAX_TESTS = 8
PUBLIC_TESTS = 2


@dataclass(frozen=True, kw_only=True)
class StarterProblem:
    """A problem with the name of its family, a program that solves it, and one with the family's planted mistake."""

    problem: Problem
    family: str
    reference: str
    flawed: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A parametrized problem.

    Attributes:
        name: unique name.
        difficulty: difficulty of all variants.
        statements: templates of the statement; each variant uses one of them.
        draw: draws the parameters of a variant, that is, all constants and words that the templates need.
        program: template of the reference program, as lines; of a method's body if there is a ``signature``.
        wrong_edits: (old, new) replacements in the program; each makes a plausible but wrong program. The first is the
            mistake that flawed answers of the warm start make.
        inputs: makes the inputs of 5 or more tests; the first two tests are public.
        solve: computes the expected answer, given the parameters and the lines of an input.
        signature: ``name(self, ...) -> type`` for functional problems; empty for standard input and output.
    """

    name: str
    difficulty: Literal["easy", "medium", "hard"]
    statements: tuple[str, ...]
    draw: Callable[[Random], Params]
    program: tuple[str, ...]
    wrong_edits: tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
    inputs: Callable[[Params, Random], list[InputLines]]
    solve: Callable[..., Any]
    signature: str = ""

    @property
    def func_name(self) -> str | None:
        return self.signature.split("(")[0] or None

    @property
    def starter_code(self) -> str:
        return f"class Solution:\n    def {self.signature}:\n        " if self.signature else ""

    def draw_params(self, index: int) -> Params:
        """Draw the parameters of variant ``index``; ``wording`` is the index of its statement template."""
        rng = Random(stable_hash(self.name, index))
        return {**self.draw(rng), "wording": rng.randrange(len(self.statements))}

    def is_held_out(self, params: Params) -> bool:
        """Return True if a variant is excluded from training.

        This depends on its numbers only, or on its words if it has no number, so that all wordings and word choices of
        the same numbers are on the same side of the split.
        """
        content = {name: value for name, value in params.items() if name != "wording"}
        numbers = {name: value for name, value in content.items() if isinstance(value, int)}
        return stable_hash(self.name, sorted((numbers or content).items())) % HELD_OUT_MODULUS == 0

    def format_statement(self, params: Params) -> str:
        return Template(self.statements[params["wording"]]).substitute(params)

    def format_reference(self, params: Params) -> str:
        return self._format_source("\n".join(self.program), params)

    def make_wrong_programs(self, params: Params) -> tuple[str, ...]:
        """Make three programs that look right but are wrong."""
        program = "\n".join(self.program)
        return tuple(self._format_source(program.replace(old, new), params) for old, new in self.wrong_edits)

    def make_problem(self, index: int, part: str = "other") -> StarterProblem:
        """Make variant ``index`` of the problem; ``part`` of the problem set becomes its platform."""
        params = self.draw_params(index)
        tests = self._make_tests(params, Random(stable_hash(self.name, "tests", sorted(params.items()))))
        problem = Problem(
            question_id=f"starter/{self.name}/{index:04d}",
            question_title=self.name.replace("_", " ").capitalize(),
            question_content=self.format_statement(params),
            platform=part,
            difficulty=self.difficulty,
            contest_date=None,
            starter_code=self.starter_code,
            public_tests=tests[:PUBLIC_TESTS],
            private_tests=tests[PUBLIC_TESTS:],
            func_name=self.func_name,
            extra={"family": self.name},
        )
        return StarterProblem(
            problem=problem,
            family=self.name,
            reference=self.format_reference(params),
            flawed=self.make_wrong_programs(params)[0],
        )

    def _format_source(self, program: str, params: Params) -> str:
        source = Template(program).substitute(params)
        if not self.signature:
            return source + "\n"
        return self.starter_code + source.replace("\n", "\n" + " " * 8) + "\n"

    def _make_tests(self, params: Params, rng: Random) -> tuple[ProblemTest, ...]:
        tests = (self._make_test(params, lines) for lines in self.inputs(params, rng))
        return tuple({test.input: test for test in tests}.values())[:MAX_TESTS]

    def _make_test(self, params: Params, lines: InputLines) -> ProblemTest:
        answer = self.solve(params, *lines)
        if self.signature:
            return ProblemTest("\n".join(json.dumps(line) for line in lines), json.dumps(answer), "functional")
        return ProblemTest("".join(_join_words(line) + "\n" for line in lines), _join_words(answer) + "\n")


def stable_hash(*parts: object) -> int:
    """Return a 64-bit hash of ``parts`` that is the same in every process, unlike Python's ``hash``."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def _join_words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
