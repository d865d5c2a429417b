"""Inputs of the scoring command: the files of problems and solutions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from evaluator.errors import UserError
from evaluator.problem import LoadedProblems, Problem, ProblemError, load_problems
from evaluator.row_files import RejectedRow, RowFile, RowFileError
from evaluator.sandbox import SandboxError
from evaluator.score.options import Options, ProgramName
from evaluator.solutions import read_solutions

MAX_ROW_MESSAGES = 10  # messages about bad rows of one file; further bad rows are only counted


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """Program for one problem.

    Attributes:
        question_id: id of the problem.
        index: position of the program among those for the same problem.
        problem: the problem; None if there is no usable one.
        code: the program; None if the model's answer contains none, or if it cannot be judged.
        failure: reason why it cannot be judged: there is no usable problem, or the answer could not be parsed. Empty if
            it can be judged.
    """

    question_id: str
    index: int
    problem: Problem | None
    code: str | None
    failure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringInputs:
    """Problems and solutions to judge, after all rows were checked.

    Attributes:
        solutions: the file of solutions.
        problems: usable problems with solutions, by question id.
        unusable: reasons why other problems with solutions cannot be judged, by question id.
        programs: number of programs, by question id.
        dropped_rows: number of invalid rows of the solutions.
        notes: messages for the user.
    """

    solutions: RowFile
    problems: Mapping[str, Problem]
    unusable: Mapping[str, str]
    programs: Counter[str]
    dropped_rows: int
    notes: tuple[str, ...]

    def read_submissions(self) -> Iterator[Submission]:
        """Yield the programs in file order. Bad rows are skipped."""
        next_index: Counter[str] = Counter()
        for row in read_solutions(self.solutions):
            if isinstance(row, RejectedRow) or row.question_id not in self.programs:
                continue
            problem = self.problems.get(row.question_id)
            codes = [None] * len(row.texts) if problem is None else row.iter_programs(problem)
            for code in codes:
                index = next_index[row.question_id]
                next_index[row.question_id] += 1
                failure = self.unusable[row.question_id] if problem is None else ""
                if isinstance(code, SandboxError):
                    failure = str(code)
                    code = None
                yield Submission(
                    question_id=row.question_id,
                    index=index,
                    problem=problem,
                    code=code,
                    failure=failure,
                )

    def find_submission(self, name: ProgramName) -> Submission:
        """Return one program that has a usable problem. Raises UserError."""
        count = self.programs[name.question_id]
        if name.index >= count:
            known = f"has programs 0 to {count - 1}" if count else "has no program"
            raise UserError(f"--explain {name}: {self.solutions.path} {known} for problem {name.question_id!r}")
        if name.question_id in self.unusable:
            raise UserError(f"--explain {name}: {self.unusable[name.question_id]}")
        only = replace(self, programs=Counter({name.question_id: count}))
        return next(submission for submission in only.read_submissions() if submission.index == name.index)


@dataclass(kw_only=True, slots=True)
class _SolutionCounts:
    """Numbers of programs and rows of a solutions file.

    Attributes:
        programs: number of programs, by question id.
        first_rows: number of the first row of each question id.
        repeated: number of rows that repeat the problem of an earlier row.
        bad: rows that are invalid.
    """

    programs: Counter[str] = field(default_factory=Counter)
    first_rows: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    bad: list[RejectedRow] = field(default_factory=list)


def read_inputs(options: Options, solutions: RowFile, problems: RowFile) -> ScoringInputs:
    """Check every row of both files. Without ``--out``, only the program to explain is to be judged.

    Raises UserError if a file cannot be read, if none of its rows can be used or, with ``--strict``, if one cannot.
    """
    # Solutions first: tests are unpacked only of problems that they name.
    only = options.explain.question_id if options.explain is not None and options.out is None else None
    counts = _count_solutions(solutions, options.strict, only)
    loaded = _load_problems(problems, options.strict, counts.programs)
    usable = {problem.question_id: problem for problem in loaded.problems}
    unusable = _find_unusable(problems.path, loaded, counts.programs.keys() - usable.keys())
    missing = [RejectedRow(row, unusable[name]) for name, row in counts.first_rows.items() if name in unusable]
    if options.strict and missing:
        raise UserError(f"--solutions {solutions.path}, row {missing[0].line}: {missing[0].reason}")
    notes = [
        *_describe_rows(problems.path, "skipped", loaded.rejected),
        *_describe_rows(solutions.path, "skipped", counts.bad),
        *_describe_rows(solutions.path, "not judged", missing),
    ]
    if counts.repeated:
        notes.append(
            f"{solutions.path}: {counts.repeated} rows repeat a problem of an earlier row; "
            "their programs count as further attempts with consecutive indices"
        )
    if loaded.unwanted and only is None:
        count = loaded.unwanted + len(usable)
        notes.append(f"{problems.path}: {loaded.unwanted} of {count} problems have no solutions and were dropped")
    return ScoringInputs(
        solutions=solutions,
        problems=usable,
        unusable=unusable,
        programs=counts.programs,
        dropped_rows=len(counts.bad),
        notes=tuple(notes),
    )


def drop_problems(inputs: ScoringInputs, reasons: Mapping[str, str], options: Options) -> ScoringInputs:
    """Return the inputs with the problems that ``reasons`` names among the unusable ones.

    Raises UserError with ``--strict``, or if no usable problem is left.
    """
    notes = [f"{options.problems}: problem {name!r} is dropped: {reason}" for name, reason in reasons.items()]
    kept = {name: problem for name, problem in inputs.problems.items() if name not in reasons}
    if options.strict or not kept:
        raise UserError(notes[0])
    programs = sum(inputs.programs[name] for name in reasons)
    return replace(
        inputs,
        problems=kept,
        unusable={**inputs.unusable, **reasons},
        notes=(*notes[:MAX_ROW_MESSAGES], f"{len(reasons)} problems are dropped, with {programs} programs"),
    )


def open_rows(option: str, path: Path) -> RowFile:
    """Open a file of rows. Raises UserError that names the command-line option."""
    try:
        return RowFile(path)
    except OSError as error:
        raise UserError(f"{option} {path}: {get_error_reason(error)}") from error
    except RowFileError as error:
        raise UserError(f"{option} {error}") from error


def _count_solutions(solutions: RowFile, strict: bool, only: str | None) -> _SolutionCounts:
    """Count the rows and programs of a file, or those for one problem only. Raises UserError."""
    counts = _SolutionCounts()
    try:
        for row in read_solutions(solutions):
            if isinstance(row, RejectedRow):
                if strict:
                    raise UserError(f"--solutions {solutions.path}, row {row.line}: {row.reason}")
                counts.bad.append(row)
            elif only is None or row.question_id == only:
                counts.repeated += row.question_id in counts.programs
                counts.programs[row.question_id] += len(row.texts)
                counts.first_rows.setdefault(row.question_id, row.row)
    except OSError as error:
        raise UserError(f"--solutions {solutions.path}: {get_error_reason(error)}") from error
    except RowFileError as error:
        raise UserError(f"--solutions {error}") from error
    if not counts.programs and only is None:
        raise UserError(f"--solutions {solutions.path}: no programs to judge: {_describe_first(counts.bad)}")
    return counts


def _load_problems(problems: RowFile, strict: bool, wanted: Mapping[str, int]) -> LoadedProblems:
    """Load the problems that have solutions. Raises UserError, also if no row of the file is a problem."""
    try:
        loaded = load_problems(problems, strict, wanted)
    except (OSError, ImportError) as error:
        raise UserError(f"--problems {problems.path}: {get_error_reason(error)}") from error
    except (RowFileError, ProblemError) as error:
        raise UserError(f"--problems {error}") from error
    if not loaded.problems and not loaded.unwanted:
        raise UserError(f"--problems {problems.path}: no usable problem: {_describe_first(loaded.rejected)}")
    return loaded


def _find_unusable(path: Path, loaded: LoadedProblems, names: set[str]) -> dict[str, str]:
    """Return the reasons why the problems ``names`` are not usable: a bad row, or none at all."""
    reasons = {name: f"no problem {name!r} in {path}" for name in names}
    for row in reversed(loaded.rejected):
        if row.question_id in names:
            location = f"{path}, row {row.line}"
            reasons[row.question_id] = f"problem {row.question_id!r} is not usable: {row.reason} ({location})"
    return reasons


def _describe_first(rows: Sequence[RejectedRow]) -> str:
    if not rows:
        return "the file has no rows"
    return f"{len(rows)} rows, the first of which (row {rows[0].line}) is invalid: {rows[0].reason}"


def _describe_rows(path: Path, what: str, rows: Sequence[RejectedRow]) -> list[str]:
    notes = [f"{path}, row {row.line}: {what}: {row.reason}" for row in rows[:MAX_ROW_MESSAGES]]
    if len(rows) > MAX_ROW_MESSAGES:
        notes.append(f"{path}: {len(rows) - MAX_ROW_MESSAGES} more rows {what} ({len(rows)} in all)")
    return notes


def get_error_reason(error: BaseException) -> str:
    # Not str(error) of an OSError, which repeats the file name and adds the error number.
    """Return the reason of an error, for a message that already names the file."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
