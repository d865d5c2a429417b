"""Functions of the stages, from the packages that implement them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conf.schema import CurateConfig
from evaluator.evaluator import Evaluator
from launch.curation.candidates import Candidate, Dropped
from launch.curation.curated_rows import CuratedProblem, ProgramCounts
from launch.curation.filtering.duplicates import find_duplicates
from launch.curation.filtering.fingerprints import make_fingerprint
from launch.curation.filtering.overlap import OverlapIndex, TestSet, make_dropped
from launch.curation.filtering.text_quality import find_text_defect
from launch.curation.processing.process import process_candidate
from launch.curation.sources.reader import Reader
from launch.curation.sources.source_files import read_source
from launch.curation.stage_functions import Examination, StageFunctions
from launch.curation.verification.verify import VerificationSettings, Verified, verify_candidates


@dataclass(frozen=True, slots=True)
class SourceFile:
    """File of a source, with its reader."""

    reader: Reader
    path: Path


def make_stage_functions(config: CurateConfig, excluded: Sequence[TestSet]) -> StageFunctions:
    """Return the functions of the stages for a configuration and its test sets."""
    return StageFunctions(
        collect=read_source_file,
        process=partial(process_candidate, max_tests=config.max_tests),
        examine=partial(examine_candidate, OverlapIndex(excluded)),
        find_duplicates=find_duplicates,
        verify=partial(verify_block, make_verification_settings(config)),
    )


def make_verification_settings(config: CurateConfig) -> VerificationSettings:
    """Return the settings of the verification."""
    return VerificationSettings(keep_unverified=config.keep_unverified)


def read_source_file(file: SourceFile) -> Iterator[Candidate | Dropped]:
    """Yield the rows of a file."""
    return read_source(file.reader, file.path)


def examine_candidate(index: OverlapIndex, candidate: Candidate) -> Examination:
    """Examine a candidate by itself: its statement, and its overlap with the test sets."""
    overlaps = index.find_overlaps(candidate)
    return Examination(
        make_fingerprint(candidate),
        tuple(overlap.test_set for overlap in overlaps),
        find_text_defect(candidate) or make_dropped(candidate, overlaps),
    )


def verify_block(settings: VerificationSettings, candidates: Iterable[Candidate]) -> Iterator[CuratedProblem | Dropped]:
    """Verify candidates in one sandbox, since other blocks are verified at the same time. Raises SandboxError."""
    with Evaluator(workers=1) as evaluator:
        for result in verify_candidates(candidates, evaluator, settings):
            yield result if isinstance(result, Dropped) else make_curated(result)


def make_curated(verified: Verified) -> CuratedProblem:
    """Return the record of a verified problem."""
    quality = verified.quality
    return CuratedProblem(
        candidate=verified.candidate,
        needs_checker=verified.needs_checker,
        weak_tests=verified.weak_tests,
        float_checker=verified.float_checker,
        is_verified=verified.is_verified,
        dropped_tests=verified.dropped_tests,
        programs=ProgramCounts(
            right=quality.true_positives.total,
            right_accepted=quality.true_positives.hits,
            wrong=quality.true_negatives.total,
            wrong_rejected=quality.true_negatives.hits,
        ),
    )
