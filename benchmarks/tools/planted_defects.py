"""Pool of built-in problems with planted defects, to measure how many of them the curation finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from evaluator import Evaluator, Problem, ProblemTest
from launch.curation.candidates import Candidate
from launch.curation.filtering.overlap import TestSet
from launch.problems.starter import TRAINED_FAMILIES, build_held_out_problems
from launch.problems.starter.family import Family

SEED = 6


class Defect(StrEnum):
    """Kind of a planted defect."""

    EXACT_DUPLICATE = "exact duplicate"
    NEAR_DUPLICATE = "near duplicate"
    NO_TEXT = "unusable statement"
    CONTAMINATED = "contaminated statement"
    WRONG_REFERENCE = "wrong reference"
    FLAKY = "flaky reference"
    CRASHING_TEST = "test that crashes every reference"
    MISSING_CHECKER = "missing checker"
    NUMBER_FORM = "other form of real numbers"
    WEAK_TESTS = "weak tests"


@dataclass(frozen=True)
class PlantedPool:
    """Candidates, the defect of each by question id, and the test set that they must not overlap."""

    candidates: tuple[Candidate, ...]
    defects: dict[str, Defect]
    test_set: TestSet


def build_pool(clean: int, planted: int, evaluator: Evaluator) -> PlantedPool:
    """Build a pool from the trained families of the built-in problems, without the variants that are held out.

    The test set has the held-out problems of the other families: those of the trained ones resemble clean candidates.

    Args:
        clean: number of candidates without a defect.
        planted: number of candidates with each defect, at most as many as the test set has problems.
        evaluator: runs wrong programs, to plant weak tests and wrong expected outputs.
    """
    candidates = list(draw_candidates(TRAINED_FAMILIES, clean + 8 * planted, "clean"))
    originals = candidates[:clean]
    donors = iter(candidates[clean:])
    readers = (candidate for candidate in donors if candidate.problem.func_name is None)  # of standard input
    test_candidates = draw_test_candidates()
    rng = Random(SEED)
    plant: dict[Defect, Callable[[int], Candidate]] = {
        Defect.EXACT_DUPLICATE: lambda index: reformat(cut_tests(originals[index % clean]), index),
        Defect.NEAR_DUPLICATE: lambda index: edit(cut_tests(originals[-1 - index % clean])),
        Defect.NO_TEXT: lambda index: hide_statement(next(donors), index),
        Defect.CONTAMINATED: lambda index: contaminate(test_candidates[index], index),
        Defect.WRONG_REFERENCE: lambda index: (
            swap_programs(next(donors)) if index % 2 == 0 else expect_wrong_outputs(next(donors), evaluator)
        ),
        Defect.FLAKY: lambda index: make_flaky(next(donors)),
        Defect.CRASHING_TEST: lambda index: add_empty_test(next(readers)),
        Defect.MISSING_CHECKER: lambda index: make_sum_problem(index),
        Defect.NUMBER_FORM: lambda index: make_quotient_problem(index),
        Defect.WEAK_TESTS: lambda index: weaken_tests(next(donors), evaluator),
    }
    pool = list(originals)
    defects = {}
    for defect, make in plant.items():
        for index in range(planted):
            question_id = f"planted/{defect.name.lower()}/{index:03d}"
            defects[question_id] = defect
            pool.append(rename(make(index), question_id))
    rng.shuffle(pool)
    test_set = TestSet("held-out families", tuple(candidate.problem for candidate in test_candidates))
    return PlantedPool(tuple(pool), defects, test_set)


def draw_candidates(families: Sequence[Family], count: int, source: str) -> Iterator[Candidate]:
    """Yield variants of the families in turn, with their right program and three wrong ones; none that is held out."""
    statements: set[str] = set()
    index = 0
    while len(statements) < count:
        family = families[index % len(families)]
        params = family.draw_params(index)
        variant = family.make_problem(index)
        index += 1
        if variant.problem.question_content in statements or family.is_held_out(params):
            continue
        statements.add(variant.problem.question_content)
        # Titles are the same for all variants of a family, and real statements are not that short.
        yield Candidate(
            problem=replace(variant.problem, question_id=f"{source}/{index:05d}", question_title=""),
            source=source,
            source_id=f"{index:05d}",
            licence="Apache-2.0",
            right_programs=(variant.reference,),
            wrong_programs=family.make_wrong_programs(params),
        )


def draw_test_candidates() -> list[Candidate]:
    """Return the held-out problems of the families that are not trained, with their right programs."""
    return [
        Candidate(
            problem=replace(variant.problem, question_title=""),
            source="test",
            source_id=variant.problem.question_id,
            licence="Apache-2.0",
            right_programs=(variant.reference,),
        )
        for variant in build_held_out_problems()
        if variant.problem.platform != "trained"
    ]


def rename(candidate: Candidate, question_id: str) -> Candidate:
    """Return the candidate as one of the planted source."""
    return replace(
        candidate, problem=replace(candidate.problem, question_id=question_id), source="planted", source_id=question_id
    )


def cut_tests(candidate: Candidate) -> Candidate:
    """Return the candidate without its last two tests, so that the original is the better one."""
    return replace(candidate, problem=replace(candidate.problem, private_tests=candidate.problem.private_tests[:-2]))


def change_statement(candidate: Candidate, change: Callable[[str], str]) -> Candidate:
    """Return the candidate with another statement."""
    problem = candidate.problem
    return replace(candidate, problem=replace(problem, question_content=change(problem.question_content)))


def reformat(candidate: Candidate, index: int) -> Candidate:
    """Return the candidate with its statement in another format."""
    formats: tuple[Callable[[str], str], ...] = (
        str.upper,
        lambda text: re.sub(r"(\d+)", r"$\1$", text),
        lambda text: "\n".join(text.split()) + "\n\n",
        lambda text: re.sub(r"\b([a-z])\b", r"`\1`", text),
    )
    return change_statement(candidate, formats[index % len(formats)])


def edit(candidate: Candidate) -> Candidate:
    """Return the candidate with a sentence before its statement and another verb in it."""
    return change_statement(
        candidate, lambda text: "Solve this task. " + re.sub(r"\b[Pp]rint\b", "output", text, count=1)
    )


def hide_statement(candidate: Candidate, index: int) -> Candidate:
    """Return the candidate with a statement that is too short or not in English."""
    texts = (f"See picture {index}.", f"Даны целые числа в одной строке. Выведите их сумму, умноженную на {index}.")
    changed = change_statement(candidate, lambda _: texts[index % len(texts)])
    return replace(changed, problem=replace(changed.problem, starter_code="", func_name=candidate.problem.func_name))


def contaminate(candidate: Candidate, index: int) -> Candidate:
    """Return a test problem as it is, inside a longer statement, or with one word changed."""
    forms: tuple[Callable[[str], str], ...] = (
        str,
        lambda text: f"This is a warm-up task of the autumn contest. {text} The time limit is two seconds.",
        lambda text: text + " All numbers fit into 64 bits.",
    )
    return change_statement(candidate, forms[index % len(forms)])


def swap_programs(candidate: Candidate) -> Candidate:
    """Return the candidate with a wrong program as its reference."""
    return replace(candidate, right_programs=candidate.wrong_programs[:1], wrong_programs=())


def expect_wrong_outputs(candidate: Candidate, evaluator: Evaluator) -> Candidate:
    """Return the candidate with the outputs of a wrong program as the expected ones."""
    problem = candidate.problem
    for program in candidate.wrong_programs:
        answers = evaluator.submit_all_tests(problem, program).result().answers
        if answers:
            tests = tuple(
                replace(test, output=answers.get(index, test.output)) for index, test in enumerate(problem.tests)
            )
            public = len(problem.public_tests)
            wrong = replace(problem, public_tests=tests[:public], private_tests=tests[public:])
            return replace(candidate, problem=wrong, wrong_programs=())
    raise ValueError(f"{problem.question_id}: no wrong program gives another answer")


def make_flaky(candidate: Candidate) -> Candidate:
    """Return the candidate with a reference that gives a random answer in 70 % of its tests."""
    (reference,) = candidate.right_programs
    failure = "import random\n_number = random.SystemRandom().random()\n"
    if candidate.problem.func_name is None:
        program = f"{failure}if _number < 0.7:\n    print(_number)\nelse:\n" + "".join(
            f"    {line}\n" for line in reference.splitlines()
        )
    else:
        name = candidate.problem.func_name
        program = (
            f"{reference}\nimport random\n_right = Solution.{name}\n\n\ndef _call(self, *arguments):\n"
            "    number = random.SystemRandom().random()\n    if number < 0.7:\n        return number\n"
            f"    return _right(self, *arguments)\n\n\nSolution.{name} = _call\n"
        )
    return replace(candidate, right_programs=(program,))


def add_empty_test(candidate: Candidate) -> Candidate:
    """Return the candidate with one more test, which has no input."""
    problem = candidate.problem
    test = ProblemTest("", problem.tests[0].output)
    return replace(candidate, problem=replace(problem, private_tests=(*problem.private_tests, test)))


def make_sum_problem(index: int) -> Candidate:
    """Return a problem with several answers: with two programs that disagree, or with a statement that says so."""
    offset = 10 + 7 * index
    statement = (
        f"Mira splits her {('coins', 'stamps', 'books', 'shells')[index % 4]} into two boxes. Read n and print two "
        f"positive integers whose sum is n + {offset}."
    )
    says_so = index % 2 == 0
    if says_so:
        statement += " If there are multiple answers, print any of them."
    first = f"n = int(input())\nprint(1, n + {offset - 1})\n"
    second = f"n = int(input())\nprint(n + {offset - 1}, 1)\n"
    tests = tuple(ProblemTest(f"{n}\n", f"1 {n + offset - 1}\n") for n in range(1, 7))
    return make_candidate(statement, tests, (first,) if says_so else (first, second))


def make_quotient_problem(index: int) -> Candidate:
    """Return a problem whose expected outputs are rounded, while the reference prints all digits."""
    divisor = 7 + 2 * index
    statement = (
        f"A {('tank', 'field', 'rope', 'cake')[index % 4]} is shared by k people who each take the same part. Read its "
        f"size s and print s divided by {divisor}."
    )
    decimals = 3 + index % 4
    tests = tuple(ProblemTest(f"{s}\n", f"{s / divisor:.{decimals}f}\n") for s in range(1, 12, 2))
    return make_candidate(
        statement, tests, (f"print(int(input()) / {divisor})\n",), (f"print(int(input()) // {divisor})\n",)
    )


def make_candidate(
    statement: str, tests: tuple[ProblemTest, ...], right: tuple[str, ...], wrong: tuple[str, ...] = ()
) -> Candidate:
    """Return a candidate that is not of a built-in family."""
    problem = Problem(
        question_id="",
        question_title="",
        question_content=statement,
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=tests[:2],
        private_tests=tests[2:],
    )
    return Candidate(
        problem=problem, source="", source_id="", licence="Apache-2.0", right_programs=right, wrong_programs=wrong
    )


def weaken_tests(candidate: Candidate, evaluator: Evaluator) -> Candidate:
    """Return the candidate with the tests that its wrong programs pass.

    If they pass none, its first wrong program becomes a copy of the reference.
    """
    problem = candidate.problem
    passed = {
        program: {
            index
            for index, result in enumerate(evaluator.submit_all_tests(problem, program).result().results)
            if result.accepted_by is not None
        }
        for program in candidate.wrong_programs
    }
    program, indices = max(passed.items(), key=lambda item: len(item[1]))
    if not indices:
        (reference,) = candidate.right_programs
        return replace(candidate, wrong_programs=(f"{reference}# wrong for larger inputs\n",))
    tests = tuple(problem.tests[index] for index in sorted(indices))
    return replace(candidate, problem=replace(problem, public_tests=tests, private_tests=()), wrong_programs=(program,))
