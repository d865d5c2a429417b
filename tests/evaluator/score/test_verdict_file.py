"""Verdict file: complete lines, even on a full disk."""

import json
import os
import resource

import pytest

from evaluator import Status
from evaluator.errors import RunFailed
from evaluator.score import __main__ as score
from evaluator.score import inputs, verdict_file
from tests.evaluator.score.fakes import make_problem_row, make_solution_row, make_verdict


def make_submission():
    """Return a submission to a problem whose id contains a lone surrogate."""
    return inputs.Submission(question_id="q\ud800", index=4, problem=None, code=None)


@pytest.mark.parametrize("free_bytes", [0, 1, 50, 99])
def test_full_disk_leaves_no_partial_line(files, free_bytes):
    """A file size limit imitates a full disk: the line that does not fit is first written in part."""
    row = verdict_file.build_verdict_row(make_submission(), make_verdict(Status.PASSED))
    size = len(json.dumps(row)) + 1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with verdict_file.VerdictFile(files.out) as out:
        out.begin()
        out.write(row)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + free_bytes, hard))
        try:
            with pytest.raises(RunFailed, match=r"V\.jsonl: File too large"):
                out.write(row)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert files.read_verdicts() == [row]
        out.write(row)
        assert out.rows == 2
    assert files.out.read_text() == (json.dumps(row) + "\n") * 2


def test_row_is_one_ascii_line_with_a_shortened_detail():
    row = verdict_file.build_verdict_row(make_submission(), make_verdict(Status.WRONG_ANSWER, "\n\x1b\u2028é" * 500))
    line = json.dumps(row)
    assert line.isascii()
    assert "\n" not in line
    assert len(row["detail"]) == verdict_file.DETAIL_LENGTH
    assert row["detail"].endswith("...")
    assert json.loads(line)["question_id"] == "q\ud800"
    longest_detail = "x" * verdict_file.DETAIL_LENGTH
    assert (
        verdict_file.build_verdict_row(make_submission(), make_verdict(Status.WRONG_ANSWER, longest_detail))["detail"]
        == longest_detail
    )


def test_shorter_verdict_file_replaces_a_longer_one(files, fake_evaluator):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed")])
    files.out.write_text("of another run\n" * 999)
    assert score.main(files.arguments()) == 0
    assert files.read_statuses() == [("a", 0, "passed")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every file")
def test_read_only_verdict_file_is_reported(files, fake_evaluator, capsys):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed")])
    files.out.touch(0o400)
    assert score.main(files.arguments()) == 2
    assert "Permission denied" in capsys.readouterr().err
