"""Measure how many planted defects the curation finds, and how many sound problems it drops or flags.

    python -m benchmarks.curation_recall [--clean N] [--planted N]

The pool consists of built-in problems without a defect, and of problems with each kind of planted defect. It passes the
filter and the verification. A defect counts as found if it is found for its own reason. Precision counts all problems,
also those with another defect.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.tools.planted_defects import Defect, PlantedPool, build_pool
from evaluator import Evaluator, Limits
from launch.curation.candidates import Candidate
from launch.curation.filtering.duplicates import find_duplicates
from launch.curation.filtering.fingerprints import make_fingerprint
from launch.curation.filtering.overlap import OverlapIndex
from launch.curation.filtering.text_quality import find_text_defect
from launch.curation.verification.intervals import Share
from launch.curation.verification.verify import VerificationSettings, Verified, verify_candidates

WORKERS = 2
TIMEOUT_S = 6.0
# A copy with other words is a near duplicate, and so is one that is also in another format: both count as found.
REASONS: Mapping[str, Defect] = {
    "duplicate": Defect.EXACT_DUPLICATE,
    "near_duplicate": Defect.NEAR_DUPLICATE,
    "short_statement": Defect.NO_TEXT,
    "not_english": Defect.NO_TEXT,
    "overlap_similarity": Defect.CONTAMINATED,
    "overlap_coverage": Defect.CONTAMINATED,
    "no_passing_reference": Defect.WRONG_REFERENCE,
    "flaky": Defect.FLAKY,
}

console = Console(width=150, highlight=False)


@dataclass(frozen=True)
class Finding:
    """Names of the defects found in a problem, and an explanation."""

    names: tuple[str, ...]
    detail: str = ""


def find_defects(pool: PlantedPool, evaluator: Evaluator) -> dict[str, Finding]:
    """Run the filter and the verification; return what is found by question id."""
    dropped = dict(find_duplicates(map(make_fingerprint, pool.candidates)))
    index = OverlapIndex([pool.test_set])
    kept: list[Candidate] = []
    for candidate in pool.candidates:
        question_id = candidate.problem.question_id
        if question_id in dropped:
            continue
        record = find_text_defect(candidate) or index.check(candidate)
        if record is None:
            kept.append(candidate)
        else:
            dropped[question_id] = record
    found = {
        question_id: Finding((name_reason(record.reason),), record.detail) for question_id, record in dropped.items()
    }
    for result in verify_candidates(kept, evaluator, VerificationSettings()):
        if isinstance(result, Verified):
            found[result.candidate.problem.question_id] = Finding(list_flags(result), result.needs_checker)
        else:
            found[result.question_id] = Finding((name_reason(result.reason),), result.detail)
    return found


def name_reason(reason: str) -> str:
    """Return the defect that a reason stands for, or the reason itself if it stands for none."""
    return REASONS[reason].value if reason in REASONS else reason


def list_flags(verified: Verified) -> tuple[str, ...]:
    """Return the defects that a kept problem is flagged with or that were mended."""
    flags = {
        Defect.MISSING_CHECKER: verified.needs_checker != "",
        Defect.WEAK_TESTS: verified.weak_tests,
        Defect.NUMBER_FORM: verified.float_checker,
        Defect.CRASHING_TEST: bool(verified.dropped_tests),
    }
    return tuple(defect.value for defect, is_set in flags.items() if is_set)


def compute_recall(pool: PlantedPool, found: Mapping[str, Finding]) -> dict[Defect, tuple[Share, Share]]:
    """Return recall and precision by defect."""
    shares = {}
    for defect in Defect:
        planted = {question_id for question_id, kind in pool.defects.items() if kind is defect}
        flagged = {question_id for question_id, finding in found.items() if defect.value in finding.names}
        hits = len(planted & flagged)
        shares[defect] = (Share(hits, len(planted)), Share(hits, len(flagged)))
    return shares


def list_errors(pool: PlantedPool, found: Mapping[str, Finding]) -> dict[str, list[str]]:
    """Return the problems whose defects are not the planted ones, by what was planted and what was found."""
    errors: dict[str, list[str]] = defaultdict(list)
    for candidate in pool.candidates:
        question_id = candidate.problem.question_id
        planted = (pool.defects[question_id].value,) if question_id in pool.defects else ()
        finding = found[question_id]
        if planted != finding.names:
            kinds = (" and ".join(names) or "no defect" for names in (planted, finding.names))
            errors[" found as ".join(kinds)].append(f"{question_id} {finding.detail}".strip())
    return errors


def format_share(share: Share) -> str:
    """Return the share with its interval."""
    if share.value is None:
        return "-"
    low, high = share.interval
    return f"{share.hits}/{share.total}  {share.value:.0%} [{low:.0%}, {high:.0%}]"


def main(
    clean: Annotated[int, typer.Option(help="number of problems without a defect")] = 120,
    planted: Annotated[int, typer.Option(help="number of problems with each defect")] = 12,
) -> None:
    """Print recall and precision of each filter."""
    with Evaluator(Limits(wall_s=TIMEOUT_S, cpu_s=TIMEOUT_S), workers=WORKERS) as evaluator:
        pool = build_pool(clean, planted, evaluator)
        found = find_defects(pool, evaluator)
    shares = compute_recall(pool, found)
    table = Table(
        title=f"Planted defects, in a pool of {len(pool.candidates)} problems, {clean} of them without a defect"
    )
    for name in ("defect", "recall [95 %]", "precision [95 %]"):
        table.add_column(name)
    for defect, (recall, precision) in shares.items():
        table.add_row(defect.value, format_share(recall), format_share(precision))
    console.print(table)
    for error, problems in list_errors(pool, found).items():
        console.print(f"{len(problems)} {error}, the first: {problems[0]}")
    print(
        json.dumps(
            {
                "problems": len(pool.candidates),
                **{f"recall_{defect.name.lower()}": recall.value for defect, (recall, _) in shares.items()},
                **{f"precision_{defect.name.lower()}": precision.value for defect, (_, precision) in shares.items()},
            }
        )
    )


if __name__ == "__main__":
    typer.run(main)
