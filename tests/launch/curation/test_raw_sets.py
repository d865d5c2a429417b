"""Readers and processing on the real files of sets, where they are present."""

from collections import Counter
from pathlib import Path

import pytest

from evaluator.comparison.grants import find_granted_tolerance
from evaluator.evaluator import Evaluator
from evaluator.sandbox import Limits
from launch.curation.candidates import Candidate
from launch.curation.processing.process import CONTRADICTED_EXAMPLE, process_candidate
from launch.curation.sources.registry import READERS
from launch.curation.sources.source_files import read_source

DATA = Path(__file__).parents[4] / "shared" / "data"
MAX_TESTS = 15

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not DATA.exists(), reason="the raw sets (../shared/data) are not here"),
]


def read(name, file):
    return list(read_source(READERS[name], DATA / file))


@pytest.mark.parametrize(
    ("name", "file", "collected", "processed"),
    [
        (
            "deepcoder",
            "raw/deepcoder_test_code_contests.json.gz",
            {"kept": 165},
            {"kept": 162, "contradicted": 26, "interactive": 3},
        ),
        (
            "deepcoder",
            "raw/deepcoder_test_codeforces.json.gz",
            {"kept": 397, "duplicate_id": 11},
            {"kept": 381, "interactive": 16},
        ),
        ("deepcoder", "raw/deepcoder_test_leetcode.json.gz", {"kept": 186, "duplicate_id": 14}, {"kept": 186}),
        (
            "codecontests",
            "raw/sandboxfusion_code_contests.jsonl.gz",
            {"kept": 20},
            {"kept": 18, "contradicted": 2, "image": 1, "interactive": 1},
        ),
        (
            "livecodebench",
            "lcb_problems.jsonl.gz",
            {"kept": 467, "evaluated_window": 64},
            {"kept": 467},
        ),
        ("leetcode_dataset", "raw/lcd-v0.3.1-test.jsonl.gz", {"kept": 228}, {"kept": 228, "contradicted": 3}),
    ],
)
def test_every_row_is_kept_or_dropped_with_a_reason(name, file, collected, processed):
    rows = read(name, file)
    assert Counter("kept" if isinstance(row, Candidate) else row.reason for row in rows) == collected
    counts = Counter()
    for candidate in filter(lambda row: isinstance(row, Candidate), rows):
        result = process_candidate(candidate, MAX_TESTS)
        if not isinstance(result, Candidate):
            counts[result.reason] += 1
            continue
        counts["kept"] += 1
        counts["contradicted"] += CONTRADICTED_EXAMPLE in result.problem.extra
        inputs = {test.input.rstrip("\r\n") for test in candidate.problem.tests}
        assert len(result.problem.tests) == min(MAX_TESTS, len(inputs))
        granted = find_granted_tolerance(candidate.problem.question_content)
        assert find_granted_tolerance(result.problem.question_content) == granted
        assert process_candidate(result, MAX_TESTS) == result
    assert +counts == processed


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_reference_of_leetcode_dataset_is_accepted():
    """The longest inputs, within 20 s of CPU time each: some references are slow."""
    with Evaluator(Limits(wall_s=60, cpu_s=20), workers=2) as evaluator:
        verdicts = {}
        for row in read("leetcode_dataset", "raw/lcd-v0.3.1-test.jsonl.gz"):
            candidate = process_candidate(row, MAX_TESTS)
            verdicts[row.source_id] = evaluator.submit(candidate.problem, candidate.right_programs[0])
        failed = {
            source_id: verdict for source_id, future in verdicts.items() if not (verdict := future.result()).passed
        }
    assert not failed
    assert len(verdicts) == 228
