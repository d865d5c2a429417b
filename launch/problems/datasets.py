"""The problems of a run: those to train on and those held out for evaluation.

To add a benchmark, add its loader to ``BENCHMARK_LOADERS`` and its name to ``DatasetConfig.name`` (conf/schema.py); to
add a source of training problems, add it to ``TRAINING_SOURCES``: docs/extending.md.

Curated training sets are files by the time they get here: ``launch/curation/training_set.py`` makes them.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from conf.schema import DatasetConfig
from evaluator.errors import UserError
from evaluator.problem import Problem, ProblemError, load_problems
from evaluator.row_files import RowFileError
from launch.problems.contamination import ContaminationReport, find_contamination
from launch.problems.date_window import DateWindow
from launch.problems.evaluation_set import BadRow, BenchmarkError, EvaluationSet, LoadSummary
from launch.problems.humaneval import load_humaneval
from launch.problems.livecodebench import CACHE, LCB_2024_08_DAYS, Selection, Subset, load_livecodebench
from launch.problems.mbpp import load_mbpp
from launch.problems.starter import build_held_out_problems, build_training_problems
from launch.problems.usable_problems import find_unusable_problems, make_prompt_texts_unicode


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Problems to train on and problems held out for evaluation.

    Attributes:
        training: problems to train on.
        held_out: problems to evaluate on; may be empty.
        rejected: rows of both sets that are no valid problem.
        remarks: messages for the user.
        contamination: the training problems that overlap the held-out ones, which were dropped unless
            ``dataset.allow_overlap`` is set; None if no problems are held out, or for the built-in split.
    """

    training: tuple[Problem, ...]
    held_out: tuple[Problem, ...]
    rejected: tuple[BadRow, ...]
    remarks: tuple[str, ...]
    contamination: ContaminationReport | None


class DatasetError(UserError, ValueError):
    """There are no problems to train on, or a file cannot be read."""


class BenchmarkLoader(Protocol):
    """Function that loads a benchmark's problems as configured by ``dataset.*``.

    Raises:
        BenchmarkError: the benchmark is not available, or has no usable problem.
        ProblemError: a row is bad, and ``dataset.strict`` is set.
    """

    def __call__(self, config: DatasetConfig) -> EvaluationSet: ...


def load_dataset(config: DatasetConfig, curated: Path | None = None) -> Dataset:
    """Load the problems that ``dataset.*`` names, and check the training problems for contamination.

    Args:
        config: keys ``dataset.*``.
        curated: file of the curated training set of ``dataset.train``; None if the run has none.

    Raises:
        DatasetError: there are no problems to train on, or a file cannot be read.
        ProblemError: a row is bad, and ``dataset.strict`` is set.
    """
    training, rejected, remarks = _load_training(config, curated)
    held_out = load_evaluation_set(config)
    if held_out is not None:
        summary = [f"dataset.name={config.name}: {held_out.summary}"] if config.name in BENCHMARK_LOADERS else []
        remarks += [*summary, *held_out.remarks]
    report = None
    if held_out is not None and not _uses_built_in_split(config):
        report = find_contamination(training, held_out.problems, held_out.window)
        if report.contaminated or report.undated:
            action = "kept (dataset.allow_overlap=true)" if config.allow_overlap else "dropped"
            remarks.append(f"{action}: {report}" if report.contaminated else str(report))
        if not config.allow_overlap:
            training = _drop_contaminated(training, report)
    return Dataset(
        training=tuple(training),
        held_out=held_out.problems if held_out else (),
        rejected=(*rejected, *(held_out.summary.rejected if held_out else ())),
        remarks=tuple(remarks),
        contamination=report,
    )


def load_evaluation_set(config: DatasetConfig) -> EvaluationSet | None:
    """Load the problems to evaluate on: a benchmark, a file, or the held-out part of the built-in problems.

    Returns None if ``dataset.*`` names none of them.

    Raises:
        DatasetError: the benchmark or file is not available, or has no usable problem.
        ProblemError: a row is bad, and ``dataset.strict`` is set.
    """
    loaded = _load_held_out(config)
    if loaded is None:
        return None
    is_file = config.name not in BENCHMARK_LOADERS and config.held_out_path is not None
    source = f"dataset.held_out_path={config.held_out_path}" if is_file else f"dataset.name={config.name}"
    problems, unusable, remarks = _drop_unusable(loaded.problems, source, config.strict)
    rejected = (*loaded.summary.rejected, *unusable)
    if rejected and not problems:
        raise DatasetError(f"{source}: no usable problem; first bad row: {rejected[0]}")
    summary = replace(loaded.summary, selected=len(problems), rejected=rejected)
    return replace(loaded, problems=tuple(problems), summary=summary, remarks=(*loaded.remarks, *remarks))


