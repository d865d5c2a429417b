"""Arguments and input files of the scoring command: invalid rows, unusable files, several rows of a problem."""

import pytest

from evaluator.score import __main__ as score
from evaluator.score import inputs
from tests.evaluator.score.fakes import assert_matches, make_problem_row, make_solution_row, parse_tables

INVALID_SOLUTIONS = {
    "unknown problem": (make_solution_row("x", "passed"), "S.jsonl, row 2: .*no problem 'x' in .*P.jsonl"),
    "wrong type": (make_solution_row("a", 3), r"S.jsonl, row 2: .*code_list\[0\]: expected text, got 3"),
    "not JSON": ("{", "S.jsonl, row 2: .*not JSON"),
}


@pytest.mark.parametrize("name", INVALID_SOLUTIONS)
def test_invalid_solution_row_is_reported_and_skipped_or_fatal(files, fake_evaluator, capsys, name):
    row, message = INVALID_SOLUTIONS[name]
    files.write_inputs(
        [make_problem_row("a")], [make_solution_row("a", "passed"), row, make_solution_row("a", "no_code")]
    )
    assert score.main(files.arguments()) == 3
    assert files.read_statuses() == [("a", 0, "passed"), ("a", 1, "no_code")]
    assert_matches(message, capsys.readouterr().err)
    files.out.unlink()
    assert score.main(files.arguments("--strict")) == 2
    assert_matches(message.replace(", ", ": ", 1), capsys.readouterr().err)
    assert not files.out.exists()


def test_invalid_problem_is_reported_and_skipped_or_fatal(files, fake_evaluator, capsys):
    files.write_inputs([make_problem_row("a"), make_problem_row("b", tests=())], [make_solution_row("a", "passed")])
    assert score.main(files.arguments()) == 0  # every program of a valid problem has a verdict
    assert_matches("P.jsonl, row 2: skipped: .*no tests", capsys.readouterr().err)
    assert score.main(files.arguments("--strict")) == 2
    assert_matches("P.jsonl, line 2: .*no tests", capsys.readouterr().err)


def test_messages_about_many_invalid_rows_are_limited(files, fake_evaluator, capsys):
    files.write_inputs(
        [make_problem_row("a")],
        [make_solution_row("a", "passed"), *(make_solution_row(f"x{n}", "passed") for n in range(500))],
    )
    assert score.main(files.arguments()) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == inputs.MAX_ROW_MESSAGES + 1
    assert lines[-1].endswith("490 more bad rows skipped (500 in all)")


def test_problems_without_solutions_are_reported(files, fake_evaluator, capsys):
    files.write_inputs(
        [make_problem_row("a"), make_problem_row("b"), make_problem_row("c")], [make_solution_row("b", "passed")]
    )
    assert score.main(files.arguments("--strict")) == 0
    out, err = capsys.readouterr()
    assert "2 of 3 problems have no solutions" in err
    assert parse_tables(out)["all"] == ["1", "1", "100.0%"]


def test_rows_of_the_same_problem_are_merged(files, fake_evaluator, capsys):
    rows = [
        make_solution_row("a", "passed"),
        make_solution_row("b", "passed"),
        make_solution_row("a", "no_code", "passed"),
    ]
    files.write_inputs([make_problem_row("a"), make_problem_row("b")], rows)
    assert score.main(files.arguments()) == 0
    assert files.read_statuses() == [("a", 0, "passed"), ("b", 0, "passed"), ("a", 1, "no_code"), ("a", 2, "passed")]
    out, err = capsys.readouterr()
    assert "1 rows repeat a problem of an earlier row" in err
    assert "1 to 3 judged programs" in err
    assert parse_tables(out)["all"] == ["2", "4", "83.3%"]


def test_code_is_extracted_from_answers(files, fake_evaluator):
    answers = {"question_id": "a", "output_list": ["```python\npassed\n```", "no code here"]}
    files.write_inputs([make_problem_row("a")], [answers])
    original_submit = fake_evaluator.submit
    fake_evaluator.submit = lambda self, problem, code, **_: original_submit(self, problem, code and code.strip())
    try:
        assert score.main(files.arguments()) == 0
    finally:
        fake_evaluator.submit = original_submit
    assert files.read_statuses() == [("a", 0, "passed"), ("a", 1, "no_code")]


def make_rejected_arguments(files, folder):
    """Return arguments that make valid ones invalid, each with a pattern of the error message."""
    (folder / "folder.jsonl").mkdir()
    (folder / "empty.jsonl").write_text("")
    (folder / "broken.json").write_text('[{"question_id": "a", "code_list": ["passed"]}, {')
    (folder / "damaged.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00damaged")
    return {
        ("--problems", f"{folder}/none.jsonl"): "--problems .*none.jsonl: No such file",
        ("--problems", f"{folder}/folder.jsonl"): "--problems .*folder.jsonl: Is a directory",
        ("--problems", f"{folder}/problems.csv"): "neither",
        ("--problems", f"{folder}/empty.jsonl"): "row 1: .*no problem 'a'(.|\n)*no programs to judge",
        ("--problems", f"{folder}/damaged.jsonl.gz"): "--problems .*damaged.jsonl.gz: .",
        ("--solutions", f"{folder}/none.jsonl"): "--solutions .*none.jsonl: No such file",
        ("--solutions", f"{folder}/folder.jsonl"): "--solutions .*folder.jsonl: not a regular file",
        ("--solutions", "/dev/null"): "not a regular file",
        ("--solutions", f"{folder}/empty.jsonl"): "no programs to judge",
        ("--solutions", f"{folder}/broken.json"): "broken.json, after row 1: the JSON list is broken",
        ("--solutions", f"{folder}/damaged.jsonl.gz"): "damaged gzip",
        ("--out", f"{folder}/none/V.jsonl"): "--out .*none/V.jsonl: No such file",
        ("--out", f"{folder}/folder.jsonl"): "--out .*folder.jsonl: Is a directory",
        ("--out", str(files.problems)): "--out .*would overwrite an input",
        ("--out", f"{files.solutions.parent}/./S.jsonl"): "--out .*would overwrite an input",
    }


def test_invalid_input_keeps_the_old_verdicts(files, fake_evaluator, capsys, tmp_path):
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed")])
    original_inputs = files.problems.read_bytes(), files.solutions.read_bytes()
    for arguments, message in make_rejected_arguments(files, tmp_path).items():
        for old_verdicts in (None, "of another run"):
            files.out.unlink(missing_ok=True) if old_verdicts is None else files.out.write_text(old_verdicts)
            assert score.main(files.arguments(*arguments)) == 2
            assert_matches(message, capsys.readouterr().err)
            assert (files.out.read_text() if files.out.exists() else None) == old_verdicts
    assert original_inputs == (files.problems.read_bytes(), files.solutions.read_bytes())
    assert fake_evaluator.instances == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers: expected a whole number of at least 1, got '0'"),
        (["--workers", "two"], "--workers"),
        (["--timeout", "0"], "--timeout: expected seconds"),
        (["--timeout", "nan"], "--timeout: expected seconds"),
        (["--timeout", "inf"], "--timeout: expected seconds"),
        (["--memory-mb", "-1"], "--memory-mb"),
        (["--policy", "loose"], "--policy: invalid choice"),
        (["--work", "2"], "unrecognized arguments"),
        (["--out", "V.jsonl.gz"], "without compression"),
    ],
)
def test_invalid_option_is_a_usage_error(files, capsys, arguments, message):
    with pytest.raises(SystemExit) as raised:
        score.main(files.arguments(*arguments))
    assert raised.value.code == 2
    assert message in capsys.readouterr().err
