"""Input files for the scoring command, and a fake evaluator that takes each program as the name of its status."""

import json
import re
from collections.abc import Mapping
from concurrent.futures import Future
from types import MappingProxyType

from evaluator import SandboxError, Status, Verdict

VERDICT_KEYS = (
    *("question_id", "index", "passed", "status", "tests_passed", "tests_run", "tests_total", "first_failed"),
    *("accepted_by", "seconds", "detail"),
)


def make_problem_row(
    question_id, difficulty=None, platform="other", tests=(("1 2\n", "3\n"), ("4 4\n", "8\n")), **metadata
):
    """Return a row of the problem file with (input, output) ``tests``, of which the first is public."""
    test_cases = [{"input": text, "output": output} for text, output in tests]
    return {
        "question_id": question_id,
        "platform": platform,
        "difficulty": difficulty,
        "public_test_cases": json.dumps(test_cases[:1]),
        "private_test_cases": json.dumps(test_cases[1:]),
        "metadata": json.dumps(metadata),
    }


def make_solution_row(question_id, *programs):
    """Return a row of the solution file."""
    return {"question_id": question_id, "code_list": list(programs)}


def make_verdict(status, detail=""):
    """Return a verdict of 2 run tests, 1 of them passed, of 3."""
    return Verdict(
        status=status,
        tests_passed=1,
        tests_run=2,
        tests_total=3,
        first_failed=None,
        accepted_by="exact" if status is Status.PASSED else None,
        seconds=0.123456,
        detail=detail,
    )


class FakeEvaluator:
    """Fake of ``Evaluator`` whose verdicts are the statuses that the programs name.

    Attributes:
        instances: all that were constructed.
        can_start: False if the sandbox does not start.
        broken: reasons for which the checkers of problems are broken, by question id.
        all_tests: the values of ``all_tests`` that were passed to ``submit``.
    """

    instances: list["FakeEvaluator"]
    can_start = True
    broken: Mapping[str, str] = MappingProxyType({})

    def __init__(self, limits, workers, **options):
        self.limits = limits
        self.workers = workers
        self.options = options
        self.is_closed = False
        self.all_tests = set()
        self.instances.append(self)

    @property
    def missing(self):
        if not self.can_start:
            raise SandboxError("no zygote can be started")
        return ()

    def find_broken_checkers(self, problems):
        names = {problem.question_id for problem in problems}
        return {name: reason for name, reason in self.broken.items() if name in names}

    def submit(self, problem, code, *, all_tests=False):
        self.all_tests.add(all_tests)
        future = Future()
        future.set_result(make_verdict(Status.NO_CODE if code is None else Status(code), "detail"))
        return future

    def close(self):
        self.is_closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RunFiles:
    """Problem, solution and verdict file of a run, in one folder."""

    def __init__(self, folder):
        self.problems = folder / "P.jsonl"
        self.solutions = folder / "S.jsonl"
        self.out = folder / "V.jsonl"

    def write_inputs(self, problems, solutions):
        """Write rows of problems and solutions; a row may be a string that is not JSON."""
        for path, rows in ((self.problems, problems), (self.solutions, solutions)):
            path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return self

    def arguments(self, *more):
        """Return the command-line arguments that name the files, followed by ``more``."""
        paths = {"--problems": self.problems, "--solutions": self.solutions, "--out": self.out}
        return [*(str(part) for pair in paths.items() for part in pair), *more]

    def read_verdicts(self):
        """Return the rows of the verdict file."""
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def read_statuses(self):
        """Return (question_id, index, status) of the rows of the verdict file."""
        return [(row["question_id"], row["index"], row["status"]) for row in self.read_verdicts()]


def parse_tables(text):
    """Return the rows of printed tables by their first cell; cells are at least two spaces apart."""
    rows = (re.split("  +", line) for line in text.splitlines() if line)
    return {row[0]: row[1:] for row in rows}


def assert_matches(pattern, text):
    """Assert that ``pattern`` matches somewhere in ``text``."""
    assert re.search(pattern, text), text
