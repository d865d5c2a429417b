"""Answers of an evaluation: what was sampled, what the evaluator says of it, and a log that a kill cannot hurt."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.errors import UserError
from evaluator.verdict import Status, Verdict
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
        ("status", pa.string()),
        ("accepted_by", pa.string()),
        ("first_failed", pa.int32()),
        ("tests_passed", pa.int32()),
        ("tests_total", pa.int32()),
        ("detail", pa.string()),
        ("evaluation_seconds", pa.float32()),
    ]
)

Key = tuple[str, int]  # question_id, sample_index


class AnswerLogError(UserError, RuntimeError):
    """The log is of another evaluation, or cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One sampled answer. ``truncated``: it ended at the length limit. ``seconds`` of generation."""

    question_id: str
    sample_index: int
    text: str
    tokens: int
    truncated: bool
    seconds: float

    @property
    def key(self) -> Key:
        return self.question_id, self.sample_index


class AnswerLog:
    """Every answer as it is finished, and every judgement as it is made: one line each, on disk before it counts.

    Reopened after a kill it has all that was written, but for a last line cut short. ``settings`` says what makes two
    evaluations the same; a log of other settings is refused, so that answers of two models never mix.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        """Raises AnswerLogError."""
        self.path = path
        self.answers: dict[Key, Answer] = {}
        self.judgements: dict[Key, Judgement] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        header = json.loads(json.dumps({"settings": settings}))
        lines = list(self._whole_lines())
        if lines and lines[0] != header:
            raise AnswerLogError(f"{path} holds answers of another evaluation: {differences(lines[0], header)}")
        for line in lines[1:]:
            self._take(line)
        self._file: TextIO = open(path, "a", encoding="utf-8")  # noqa: SIM115 - until close()
        if not lines:
            self._write(header)

    def add_answer(self, answer: Answer) -> None:
        """Keep an answer; it is on disk when this returns."""
        self.answers[answer.key] = answer
        self._write({"answer": asdict(answer)})

    def add_judgement(self, key: Key, judgement: Judgement) -> None:
        """Keep what the evaluator says of an answer; it is on disk when this returns."""
        self.judgements[key] = judgement
        self._write({"judgement": asdict(judgement), "key": list(key)})

    def close(self) -> None:
        self._file.close()

    def rows(self) -> list[dict[str, Any]]:
        """All judged answers in the order of their keys, with the columns of ``SCHEMA``."""
        return [answer_row(self.answers[key], self.judgements[key]) for key in sorted(self.judgements)]

    def write_parquet(self, path: Path) -> None:
        """``rows`` as a Parquet file, whole or not at all."""
        unfinished = path.with_suffix(".unfinished")
        pq.write_table(pa.Table.from_pylist(self.rows(), schema=SCHEMA), unfinished)
        os.replace(unfinished, path)

    def _write(self, line: Mapping[str, object]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _take(self, line: Mapping[str, Any]) -> None:
        if "answer" in line:
            answer = Answer(**line["answer"])
            self.answers[answer.key] = answer
        else:
            question_id, sample_index = line["key"]
            fields = dict(line["judgement"])
            verdict = dict(fields.pop("verdict"))
            verdict["status"] = Status(verdict["status"])
            if verdict["status"] is Status.SANDBOX_ERROR:
                return  # a failure of ours, not the program's: to be judged again
            self.judgements[question_id, sample_index] = Judgement(verdict=Verdict(**verdict), **fields)

    def _whole_lines(self) -> Iterator[Any]:
        """Decoded lines; a last one that a kill cut short is removed from the file."""
        if not self.path.exists():
            return
        with open(self.path, "rb+") as file:
            whole = 0
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise AnswerLogError(f"{self.path}, line {number}: {error}; move the file away") from error
                whole += len(line)
            file.truncate(whole)


def printable(text: str | None) -> str | None:
    """``text`` with lone surrogates, which no file format takes, written as escapes."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def answer_row(answer: Answer, judgement: Judgement) -> dict[str, Any]:
    """One row of ``SCHEMA``."""
    verdict = judgement.verdict
    return {
        "question_id": answer.question_id,
        "sample_index": answer.sample_index,
        "text": printable(answer.text),
        "tokens": answer.tokens,
        "truncated": answer.truncated,
        "generation_seconds": answer.seconds,
        "code": printable(judgement.code),
        "passed": verdict.passed,
        "status": str(verdict.status),
        "accepted_by": verdict.accepted_by,
        "first_failed": verdict.first_failed,
        "tests_passed": verdict.tests_passed,
        "tests_total": verdict.tests_total,
        "detail": printable(verdict.detail),
        "evaluation_seconds": judgement.seconds,
    }


def differences(before: Any, after: Any) -> str:
    """The settings that differ between two headers, for a message."""
    old = before.get("settings", {})
    new = after["settings"]
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return "; ".join(f"{name} was {old.get(name)!r}, now {new.get(name)!r}" for name in changed)
