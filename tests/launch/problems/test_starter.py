"""Built-in problem set: counts and splits, and tests that accept right programs and reject wrong ones."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from evaluator.evaluator import Evaluator
from evaluator.problem import Problem
from launch.problems import starter
from launch.problems.starter import (
    FAMILIES,
    TRAINED_FAMILIES,
    UNKNOWN_FAMILIES,
    UNTRAINED_FAMILIES,
    build_held_out_problems,
    build_training_problems,
    draw_warm_start_problems,
)
from launch.problems.starter.family import Family, StarterProblem

ALL = (*build_training_problems(), *build_held_out_problems())
BY_NAME = {family.name: family for family in FAMILIES}


def passes_tests(problem: Problem, code: str) -> bool:
    """Run a trusted program in this process on the problem's tests; stop at the first failure."""
    try:
        return all(
            call_function(problem, code, test.input) == json.loads(test.output)
            if problem.func_name
            else run_program(code, test.input).split() == test.output.split()
            for test in problem.tests
        )
    except Exception:  # noqa: BLE001 - a wrong program may fail in any way
        return False


def call_function(problem: Problem, code: str, arguments: str) -> Any:
    scope: dict[str, Any] = {}
    exec(code, scope)
    return getattr(scope["Solution"](), problem.func_name or "")(*map(json.loads, arguments.split("\n")))


def run_program(code: str, text: str) -> str:
    """Return what the program prints, given ``text`` on standard input."""
    out = io.StringIO()
    original_stdin = sys.stdin
    sys.stdin = io.StringIO(text)
    try:
        with contextlib.redirect_stdout(out):
            exec(code, {"__name__": "__main__"})
    finally:
        sys.stdin = original_stdin
    return out.getvalue()


def variant_index(problem: Problem) -> int:
    return int(problem.question_id.rsplit("/", 1)[1])


def family_and_numbers(problem: Problem) -> tuple[object, ...]:
    """Return the problem's family and its drawn numbers (or words, if it has no numbers)."""
    family = problem.extra["family"]
    params = {name: x for name, x in BY_NAME[family].draw_params(variant_index(problem)).items() if name != "wording"}
    numbers = {name: x for name, x in params.items() if isinstance(x, int)}
    return family, *sorted((numbers or params).items())


def test_problem_and_family_counts() -> None:
    parts = Counter(item.problem.platform for item in build_held_out_problems())
    assert parts == {"trained": 96, "untrained": 32, "unknown": 16}
    assert {item.problem.platform for item in build_training_problems()} == {"trained"}
    assert len(build_training_problems()) == 384
    assert len({item.problem.question_id for item in ALL}) == len(ALL)
    assert (len(TRAINED_FAMILIES), len(UNTRAINED_FAMILIES), len(UNKNOWN_FAMILIES)) == (24, 8, 4)
    assert len(BY_NAME) == len(FAMILIES) == 36
    assert {item.family for item in build_training_problems()} == {family.name for family in TRAINED_FAMILIES}


def test_parts_of_the_problem_set_have_their_families() -> None:
    families = {"trained": TRAINED_FAMILIES, "untrained": UNTRAINED_FAMILIES, "unknown": UNKNOWN_FAMILIES}
    for part, expected in families.items():
        names = {item.family for item in build_held_out_problems() if item.problem.platform == part}
        assert names == {family.name for family in expected}


def test_a_quarter_of_the_families_is_functional() -> None:
    assert 0.25 <= sum(bool(family.signature) for family in FAMILIES) / len(FAMILIES) <= 0.30


def test_reference_programs_differ_in_more_than_constants() -> None:
    skeletons = {re.sub(r'\d+|"[^"]*"|def \w+', "_", "\n".join(family.program)) for family in FAMILIES}
    assert len(skeletons) >= len(FAMILIES) - 3


def test_problem_fields() -> None:
    for item in ALL:
        problem = item.problem
        assert re.fullmatch(rf"starter/{item.family}/\d{{4}}", problem.question_id)
        assert (problem.contest_date, problem.extra) == (None, {"family": item.family})
        assert 5 <= len(problem.tests) <= 8
        assert len(problem.public_tests) == 2
        assert len({test.input for test in problem.tests}) == len(problem.tests)
        assert {test.testtype for test in problem.tests} == {"functional" if problem.func_name else "stdin"}
        assert "$" not in problem.question_content + item.reference
        assert item.reference.startswith(problem.starter_code)