def _load_held_out(config: DatasetConfig) -> EvaluationSet | None:
    """Load the problems to evaluate on, usable or not. See ``load_evaluation_set``."""
    if config.name is not None and config.name in BENCHMARK_LOADERS:
        try:
            return BENCHMARK_LOADERS[config.name](config)
        except BenchmarkError as error:
            raise DatasetError(str(error)) from error
    if config.held_out_path is not None:
        problems, rejected = _read_file(config.held_out_path, "dataset.held_out_path", config.strict)
    elif config.path is None and config.name == "starter":
        problems = [starter.problem for starter in build_held_out_problems()]
        rejected = []
    else:
        return None
    return EvaluationSet(
        problems=tuple(problems),
        summary=LoadSummary(selected=len(problems), outside_window=0, undated=0, rejected=tuple(rejected)),
        window=None,
    )


def _load_lcb_v6(config: DatasetConfig) -> EvaluationSet:
    return _load_livecodebench_subset("lcb_v6", config)


def _load_livecodebench_release(config: DatasetConfig) -> EvaluationSet:
    return _load_livecodebench_subset(config.release or "all", config)


def _load_lcb_2024_08(config: DatasetConfig) -> EvaluationSet:
    # A local copy that is a single file names no release; its rows are selected by their days.
    subset: Subset = "all" if config.held_out_path is not None else "release_v6"
    return load_livecodebench(Selection(subset, LCB_2024_08_DAYS), config.held_out_path, CACHE, config.strict)


def _load_livecodebench_subset(subset: Subset, config: DatasetConfig) -> EvaluationSet:
    window = DateWindow(_parse_day(config.start_date), _parse_day(config.end_date))
    return load_livecodebench(Selection(subset, window), config.held_out_path, CACHE, config.strict)


def _load_humaneval(config: DatasetConfig) -> EvaluationSet:
    return load_humaneval(config.held_out_path, config.strict)


def _load_mbpp(config: DatasetConfig) -> EvaluationSet:
    return load_mbpp(config.held_out_path, config.strict)


BENCHMARK_LOADERS: Mapping[str, BenchmarkLoader] = {
    "lcb_v6": _load_lcb_v6,
    "lcb_2024_08": _load_lcb_2024_08,
    "livecodebench": _load_livecodebench_release,
    "humaneval": _load_humaneval,
    "mbpp": _load_mbpp,
}
"""Loaders of the benchmarks, by ``dataset.name``."""


def _build_starter_problems(config: DatasetConfig) -> list[Problem]:
    return [starter.problem for starter in build_training_problems()]


TrainingSource = Callable[[DatasetConfig], list[Problem]]
"""Makes or loads training problems as configured by ``dataset.*``. Raises DatasetError."""

TRAINING_SOURCES: Mapping[str, TrainingSource] = {"starter": _build_starter_problems}
"""Sources of training problems other than a file or a curated set, by ``dataset.train``."""


def find_training_source(config: DatasetConfig) -> TrainingSource | None:
    """Return the source that ``dataset.train``, or else ``dataset.name``, names; None if it names none."""
    names = [config.name] if config.train is None else config.train
    return TRAINING_SOURCES.get(str(names[0])) if len(names) == 1 else None


def uses_curated_set(config: DatasetConfig) -> bool:
    """Return True if the training problems are a curated set."""
    return config.path is None and config.train is not None and find_training_source(config) is None


def _parse_day(text: str | None) -> datetime.date | None:
    return None if text is None else datetime.date.fromisoformat(text)


def _uses_built_in_split(config: DatasetConfig) -> bool:
    """Return True if training and held-out problems are the two parts of the built-in set.

    They need no contamination check: they are disjoint, but similar to each other, by construction.
    """
    has_starter_problems = config.train in (None, ["starter"])
    return config.path is None and config.held_out_path is None and config.name == "starter" and has_starter_problems


