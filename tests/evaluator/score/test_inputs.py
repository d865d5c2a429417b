"""Arguments and input files of the scoring command: invalid rows, unusable files, several rows of a problem."""

import gzip
import json
import os
import threading

import pyarrow as pa
import pytest
from pyarrow import parquet

from evaluator.score import __main__ as score
from evaluator.score import inputs
from tests.evaluator.score.fakes import assert_matches, make_problem_row, make_solution_row, parse_tables

INVALID_SOLUTIONS = {
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
    assert_matches(message.replace("skipped: ", ""), capsys.readouterr().err)
    assert not files.out.exists()


UNUSABLE_PROBLEMS = {
    "unknown": (None, "no problem 'x' in .*P.jsonl"),
    "bad row": (make_problem_row("x", tests=()), r"problem 'x' is not usable: .*no tests at all \(.*P.jsonl, row 2\)"),
    "bad, repeated row": (make_problem_row("x", memory_limit_mb=0), "metadata.memory_limit_mb.*P.jsonl, row 2"),
}


@pytest.mark.parametrize("name", UNUSABLE_PROBLEMS)
def test_programs_without_usable_problem_have_a_row_with_the_reason(files, fake_evaluator, capsys, name):
    row, reason = UNUSABLE_PROBLEMS[name]
    problems = [make_problem_row("a"), *([] if row is None else [row, row])]
    answers = {"question_id": "x", "output_list": ["passed", "passed"]}
    files.write_inputs(problems, [answers, make_solution_row("a", "passed"), make_solution_row("x", "passed")])
    assert score.main(files.arguments()) == 3
    assert files.read_statuses() == [
        *(("x", 0, "sandbox_error"), ("x", 1, "sandbox_error"), ("a", 0, "passed"), ("x", 2, "sandbox_error")),
    ]
    for verdict in files.read_verdicts():
        assert verdict["tests_total"] == (3 if verdict["question_id"] == "a" else 0)
        assert_matches(reason if verdict["question_id"] == "x" else "detail", verdict["detail"])
    out, err = capsys.readouterr()
    assert_matches(f"S.jsonl, row 1: not judged: .*{reason}", err)
    assert parse_tables(out)["all"] == ["1", "1", "100.0%"]
    files.out.unlink()
    assert score.main(files.arguments("--strict")) == 2
    assert_matches("error: --(problems .*P.jsonl, line 2|solutions .*S.jsonl, row 1): ", capsys.readouterr().err)
    assert not files.out.exists()


@pytest.mark.usefixtures("failing_parser")
def test_failure_of_the_parser_is_a_row_of_its_own(files, fake_evaluator):
    answers = {"question_id": "a", "output_list": ["```python\nprint(1)\n```", ""]}
    files.write_inputs([make_problem_row("a")], [answers, make_solution_row("a", "passed")])
    assert score.main(files.arguments()) == 3
    assert files.read_statuses() == [("a", 0, "sandbox_error"), ("a", 1, "no_code"), ("a", 2, "passed")]
    failed = files.read_verdicts()[0]
    assert (failed["tests_run"], failed["tests_total"]) == (0, 2)
    assert "the parser process failed twice" in failed["detail"]


def test_first_usable_row_of_a_problem_counts(files, fake_evaluator):
    files.write_inputs([make_problem_row("a", tests=()), make_problem_row("a")], [make_solution_row("a", "passed")])
    assert score.main(files.arguments()) == 0
    assert files.read_statuses() == [("a", 0, "passed")]


def test_only_tests_of_answered_problems_are_unpacked(files, fake_evaluator, capsys):
    unpackable = make_problem_row("a") | {"private_test_cases": "%%%"}
    rows = [unpackable, unpackable | {"question_id": "b"}, make_problem_row("c")]
    files.write_inputs(rows, [make_solution_row(name, "passed") for name in "bc"])
    assert score.main(files.arguments()) == 3
    assert files.read_statuses() == [("b", 0, "sandbox_error"), ("c", 0, "passed")]
    err = capsys.readouterr().err
    assert_matches("P.jsonl, row 2: skipped: private_test_cases: neither JSON nor", err)
    assert "1 of 2 problems have no solutions" in err
    assert "P.jsonl, row 1" not in err


def compress_list(rows):
    return gzip.compress(json.dumps(rows).encode())


def dump_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def dump_parquet(rows):
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("dump", [compress_list, dump_lines, dump_parquet])
@pytest.mark.parametrize("from_pipe", [False, True], ids=["file", "pipe"])
def test_inputs_are_recognised_by_content(files, fake_evaluator, capsys, dump, from_pipe):
    contents = {
        files.problems.with_name("problems"): dump([make_problem_row("a"), make_problem_row("b")]),
        files.solutions.with_name("solutions.txt"): dump([make_solution_row(name, "passed") for name in "ab"]),
    }
    writers = []
    for path, data in contents.items():
        if from_pipe:
            os.mkfifo(path)
        writers.append(threading.Thread(target=path.write_bytes, args=[data]))
        writers[-1].start()
        if not from_pipe:
            writers[-1].join()
    problems, solutions = map(str, contents)
    assert score.main(files.arguments("--problems", problems, "--solutions", solutions)) == 0
    for writer in writers:
        writer.join()
    assert files.read_statuses() == [("a", 0, "passed"), ("b", 0, "passed")]
    assert capsys.readouterr().err == ""


def test_invalid_problem_is_reported_and_skipped_or_fatal(files, fake_evaluator, capsys):
    files.write_inputs([make_problem_row("a"), make_problem_row("b", tests=())], [make_solution_row("a", "passed")])
    assert score.main(files.arguments()) == 0  # every program of a valid problem has a verdict
    assert_matches("P.jsonl, row 2: skipped: .*no tests", capsys.readouterr().err)
    assert score.main(files.arguments("--strict")) == 2
    assert_matches("P.jsonl, line 2: .*no tests", capsys.readouterr().err)


def test_messages_about_many_invalid_rows_are_limited(files, fake_evaluator, capsys):
    unknown = [make_solution_row(f"x{n}", "passed") for n in range(500)]
    files.write_inputs([make_problem_row("a")], [make_solution_row("a", "passed"), *unknown, *["3"] * 20])
    assert score.main(files.arguments()) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 * (inputs.MAX_ROW_MESSAGES + 1) + 1
    assert lines[10].endswith("10 more rows skipped (20 in all)")
    assert lines[21].endswith("490 more rows not judged (500 in all)")


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
    (folder / "list.json").write_text("[1, 2]")
    (folder / "problems.csv").write_text("question_id,difficulty\na,easy\n")
    (folder / "copy.jsonl").write_bytes(files.solutions.read_bytes())
    (folder / "swapped.jsonl").write_bytes(files.problems.read_bytes())
    (folder / "link").symlink_to(files.solutions)
    (folder / "broken.json").write_text('[{"question_id": "a", "code_list": ["passed"]}, {')
    (folder / "damaged.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00damaged")
    return {
        ("--problems", f"{folder}/none.jsonl"): "--problems .*none.jsonl: No such file",
        ("--problems", f"{folder}/folder.jsonl"): "--problems .*folder.jsonl: Is a directory",
        ("--problems", f"{folder}/problems.csv"): "problems.csv: no usable problem: 2 rows, .*row 1.*: not JSON",
        ("--problems", f"{folder}/empty.jsonl"): "--problems .*empty.jsonl: no usable problem: the file has no rows",
        ("--problems", f"{folder}/list.json"): "--problems .*list.json: no usable problem: .*row 1.*expected an object",
        ("--problems", f"{folder}/broken.json"): "--problems .*broken.json, after row 1: the JSON list is broken",
        ("--problems", f"{folder}/damaged.jsonl.gz"): "--problems .*damaged.jsonl.gz, after row 0: damaged gzip",
        ("--problems", f"{folder}/copy.jsonl"): "no usable problem: .*looks like a row of solutions",
        ("--problems", str(files.solutions)): "--solutions .*S.jsonl: the same file as --problems",
        ("--problems", "/dev/null"): "--problems /dev/null: not a regular file or a pipe",
        ("--solutions", f"{folder}/none.jsonl"): "--solutions .*none.jsonl: No such file",
        ("--solutions", f"{folder}/folder.jsonl"): "--solutions .*folder.jsonl: Is a directory",
        ("--solutions", "/dev/null"): "not a regular file",
        (
            "--solutions",
            f"{folder}/empty.jsonl",
        ): "--solutions .*empty.jsonl: no programs .*the file has no rows",
        ("--solutions", f"{folder}/swapped.jsonl"): "no programs to judge: .*looks like a row of problems",
        ("--solutions", f"{folder}/broken.json"): "broken.json, after row 1: the JSON list is broken",
        ("--solutions", f"{folder}/damaged.jsonl.gz"): "damaged gzip",
        ("--out", f"{folder}/none/V.jsonl"): "--out .*none/V.jsonl: No such file",
        ("--out", f"{folder}/folder.jsonl"): "--out .*folder.jsonl: Is a directory",
        ("--out", str(files.problems)): "--out .*the same file as --problems .*overwrite",
        ("--out", f"{files.solutions.parent}/./S.jsonl"): "--out .*the same file as --solutions .*overwrite",
        ("--out", f"{folder}/link"): "--out .*the same file as --solutions .*overwrite",
        ("--problems", f"{folder}/new", "--out", f"{folder}/./new"): "--out .*the same file as --problems .*overwrite",
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
        (["--workers", "0"], "--workers: expected a whole number from 1 to 4096, got '0'"),
        (["--workers", "4097"], "--workers: expected a whole number from 1 to 4096, got '4097'"),
        (["--workers", "two"], "--workers: expected a whole number from 1 to 4096, got 'two'"),
        (["--workers", "9" * 9999], "--workers: expected a whole number from 1 to 4096, got '999"),
        (["--timeout", "0"], "--timeout: expected seconds, more than 0 and at most 86400, got '0'"),
        (["--timeout", "nan"], "--timeout: expected seconds"),
        (["--timeout", "inf"], "--timeout: expected seconds"),
        (["--memory-mb", "-1"], "--memory-mb: expected a whole number from 1 to 16777216, got '-1'"),
        (["--explain", "a"], "--explain: expected ID:INDEX with an index from 0, such as abc301_a:0, got 'a'"),
        (["--explain", ":0"], "--explain: expected ID:INDEX"),
        (["--explain", "a:-1"], "--explain: expected ID:INDEX"),
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
