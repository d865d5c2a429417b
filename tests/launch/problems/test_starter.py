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
from typing import Any

import pytest

from evaluator.evaluator import Evaluator
from evaluator.problem import Problem
from launch.problems import starter
from launch.problems.starter import (
    FAMILIES,
    HELD_OUT_FAMILIES,
    TRAINING_FAMILIES,
    build_held_out_problems,
    build_training_problems,
    draw_warm_start_pairs,
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
    unseen = [item for item in build_held_out_problems() if item.family in HELD_OUT_FAMILIES]
    assert (len(build_training_problems()), len(build_held_out_problems()), len(unseen)) == (400, 160, 40)
    assert len({item.problem.question_id for item in ALL}) == len(ALL)
    assert len(BY_NAME) == len(FAMILIES)
    assert set(BY_NAME) >= HELD_OUT_FAMILIES
    assert len(HELD_OUT_FAMILIES) >= 10
    assert len(TRAINING_FAMILIES) >= 40
    assert {item.family for item in build_training_problems()} == {family.name for family in TRAINING_FAMILIES}


def test_functional_share_and_difficulties_are_balanced() -> None:
    assert 0.25 <= sum(bool(family.signature) for family in FAMILIES) / len(FAMILIES) <= 0.30
    for difficulty in ("easy", "medium", "hard"):
        assert 0.25 <= sum(family.difficulty == difficulty for family in FAMILIES) / len(FAMILIES) <= 0.42


def test_reference_programs_differ_in_more_than_constants() -> None:
    skeletons = {re.sub(r'\d+|"[^"]*"|def \w+', "_", "\n".join(family.program)) for family in FAMILIES}
    assert len(skeletons) >= len(FAMILIES) - 3


def test_problem_fields() -> None:
    for item in ALL:
        problem = item.problem
        assert re.fullmatch(rf"starter/{item.family}/\d{{4}}", problem.question_id)
        assert (problem.platform, problem.contest_date, problem.extra) == ("other", None, {"family": item.family})
        assert 5 <= len(problem.tests) <= 8
        assert len(problem.public_tests) == 2
        assert len({test.input for test in problem.tests}) == len(problem.tests)
        assert {test.testtype for test in problem.tests} == {"functional" if problem.func_name else "stdin"}
        assert "$" not in problem.question_content + item.reference
        assert item.reference.startswith(problem.starter_code)


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
    trained_on = [item.problem for item in build_training_problems()] + [
        pair[0] for pair in draw_warm_start_pairs(3000, 1)
    ]
    held_out = [item.problem for item in build_held_out_problems()]
    assert not {p.question_content for p in trained_on} & {p.question_content for p in held_out}
    assert not {family_and_numbers(p) for p in trained_on} & {family_and_numbers(p) for p in held_out}
    assert not {p.extra["family"] for p in trained_on} & HELD_OUT_FAMILIES


@pytest.mark.heavy
def test_statements_are_unique() -> None:
    for problems in (
        [item.problem for item in build_training_problems()],
        [item.problem for item in build_held_out_problems()],
        [problem for problem, _ in draw_warm_start_pairs(3000, 2)],
    ):
        assert len({problem.question_content for problem in problems}) == len(problems)


def test_warm_start_pairs_depend_only_on_seed_and_count() -> None:
    assert draw_warm_start_pairs(200, 3) == draw_warm_start_pairs(200, 3)
    assert draw_warm_start_pairs(200, 3) != draw_warm_start_pairs(200, 4)


def test_taking_too_many_problems_is_an_error() -> None:
    with pytest.raises(ValueError, match="the families have only 3 distinct ones"):
        starter._take_round_robin(4, [iter(build_training_problems()[:2]), iter(build_training_problems()[2:3])])


@pytest.mark.heavy
def test_problems_are_the_same_in_every_process() -> None:
    expressions = "s.build_training_problems(), s.build_held_out_problems(), s.draw_warm_start_pairs(99, 5)"
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
