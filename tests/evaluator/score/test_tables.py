"""Tables of the scoring command: status counts and pass@k."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.pass_at_k import Attempts, pass_at_k
from evaluator.score import __main__ as score
from evaluator.score.tables import format_pass_table
from tests.evaluator.score import fakes
from tests.evaluator.score.fakes import make_problem_row, make_solution_row, make_verdict, parse_tables


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=5))
def test_pass_at_k_is_a_dash_where_a_problem_has_fewer_than_k_programs(pairs):
    attempts = [Attempts(tried, min(tried, passed)) for tried, passed in pairs]
    largest = max(attempts, key=lambda attempt: attempt.tried)
    blocks = format_pass_table({"all": Counter(attempts), "one": Counter([largest])}).split("\n\n")
    tables = [parse_tables(block) for block in blocks]
    header, all_cells, one_cells = (
        [cell for table in tables for cell in table[name][2:]] for name in ("", "all", "one")
    )
    assert header == [f"pass@{k}" for k in range(1, largest.tried + 1)]
    fewest = min(attempt.tried for attempt in attempts)
    for k, (mean, largest_mean) in enumerate(zip(all_cells, one_cells, strict=True), 1):
        assert largest_mean == f"{pass_at_k(largest.tried, largest.passed, k):.1%}"
        if k <= fewest:
            exact = sum(pass_at_k(attempt.tried, attempt.passed, k) for attempt in attempts) / len(attempts)
            assert float(mean[:-1]) == pytest.approx(100 * exact, abs=0.051)
        else:
            assert mean == "-"


def test_empty_pass_table_has_only_a_header():
    assert parse_tables(format_pass_table({})) == {"": ["problems", "programs", "pass@1"]}


def test_groups_are_sorted_and_escaped(files, fake_evaluator, capsys):
    names = ["hard", "unheard of", None, "easy", "\x1b[31mred", "medium"]
    rows = [make_problem_row(str(n), name, "ü") for n, name in enumerate(names)]
    files.write_inputs(rows, [make_solution_row(str(n), "passed") for n in range(len(names))])
    assert score.main(files.arguments()) == 0
    out = capsys.readouterr().out
    assert [line.split("  ")[0] for line in out.split("\n\n")[-1].splitlines()[1:]] == [
        *("all", "difficulty easy", "difficulty medium", "difficulty hard"),
        *("difficulty \\x1b[31mred", "difficulty -", "difficulty unheard of", "platform \\xfc"),
    ]
    assert out.isascii()


def test_custom_checker_that_never_accepted_an_answer_is_named(files, fake_evaluator, capsys, monkeypatch):
    monkeypatch.setattr(
        fakes, "make_verdict", lambda status, detail: replace(make_verdict(status), tests_passed=status == "passed")
    )
    checker = {"type": "custom", "code": "def check(inp, out, exp): return out == exp"}
    problems = [make_problem_row(name, checker=checker) for name in ("never", "once", "crashes")]
    problems.append(make_problem_row("no checker"))
    solutions = [
        make_solution_row("never", "wrong_answer", "runtime_error", "wrong_answer"),
        make_solution_row("once", "wrong_answer", "passed"),
        make_solution_row("crashes", "runtime_error"),
        make_solution_row("no checker", "wrong_answer"),
    ]
    files.write_inputs(problems, solutions)
    assert score.main(files.arguments()) == 0
    table = capsys.readouterr().out.strip().split("\n\n")[-1]
    assert list(parse_tables(table).items()) == [
        ("custom checker that accepted no answer", ["wrong programs"]),
        ("never", ["2"]),
    ]


def test_sandbox_errors_do_not_count_as_programs(files, fake_evaluator, capsys):
    rows = [
        make_solution_row("a", "passed", "sandbox_error", "passed"),
        make_solution_row("b", "sandbox_error", "sandbox_error"),
    ]
    files.write_inputs([make_problem_row("a"), make_problem_row("b")], rows)
    assert score.main(files.arguments()) == 3
    assert [row["passed"] for row in files.read_verdicts()] == [True, False, True, False, False]
    out, err = capsys.readouterr()
    assert parse_tables(out)["sandbox_error"] == ["3", "60.0%"]
    assert parse_tables(out)["all"] == ["1", "2", "100.0%", "100.0%"]
    assert "3 programs have no verdict (sandbox_error)" in err
    assert "1 problems have no verdict at all" in err
