"""The problems of a run: those to train on and those held out."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from conf.schema import DatasetConfig
from evaluator.errors import UserError
from evaluator.problem import Problem, ProblemError, load_problems
from launch.problems.contamination import OverlapReport, find_overlaps
from launch.problems.contest_dates import DateWindow
from launch.problems.evaluation_set import BadRow, BenchmarkError, EvaluationSet, Summary
from launch.problems.humaneval import load_humaneval
from launch.problems.livecodebench import CACHE, Part, Selection, load_benchmark
from launch.problems.mbpp import load_mbpp
from launch.problems.rows import UNREADABLE
from launch.problems.starter import held_out_problems, training_problems

LIVECODEBENCH = ("lcb_v6", "livecodebench")
BENCHMARKS = (*LIVECODEBENCH, "humaneval", "mbpp")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Problems to train on and held-out ones (possibly none), with what became of the rest of the rows.

    ``overlap`` tells which training problems were refused for being too near to held-out ones (or, with
    ``dataset.allow_overlap``, were not); None where nothing is held out, or by the built-in split.
    """

    training: tuple[Problem, ...]
    held_out: tuple[Problem, ...]
    rejected: tuple[BadRow, ...]
    remarks: tuple[str, ...]
    overlap: OverlapReport | None


class DatasetError(UserError, ValueError):
    """There is nothing to train on, or a file cannot be read."""


def load_dataset(config: DatasetConfig) -> Dataset:
    """Read what ``dataset.*`` names. ``remarks`` of the result are for the person who started the run.

    Raises DatasetError with the path and what to do; with ``dataset.strict``, ProblemError for the first bad row.
    """
    training, rejected = _training(config)
    held_out = load_evaluation_set(config)
    remarks = []
    if held_out is not None and config.name in BENCHMARKS:
        remarks += [f"dataset.name={config.name}: {held_out.summary}", *held_out.remarks]
    report = None
    if held_out is not None and not _built_in_split(config):
        report = find_overlaps(training, held_out.problems, held_out.window)
        if report.overlaps or report.undated:
            done = "kept, as dataset.allow_overlap=true wants" if config.allow_overlap else "refused"
            remarks.append(f"{done}: {report}" if report.overlaps else str(report))
        if not config.allow_overlap:
            training = _without_overlaps(training, report)
    return Dataset(
        training=tuple(training),
        held_out=held_out.problems if held_out else (),
        rejected=(*rejected, *(held_out.summary.rejected if held_out else ())),
        remarks=tuple(remarks),
        overlap=report,
    )


def load_evaluation_set(config: DatasetConfig) -> EvaluationSet | None:
    """What to evaluate on: the built-in held-out split, a file, or a benchmark; None if ``dataset.*`` names nothing.

    Raises as ``load_dataset``.
    """
    if config.name in BENCHMARKS:
        try:
            return _benchmark(config)
        except BenchmarkError as error:
            raise DatasetError(str(error)) from error
    if config.held_out_path is not None:
        problems, rejected = _read(config.held_out_path, "dataset.held_out_path", config.strict)
    elif _built_in_split(config):
        problems = [starter.problem for starter in held_out_problems()]
        rejected = []
    else:
        return None
    return EvaluationSet(
        problems=tuple(problems),
        summary=Summary(selected=len(problems), outside_window=0, undated=0, rejected=tuple(rejected)),
        window=None,
    )


def _benchmark(config: DatasetConfig) -> EvaluationSet:
    """Raises BenchmarkError, ProblemError."""
    if config.name == "humaneval":
        return load_humaneval(config.held_out_path, config.strict)
    if config.name == "mbpp":
        return load_mbpp(config.held_out_path, config.strict)
    part: Part = "lcb_v6" if config.name == "lcb_v6" else config.release or "all"
    window = DateWindow(_day(config.start_date), _day(config.end_date))
    return load_benchmark(Selection(part, window), config.held_out_path, CACHE, config.strict)


def _day(text: str | None) -> datetime.date | None:
    return None if text is None else datetime.date.fromisoformat(text)


def _built_in_split(config: DatasetConfig) -> bool:
    """Whether training and held-out problems are two parts of one built-in set, disjoint and alike by construction."""
    return config.path is None and config.held_out_path is None and config.name == "starter"


def _training(config: DatasetConfig) -> tuple[list[Problem], list[BadRow]]:
    if config.path is not None:
        problems, rejected = _read(config.path, "dataset.path", config.strict)
        if not problems:
            first = f"; the first bad row: {rejected[0]}" if rejected else ""
            raise DatasetError(f"dataset.path={config.path}: no usable problem in it{first}")
        return problems, rejected
    if config.name == "starter":
        return [starter.problem for starter in training_problems()], []
    raise DatasetError(f"dataset.name={config.name} is to evaluate on: set dataset.path=FILE to problems to train on")


def _without_overlaps(training: list[Problem], report: OverlapReport) -> list[Problem]:
    refused = {overlap.training_id for overlap in report.overlaps}
    kept = [problem for problem in training if problem.question_id not in refused]
    if not kept:
        raise DatasetError(f"{report}: train on others, or set dataset.allow_overlap=true if that is what you want")
    return kept


def _read(path: str, key: str, strict: bool) -> tuple[list[Problem], list[BadRow]]:
    if not Path(path).is_file():
        raise DatasetError(f"{key}={path}: no such file; give a JSONL, JSONL.gz or Parquet file of problems")
    try:
        loaded = load_problems(path, strict=strict)
    except ProblemError:
        raise
    except UNREADABLE as error:
        raise DatasetError(f"{key}={path}: cannot be read: {error}") from error
    return list(loaded.problems), [BadRow(path, row.line, row.reason) for row in loaded.rejected]
