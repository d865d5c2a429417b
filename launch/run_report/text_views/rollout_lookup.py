"""Search for steps and problems in the rollout files of a run, reading few columns; errors name what exists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluator.errors import UserError
from launch.run_report.rollout_rows import (
    DEFAULTS,
    TYPES,
    RolloutGroup,
    UnreadableRollouts,
    convert_column,
    read_groups,
)
from launch.run_report.run_files import RunFiles, StepFile
from launch.run_report.text_views.formatting import quote

SHOWN_CHOICES = 3
"""Number of existing steps or ids that an error lists."""
MAX_COMPARED_IDS = 20_000
"""Number of ids that are compared with an unknown one, which takes 10 us each."""


class UnknownItem(UserError, LookupError):
    """An item that the run does not have."""


def get_rollout_file(run: RunFiles, step: int) -> StepFile:
    """Return the rollout file of a step. Raises UnknownItem, which names the nearest steps."""
    files = {file.step: file for file in run.rollouts}
    if step in files:
        return files[step]
    if not files:
        raise UnknownItem(f"show: step {step}: run {quote(run.name)} has no rollout files yet")
    nearest = sorted(sorted(files, key=lambda each: abs(each - step))[:SHOWN_CHOICES])
    raise UnknownItem(
        f"show: step {step} has no rollouts; the nearest steps that have are {_join(nearest)} "
        f"(of {len(files)}, from {min(files)} to {max(files)})"
    )


def read_step_groups(file: StepFile, *, texts: bool) -> list[RolloutGroup]:
    """Read the groups of a step. Raises UserError if the file is damaged."""
    try:
        return read_groups(file.path, texts=texts)
    except (UnreadableRollouts, UnicodeError) as error:
        raise UserError(f"show: step {file.step}: {error}; choose another step") from error


def read_columns(file: StepFile, names: Iterable[str]) -> pa.Table:
    """Read those of the columns that a rollout file has, with the types of ``read_groups``, or convertible to them.

    Raises:
        UnreadableRollouts: the file is damaged.
    """
    try:
        with pq.ParquetFile(file.path) as parquet:
            present = set(parquet.schema_arrow.names)
            table = parquet.read(columns=[name for name in names if name in present])
    except (OSError, pa.ArrowException, UnicodeError) as error:
        raise UnreadableRollouts(f"{file.path.name} cannot be read: {error}") from error
    columns = {name: convert_column(table[name], TYPES[name]) for name in table.column_names}
    return pa.table(
        {
            name: column if DEFAULTS[name] is None else column.fill_null(DEFAULTS[name])
            for name, column in columns.items()
            if column is not None
        }
    )


def list_question_ids(file: StepFile) -> list[str]:
    """Return the different question ids of a step, in their order. Raises UnreadableRollouts."""
    table = read_columns(file, ["question_id"])
    if not table.num_columns:
        return []
    try:
        return list(pc.unique(table["question_id"]).to_pylist())
    except UnicodeError as error:
        raise UnreadableRollouts(f"{file.path.name} cannot be read: {error}") from error


def find_question_ids(files: Iterable[StepFile], notes: list[str]) -> dict[int, list[str]]:
    """Return the question ids of each step; steps whose file is damaged are noted and left out."""
    found = {}
    for file in files:
        try:
            found[file.step] = list_question_ids(file)
        except UnreadableRollouts as error:
            notes.append(str(error))
    return found


def read_prompt(file: StepFile, question_id: str) -> str | None:
    """Return the prompt of a problem; None if the file has none. Raises UnreadableRollouts."""
    table = read_columns(file, ["question_id", "prompt"])
    if not {"question_id", "prompt"} <= set(table.column_names):
        return None
    prompts = table.filter(pc.field("question_id") == question_id)["prompt"]
    value = prompts[0].as_py() if len(prompts) else None
    return None if value is None else str(value)


def describe_unknown_problem(question_id: str, known: Iterable[str]) -> str:
    """Return what to write instead of an unknown question id: similar ones, or a few examples."""
    ids = list(dict.fromkeys(known))[:MAX_COMPARED_IDS]
    if not ids:
        return "there are no rollouts"
    containing = [each for each in ids if question_id and question_id in each]
    similar = containing[:SHOWN_CHOICES] or difflib.get_close_matches(question_id, ids, SHOWN_CHOICES)
    if similar:
        return f"did you mean {_join(map(quote, similar), ' or ')}?"
    return f"there are {len(ids)} problems, for example {_join(map(quote, ids[:SHOWN_CHOICES]))}"


def describe_steps(steps: Sequence[int], nearest_to: int) -> str:
    """Return the nearest of several steps as text."""
    nearest = sorted(sorted(steps, key=lambda each: abs(each - nearest_to))[:SHOWN_CHOICES])
    return f"{'step' if len(nearest) == 1 else 'steps'} {_join(nearest)}"


def _join(values: Iterable[object], separator: str = ", ") -> str:
    return separator.join(map(str, values))
