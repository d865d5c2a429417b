"""Answers of an evaluation with their judgements, and the log that keeps them when the process is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.errors import UserError
from evaluator.problem import Problem
from evaluator.surrogates import escape_surrogates
from evaluator.verdict import FailedTest, Status, Verdict
from launch.records.verdict_columns import VERDICT_FIELDS, make_verdict_columns
from learner.rollout import Judgement

SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("sample_index", pa.int32()),
        ("text", pa.string()),
        ("tokens", pa.int32()),
        ("truncated", pa.bool_()),
        ("generation_seconds", pa.float32()),
        ("code", pa.string()),
        ("passed", pa.bool_()),
        *VERDICT_FIELDS,
        ("detail", pa.string()),
        ("evaluation_seconds", pa.float32()),
        ("platform", pa.string()),
        ("family", pa.string()),
    ]
)

AnswerKey = tuple[str, int]  # question_id, sample_index


class AnswerLogError(UserError, RuntimeError):
    """The log belongs to another evaluation, or cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Sampled answer.

    Attributes:
        question_id: id of the problem.
        sample_index: number of the sample, from 0.
        text: response without the prompt.
        tokens: length of the response.
        truncated: the response ended at the length limit.
        seconds: generation time.
    """

    question_id: str
    sample_index: int
    text: str
    tokens: int
    truncated: bool
    seconds: float

    @property
    def key(self) -> AnswerKey:
        return self.question_id, self.sample_index


class AnswerLog:
    """JSONL log of answers and judgements, one line each, written to disk at once.

    When it is reopened after a kill, all complete lines are loaded and an incomplete last line is deleted. Its first
    line holds the settings that identify the evaluation: opening it with other settings fails, so that answers of two
    models never mix.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        """Open the log, or create it.

        Args:
            path: file to open or create.
            settings: values that identify the evaluation.

        Raises:
            AnswerLogError: the log has other settings, or cannot be read.
        """
        self.path = path
        self.answers: dict[AnswerKey, Answer] = {}
        self.judgements: dict[AnswerKey, Judgement] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        header = json.loads(json.dumps({"settings": settings}))
        lines = list(self._read_complete_lines())
        if lines and lines[0] != header:
            raise AnswerLogError(
                f"{path} holds answers of another evaluation: {describe_differences(lines[0], header)}; restore these "
                "settings or choose another run.name"
            )
        for line in lines[1:]:
            self._load_line(line)
        self._file: TextIO = open(path, "a", encoding="utf-8")  # noqa: SIM115 - until close()
        if not lines:
            self._write(header)

    def add_answer(self, answer: Answer) -> None:
        """Add an answer. It is on disk when this returns."""
        self.answers[answer.key] = answer
        self._write({"answer": asdict(answer)})

    def add_judgement(self, key: AnswerKey, judgement: Judgement) -> None:
        """Add the judgement of an answer. It is on disk when this returns."""
        self.judgements[key] = judgement
        self._write({"judgement": asdict(judgement), "key": list(key)})

    def close(self) -> None:
        self._file.close()

    def rows(self, problems: Mapping[str, Problem]) -> list[dict[str, Any]]:
        """Return all judged answers to ``problems``, sorted by key, with the columns of ``SCHEMA``."""
        return [
            build_answer_row(problems[key[0]], self.answers[key], self.judgements[key])
            for key in sorted(self.judgements)
            if key[0] in problems
        ]

    def write_parquet(self, path: Path, problems: Sequence[Problem]) -> None:
        """Write ``rows`` to a Parquet file, atomically."""
        unfinished = path.with_suffix(".unfinished")
        rows = self.rows({problem.question_id: problem for problem in problems})
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), unfinished)
        os.replace(unfinished, path)

    def _write(self, line: Mapping[str, object]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _load_line(self, line: Mapping[str, Any]) -> None:
        if "answer" in line:
            answer = Answer(**line["answer"])
            self.answers[answer.key] = answer
        else:
            question_id, sample_index = line["key"]
            fields = dict(line["judgement"])
            verdict = dict(fields.pop("verdict"))
            verdict["status"] = Status(verdict["status"])
            if verdict["status"] is Status.SANDBOX_ERROR:
                return  # not the program's failure, but the sandbox's: judge the answer again
            if verdict.get("failed_test") is not None:  # logs of earlier versions lack it
                verdict["failed_test"] = FailedTest(**verdict["failed_test"])
            self.judgements[question_id, sample_index] = Judgement(verdict=Verdict(**verdict), **fields)

    def _read_complete_lines(self) -> Iterator[Any]:
        """Yield the decoded lines; delete an incomplete last line, left by a kill, from the file."""
        if not self.path.exists():
            return
        with open(self.path, "rb+") as file:
            complete_bytes = 0
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise AnswerLogError(f"{self.path}, line {number}: {error}; move the file away") from error
                complete_bytes += len(line)
            file.truncate(complete_bytes)


def build_answer_row(problem: Problem, answer: Answer, judgement: Judgement) -> dict[str, Any]:
    """Return the row of ``SCHEMA`` for a judged answer; ``family`` is null unless problems are made from families."""
    verdict = judgement.verdict
    family = problem.extra.get("family")  # any value, in a file of problems
    return {
        "question_id": answer.question_id,
        "sample_index": answer.sample_index,
        "text": escape_surrogates(answer.text),
        "tokens": answer.tokens,
        "truncated": answer.truncated,
        "generation_seconds": answer.seconds,
        "code": None if judgement.code is None else escape_surrogates(judgement.code),
        "passed": verdict.passed,
        **make_verdict_columns(verdict),
        "detail": escape_surrogates(verdict.detail),
        "evaluation_seconds": judgement.seconds,
        "platform": problem.platform,
        "family": None if family is None else escape_surrogates(str(family)),
    }


def describe_differences(old_header: Any, new_header: Any) -> str:
    """Return the settings that differ between two headers, for an error message."""
    old = old_header.get("settings", {})
    new = new_header["settings"]
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return "; ".join(f"{name} was {old.get(name)!r}, now {new.get(name)!r}" for name in changed)
