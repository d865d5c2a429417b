"""Input files for the scoring command, and a fake evaluator to which a program is the name of its status."""

import json
import re
from concurrent.futures import Future

from evaluator import SandboxError, Status, Verdict

KEYS = (
    *("question_id", "index", "passed", "status", "tests_passed", "tests_run", "tests_total", "first_failed"),
    *("accepted_by", "seconds", "detail"),
)


def problem(question_id, difficulty=None, platform="other", tests=(("1 2\n", "3\n"), ("4 4\n", "8\n")), **metadata):
    cases = [{"input": text, "output": output} for text, output in tests]
    return {
        "question_id": question_id,
        "platform": platform,
        "difficulty": difficulty,
        "public_test_cases": json.dumps(cases[:1]),
        "private_test_cases": json.dumps(cases[1:]),
        "metadata": json.dumps(metadata),
    }


def codes(question_id, *programs):
    return {"question_id": question_id, "code_list": list(programs)}


def verdict(status, detail=""):
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


class Judge:
    """In the place of Evaluator. ``made`` are those that were constructed."""

    made: list["Judge"]
    starts = True

    def __init__(self, limits, workers, **keywords):
        self.limits = limits
        self.workers = workers
        self.keywords = keywords
        self.closed = False
        self.all_tests = set()
        self.made.append(self)

    @property
    def missing(self):
        if not self.starts:
            raise SandboxError("no zygote can be started")
        return ()

    def submit(self, problem, code, *, all_tests=False):
        self.all_tests.add(all_tests)
        future = Future()
        future.set_result(verdict(Status.NO_CODE if code is None else Status(code), "detail"))
        return future

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Files:
    """The three files of a run, in one folder."""

    def __init__(self, folder):
        self.problems, self.solutions, self.out = (folder / name for name in ("P.jsonl", "S.jsonl", "V.jsonl"))

    def write(self, problems, solutions):
        for path, rows in ((self.problems, problems), (self.solutions, solutions)):
            path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return self

    def arguments(self, *more):
        paths = {"--problems": self.problems, "--solutions": self.solutions, "--out": self.out}
        return [*(str(part) for pair in paths.items() for part in pair), *more]

    def verdicts(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def statuses(self):
        return [(row["question_id"], row["index"], row["status"]) for row in self.verdicts()]


def cells(text):
    """The rows of printed tables by their first column; columns are two blanks apart or more."""
    rows = (re.split("  +", line) for line in text.splitlines() if line)
    return {row[0]: row[1:] for row in rows}


def assert_matches(pattern, text):
    assert re.search(pattern, text), text
