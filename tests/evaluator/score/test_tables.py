"""The scoring command's tables: status counts and pass@k."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.pass_at_k import Attempts, pass_at_k
from evaluator.score import __main__ as score
from evaluator.score.tables import pass_table
from tests.evaluator.score.run_files import cells, codes, problem


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=5))
def test_every_k_that_all_problems_of_a_line_allow(pairs):
    attempts = [Attempts(tried, min(tried, passed)) for tried, passed in pairs]
    most = max(attempts, key=lambda one: one.tried)
    blocks = pass_table({"all": Counter(attempts), "one": Counter([most])}).split("\n\n")
    tables = [cells(block) for block in blocks]
    header, every, one = ([cell for table in tables for cell in table[name][2:]] for name in ("", "all", "one"))
    assert header == [f"pass@{k}" for k in range(1, most.tried + 1)]
    fewest = min(one.tried for one in attempts)
    for k, (mean, alone) in enumerate(zip(every, one, strict=True), 1):
        assert alone == f"{pass_at_k(most.tried, most.passed, k):.1%}"
        if k <= fewest:
            exact = sum(pass_at_k(one.tried, one.passed, k) for one in attempts) / len(attempts)
            assert float(mean[:-1]) == pytest.approx(100 * exact, abs=0.051)
        else:
            assert mean == "-"


def test_nothing_to_show():
    assert cells(pass_table({})) == {"": ["problems", "programs", "pass@1"]}


def test_groups_come_in_order_and_print_safely(files, judge, capsys):
    names = ["hard", "unheard of", None, "easy", "\x1b[31mred", "medium"]
    rows = [problem(str(n), name, "ü") for n, name in enumerate(names)]
    files.write(rows, [codes(str(n), "passed") for n in range(len(names))])
    assert score.main(files.arguments()) == 0
    out = capsys.readouterr().out
    assert [line.split("  ")[0] for line in out.split("\n\n")[-1].splitlines()[1:]] == [
        *("all", "difficulty easy", "difficulty medium", "difficulty hard"),
        *("difficulty \\x1b[31mred", "difficulty -", "difficulty unheard of", "platform \\xfc"),
    ]
    assert out.isascii()


def test_sandbox_errors_do_not_count(files, judge, capsys):
    rows = [codes("a", "passed", "sandbox_error", "passed"), codes("b", "sandbox_error", "sandbox_error")]
    files.write([problem("a"), problem("b")], rows)
    assert score.main(files.arguments()) == 3
    assert [row["passed"] for row in files.verdicts()] == [True, False, True, False, False]
    out, err = capsys.readouterr()
    assert cells(out)["sandbox_error"] == ["3", "60.0%"]
    assert cells(out)["all"] == ["1", "2", "100.0%", "100.0%"]
    assert "3 programs have no verdict (sandbox_error)" in err
    assert "1 problems have no other" in err
