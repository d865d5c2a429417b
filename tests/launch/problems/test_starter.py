"""The built-in problem set: its counts and splits, and that its tests tell right programs from wrong ones."""

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
    held_out_problems,
    training_problems,
    warm_start_pairs,
)
from launch.problems.starter.family import Family, StarterProblem

ALL = (*training_problems(), *held_out_problems())
BY_NAME = {family.name: family for family in FAMILIES}


def passes(problem: Problem, code: str) -> bool:
    """Run a trusted program in this process on the problem's tests, up to the first it fails."""
    try:
        return all(
            call(problem, code, test.input) == json.loads(test.output)
            if problem.func_name
            else printed(code, test.input).split() == test.output.split()
            for test in problem.tests
        )
    except Exception:  # noqa: BLE001 - a wrong program may fail in any way
        return False


def call(problem: Problem, code: str, arguments: str) -> Any:
    scope: dict[str, Any] = {}
    exec(code, scope)
    return getattr(scope["Solution"](), problem.func_name or "")(*map(json.loads, arguments.split("\n")))


def printed(code: str, text: str) -> str:
    out = io.StringIO()
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        with contextlib.redirect_stdout(out):
            exec(code, {"__name__": "__main__"})
    finally:
        sys.stdin = before
    return out.getvalue()


def index_of(problem: Problem) -> int:
    return int(problem.question_id.rsplit("/", 1)[1])


def constants(problem: Problem) -> tuple[object, ...]:
    """The family and its numbers in this problem (its words, where it has no number)."""
    family = problem.extra["family"]
    params = {name: x for name, x in BY_NAME[family].params(index_of(problem)).items() if name != "wording"}
    numbers = {name: x for name, x in params.items() if isinstance(x, int)}
    return family, *sorted((numbers or params).items())


def test_counts() -> None:
    unseen = [item for item in held_out_problems() if item.family in HELD_OUT_FAMILIES]
    assert (len(training_problems()), len(held_out_problems()), len(unseen)) == (400, 160, 40)
    assert len({item.problem.question_id for item in ALL}) == len(ALL)
    assert len(BY_NAME) == len(FAMILIES)
    assert set(BY_NAME) >= HELD_OUT_FAMILIES
    assert len(HELD_OUT_FAMILIES) >= 10
    assert len(TRAINING_FAMILIES) >= 40
    assert {item.family for item in training_problems()} == {family.name for family in TRAINING_FAMILIES}


def test_mix_of_kinds_and_difficulties() -> None:
    assert 0.25 <= sum(bool(family.signature) for family in FAMILIES) / len(FAMILIES) <= 0.30
    for difficulty in ("easy", "medium", "hard"):
        assert 0.25 <= sum(family.difficulty == difficulty for family in FAMILIES) / len(FAMILIES) <= 0.42


def test_programs_differ_in_more_than_constants() -> None:
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


def test_no_constant_output_passes() -> None:
    for item in ALL:
        assert len({test.output for test in item.problem.tests}) > 1, item.problem.question_id


def test_sizes() -> None:
    statements = [len(item.problem.question_content) for item in ALL]
    references = [len(item.reference) for item in ALL]
    assert statistics.median(statements) < 220
    assert statistics.median(references) < 200
    assert max(references) < 420
    assert max(len(item.problem.question_content.split()) for item in ALL) <= 45


@pytest.mark.heavy
def test_held_out_is_disjoint_from_training_and_warm_start() -> None:
    shown = [item.problem for item in training_problems()] + [pair[0] for pair in warm_start_pairs(3000, 1)]
    held_out = [item.problem for item in held_out_problems()]
    assert not {p.question_content for p in shown} & {p.question_content for p in held_out}
    assert not {constants(p) for p in shown} & {constants(p) for p in held_out}
    assert not {p.extra["family"] for p in shown} & HELD_OUT_FAMILIES


@pytest.mark.heavy
def test_no_statement_twice() -> None:
    for problems in (
        [item.problem for item in training_problems()],
        [item.problem for item in held_out_problems()],
        [problem for problem, _ in warm_start_pairs(3000, 2)],
    ):
        assert len({problem.question_content for problem in problems}) == len(problems)


def test_warm_start_depends_on_seed_and_count_only() -> None:
    assert warm_start_pairs(200, 3) == warm_start_pairs(200, 3)
    assert warm_start_pairs(200, 3) != warm_start_pairs(200, 4)


def test_too_many_problems_are_an_error() -> None:
    with pytest.raises(ValueError, match="the families have only 3 different ones"):
        starter._take(4, [iter(training_problems()[:2]), iter(training_problems()[2:3])])


@pytest.mark.heavy
def test_same_in_every_process() -> None:
    shown = "s.training_problems(), s.held_out_problems(), s.warm_start_pairs(99, 5)"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", f"from launch.problems import starter as s; print({shown})"],
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
    assert passes(item.problem, item.reference)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_variants(family: Family) -> None:
    """On twelve variants the reference passes, and each of the three wrong programs fails."""
    assert len({family.statement(family.params(index)) for index in range(300)}) >= 12
    for index in range(12):
        item = family.problem(index)
        wrong = family.wrong(family.params(index))
        assert passes(item.problem, item.reference), item.problem.question_content
        assert len({item.reference, *wrong}) == 4
        for code in wrong:
            assert not passes(item.problem, code), (item.problem.question_content, code)


@pytest.mark.heavy
def test_evaluator_agrees() -> None:
    """The sandboxed evaluator accepts one reference of every family and rejects its wrong programs."""
    with Evaluator() as evaluator:
        for family in FAMILIES:
            item = family.problem(0)
            verdict = evaluator.evaluate(item.problem, item.reference)
            assert verdict.passed, (item.problem.question_id, verdict)
            for code in family.wrong(family.params(0)):
                verdict = evaluator.evaluate(item.problem, code)
                assert not verdict.passed, (item.problem.question_id, code, verdict)
