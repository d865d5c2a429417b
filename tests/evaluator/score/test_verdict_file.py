"""The file of verdicts: whole lines, also on a full disk."""

import json
import os
import resource

import pytest

from evaluator import Problem, ProblemTest, Status
from evaluator.errors import RunFailed
from evaluator.score import __main__ as score
from evaluator.score import inputs, verdict_file
from tests.evaluator.score.run_files import codes, problem, verdict


def options_of(files):
    return inputs.parse_options(files.arguments())


def task():
    one = Problem(
        question_id="q\ud800",
        question_title="",
        question_content="",
        platform="other",
        difficulty=None,
        contest_date=None,
        starter_code="",
        public_tests=(ProblemTest("", ""),),
        private_tests=(),
    )
    return inputs.Task(one, 4, "")


@pytest.mark.parametrize("room", [0, 1, 50, 99])
def test_a_full_disk_leaves_no_half_line(files, room):
    """The limit on a file's size stands in for the disk: the line that does not fit is first written in part."""
    row = verdict_file.verdict_row(task(), verdict(Status.PASSED))
    size = len(json.dumps(row)) + 1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with verdict_file.VerdictFile(options_of(files)) as out:
        out.begin()
        out.write(row)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
        try:
            with pytest.raises(RunFailed, match=r"V\.jsonl: File too large"):
                out.write(row)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert files.verdicts() == [row]
        out.write(row)
        assert out.rows == 2
    assert files.out.read_text() == (json.dumps(row) + "\n") * 2


def test_rows_are_lines_of_ascii_with_short_details():
    row = verdict_file.verdict_row(task(), verdict(Status.WRONG_ANSWER, "\n\x1b\u2028é" * 500))
    line = json.dumps(row)
    assert line.isascii()
    assert "\n" not in line
    assert len(row["detail"]) == verdict_file.DETAIL_LENGTH
    assert row["detail"].endswith("...")
    assert json.loads(line)["question_id"] == "q\ud800"
    whole = "x" * verdict_file.DETAIL_LENGTH
    assert verdict_file.verdict_row(task(), verdict(Status.WRONG_ANSWER, whole))["detail"] == whole


def test_a_shorter_result_replaces_a_longer_one(files, judge):
    files.write([problem("a")], [codes("a", "passed")])
    files.out.write_text("of another run\n" * 999)
    assert score.main(files.arguments()) == 0
    assert files.statuses() == [("a", 0, "passed")]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_output(files, judge, capsys):
    files.write([problem("a")], [codes("a", "passed")])
    files.out.touch(0o400)
    assert score.main(files.arguments()) == 2
    assert "Permission denied" in capsys.readouterr().err
