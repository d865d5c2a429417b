"""The scoring command's arguments and input files: bad rows, unusable files, rows of one problem."""

import pytest

from evaluator.score import __main__ as score
from evaluator.score import inputs
from tests.evaluator.score.run_files import assert_matches, cells, codes, problem

BAD_SOLUTIONS = {
    "unknown problem": (codes("x", "passed"), "S.jsonl, row 2: .*no problem 'x' in .*P.jsonl"),
    "wrong type": (codes("a", 3), r"S.jsonl, row 2: .*code_list\[0\]: expected text, got 3"),
    "not JSON": ("{", "S.jsonl, row 2: .*not JSON"),
}


@pytest.mark.parametrize("name", BAD_SOLUTIONS)
def test_a_bad_row_is_told_and_skipped_or_fatal(files, judge, capsys, name):
    row, message = BAD_SOLUTIONS[name]
    files.write([problem("a")], [codes("a", "passed"), row, codes("a", "no_code")])
    assert score.main(files.arguments()) == 3
    assert files.statuses() == [("a", 0, "passed"), ("a", 1, "no_code")]
    assert_matches(message, capsys.readouterr().err)
    files.out.unlink()
    assert score.main(files.arguments("--strict")) == 2
    assert_matches(message.replace(", ", ": ", 1), capsys.readouterr().err)
    assert not files.out.exists()


def test_a_bad_problem_is_told_and_skipped_or_fatal(files, judge, capsys):
    files.write([problem("a"), problem("b", tests=())], [codes("a", "passed")])
    assert score.main(files.arguments()) == 0  # each program that is there got its verdict
    assert_matches("P.jsonl, row 2: skipped: .*no tests", capsys.readouterr().err)
    assert score.main(files.arguments("--strict")) == 2
    assert_matches("P.jsonl, line 2: .*no tests", capsys.readouterr().err)


def test_many_bad_rows_are_counted(files, judge, capsys):
    files.write([problem("a")], [codes("a", "passed"), *(codes(f"x{n}", "passed") for n in range(500))])
    assert score.main(files.arguments()) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == inputs.MESSAGES + 1
    assert lines[-1].endswith("490 more bad rows skipped (500 in all)")


def test_problems_without_solutions(files, judge, capsys):
    files.write([problem("a"), problem("b"), problem("c")], [codes("b", "passed")])
    assert score.main(files.arguments("--strict")) == 0
    out, err = capsys.readouterr()
    assert "2 of 3 problems have no solutions" in err
    assert cells(out)["all"] == ["1", "1", "100.0%"]


def test_rows_of_one_problem_are_joined(files, judge, capsys):
    rows = [codes("a", "passed"), codes("b", "passed"), codes("a", "no_code", "passed")]
    files.write([problem("a"), problem("b")], rows)
    assert score.main(files.arguments()) == 0
    assert files.statuses() == [("a", 0, "passed"), ("b", 0, "passed"), ("a", 1, "no_code"), ("a", 2, "passed")]
    out, err = capsys.readouterr()
    assert "1 rows are for problems that had a row before" in err
    assert "1 to 3 judged programs" in err
    assert cells(out)["all"] == ["2", "4", "83.3%"]


def test_code_is_extracted_from_answers(files, judge):
    answers = {"question_id": "a", "output_list": ["```python\npassed\n```", "no code here"]}
    files.write([problem("a")], [answers])
    before = judge.submit
    judge.submit = lambda self, problem, code, **_: before(self, problem, code and code.strip())
    try:
        assert score.main(files.arguments()) == 0
    finally:
        judge.submit = before
    assert files.statuses() == [("a", 0, "passed"), ("a", 1, "no_code")]


def refusals(files, folder):
    """Arguments that come after good ones, and what is said about them."""
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


def test_what_is_refused_leaves_the_old_verdicts(files, judge, capsys, tmp_path):
    files.write([problem("a")], [codes("a", "passed")])
    inputs = files.problems.read_bytes(), files.solutions.read_bytes()
    for arguments, message in refusals(files, tmp_path).items():
        for before in (None, "of another run"):
            files.out.unlink(missing_ok=True) if before is None else files.out.write_text(before)
            assert score.main(files.arguments(*arguments)) == 2
            assert_matches(message, capsys.readouterr().err)
            assert (files.out.read_text() if files.out.exists() else None) == before
    assert inputs == (files.problems.read_bytes(), files.solutions.read_bytes())
    assert judge.made == []


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
def test_impossible_arguments(files, capsys, arguments, message):
    with pytest.raises(SystemExit) as raised:
        score.main(files.arguments(*arguments))
    assert raised.value.code == 2
    assert message in capsys.readouterr().err