def name_training_problems(config: DatasetConfig) -> str:
    """Return the setting that names the training problems."""
    if config.path is not None:
        return f"dataset.path={config.path}"
    return f"dataset.name={config.name}" if config.train is None else f"dataset.train={','.join(config.train)}"


def check_training_problems(config: DatasetConfig) -> None:
    """Check that the setting names a file or a source, unless the training problems are a curated set.

    Raises:
        DatasetError: it names none, or the file is missing.
    """
    if config.path is not None:
        _check_file(config.path, "dataset.path")
    elif find_training_source(config) is None:
        raise DatasetError(
            f"{name_training_problems(config)} has no training problems: set dataset.path to a file of problems, or "
            "dataset.train to starter, deepcoder, taco, ... (docs/training_sets.md)"
        )


def _load_training(config: DatasetConfig, curated: Path | None) -> tuple[list[Problem], list[BadRow], list[str]]:
    """Load the problems to train on, the bad rows, and messages for the user. Raises DatasetError, ProblemError."""
    if curated is None:
        check_training_problems(config)
    source = name_training_problems(config)
    rejected: list[BadRow] = []
    if curated is not None:
        source += f", {curated}"
        loaded, rejected = _read_file(str(curated), "dataset.train", config.strict)
    elif config.path is not None:
        loaded, rejected = _read_file(config.path, "dataset.path", config.strict)
    else:
        build = find_training_source(config)
        assert build is not None  # checked above
        loaded = build(config)
    problems, unusable, remarks = _drop_unusable(loaded, source, config.strict)
    rejected += unusable
    if not problems:
        raise DatasetError(f"{source}: no usable problem{f'; first bad row: {rejected[0]}' if rejected else ''}")
    return problems, rejected, remarks


def _drop_contaminated(training: list[Problem], report: ContaminationReport) -> list[Problem]:
    """Return the training problems without the contaminated ones. Raises DatasetError if none is left."""
    contaminated_ids = {problem.training_id for problem in report.contaminated}
    kept = [problem for problem in training if problem.question_id not in contaminated_ids]
    if not kept:
        raise DatasetError(
            f"{report}: no training problem is left. Train on other problems, or set dataset.allow_overlap=true to "
            "train on these"
        )
    return kept


def _read_file(path: str, key: str, strict: bool) -> tuple[list[Problem], list[BadRow]]:
    """Read a file of problems, named by the configuration key ``key``. Returns the problems and the bad rows.

    Raises:
        DatasetError: the file is missing or cannot be read.
        ProblemError: a row is bad, and ``strict`` is set.
    """
    _check_file(path, key)
    try:
        loaded = load_problems(path, strict=strict)
    except (OSError, RowFileError) as error:
        raise DatasetError(f"{key}={path}: cannot be read: {error}") from error
    return list(loaded.problems), [BadRow(path, row.line, row.reason) for row in loaded.rejected]


def _check_file(path: str, key: str) -> None:
    """Raise DatasetError if the file, named by the configuration key ``key``, is missing."""
    if not Path(path).is_file():
        raise DatasetError(f"{key}={path}: no such file; give a JSON list, JSONL or Parquet file of problems")


def _drop_unusable(
    problems: Sequence[Problem], source: str, strict: bool
) -> tuple[list[Problem], list[BadRow], list[str]]:
    """Drop the problems that no run can use, such as those with a broken checker. All problems of a run pass here.

    Args:
        problems: problems to train or to evaluate on.
        source: setting that names them, for messages.
        strict: raise for the first unusable problem.

    Returns:
        The other problems, a bad row for each dropped one, and messages for the user.

    Raises:
        ProblemError: a problem cannot be used, and ``strict`` is set.
    """
    unusable, remark = find_unusable_problems(problems)
    bad_rows = [BadRow(source, None, f"problem {name!r}: {reason}") for name, reason in unusable.items()]
    if strict and bad_rows:
        raise ProblemError(str(bad_rows[0]))
    usable = [make_prompt_texts_unicode(problem) for problem in problems if problem.question_id not in unusable]
    return usable, bad_rows, [f"{source}: {remark}"] if remark else []