def test_flawed_programs_have_the_first_wrong_edit_and_fail() -> None:
    for item in ALL:
        family = BY_NAME[item.family]
        assert item.flawed == family.make_wrong_programs(family.draw_params(variant_index(item.problem)))[0]
        assert not passes_tests(item.problem, item.flawed), item.problem.question_id


def test_every_problem_has_different_outputs() -> None:
    for item in ALL:
        assert len({test.output for test in item.problem.tests}) > 1, item.problem.question_id


def test_statements_and_references_are_short() -> None:
    statements = [len(item.problem.question_content) for item in ALL]
    references = [len(item.reference) for item in ALL]
    assert statistics.median(statements) < 220
    assert statistics.median(references) < 200
    assert max(references) < 420
    assert max(len(item.problem.question_content.split()) for item in ALL) <= 45


@pytest.mark.heavy
def test_held_out_is_disjoint_from_training_and_warm_start() -> None:
    trained_on = [item.problem for item in (*build_training_problems(), *draw_warm_start_problems(3000, 1))]
    held_out = [item.problem for item in build_held_out_problems()]
    assert not {p.question_content for p in trained_on} & {p.question_content for p in held_out}
    assert not {family_and_numbers(p) for p in trained_on} & {family_and_numbers(p) for p in held_out}
    assert not {p.extra["family"] for p in trained_on} & {family.name for family in UNKNOWN_FAMILIES}
    trained = {item.family for item in build_training_problems()}
    assert not trained & {family.name for family in (*UNTRAINED_FAMILIES, *UNKNOWN_FAMILIES)}


@pytest.mark.heavy
def test_statements_are_unique() -> None:
    for problems in (
        [item.problem for item in build_training_problems()],
        [item.problem for item in build_held_out_problems()],
        [item.problem for item in draw_warm_start_problems(3000, 2)],
    ):
        assert len({problem.question_content for problem in problems}) == len(problems)


@pytest.mark.heavy
def test_warm_start_problems_depend_only_on_seed_and_count() -> None:
    assert draw_warm_start_problems(200, 3) == draw_warm_start_problems(200, 3)
    assert draw_warm_start_problems(200, 3) != draw_warm_start_problems(200, 4)


def test_taking_too_many_problems_is_an_error() -> None:
    with pytest.raises(ValueError, match="the families have only 3 distinct ones"):
        starter._take_round_robin(4, [iter(build_training_problems()[:2]), iter(build_training_problems()[2:3])])


@pytest.mark.heavy
def test_problems_are_the_same_in_every_process() -> None:
    expressions = "s.build_training_problems(), s.build_held_out_problems(), s.draw_warm_start_problems(99, 5)"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", f"from launch.problems import starter as s; print({expressions})"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop()


@pytest.mark.heavy
@pytest.mark.parametrize("item", ALL, ids=lambda item: item.problem.question_id)
def test_reference_passes(item: StarterProblem) -> None:
    assert passes_tests(item.problem, item.reference)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_references_pass_and_wrong_programs_fail(family: Family) -> None:
    """In twelve variants, the reference passes and each of the three wrong programs fails."""
    assert len({family.format_statement(family.draw_params(index)) for index in range(300)}) >= 12
    for index in range(12):
        item = family.make_problem(index)
        wrong_programs = family.make_wrong_programs(family.draw_params(index))
        assert passes_tests(item.problem, item.reference), item.problem.question_content
        assert len({item.reference, *wrong_programs}) == 4
        for code in wrong_programs:
            assert not passes_tests(item.problem, code), (item.problem.question_content, code)


@pytest.mark.heavy
def test_evaluator_accepts_references_and_rejects_wrong_programs() -> None:
    """The sandboxed evaluator agrees with this test's own runner, for one variant of every family."""
    with Evaluator() as evaluator:
        for family in FAMILIES:
            item = family.make_problem(0)
            verdict = evaluator.evaluate(item.problem, item.reference)
            assert verdict.passed, (item.problem.question_id, verdict)
            for code in family.make_wrong_programs(family.draw_params(0)):
                verdict = evaluator.evaluate(item.problem, code)
                assert not verdict.passed, (item.problem.question_id, code, verdict)
