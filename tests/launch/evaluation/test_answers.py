"""Log of answers: reopening it after a kill, and rejecting other settings."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.verdict import FailedTest, Status, Verdict
from launch.evaluation.answers import SCHEMA, Answer, AnswerLog, AnswerLogError
from learner.rollout import Judgement
from tests.factories import make_problem

SETTINGS = {"model": "m", "temperature": 0.6}


def make_answer(question_id="q", index=0, text="```python\nprint(1)\n```"):
    return Answer(question_id=question_id, sample_index=index, text=text, tokens=7, truncated=False, seconds=0.5)


def make_judgement(status=Status.PASSED, detail=""):
    verdict = Verdict(
        status=status,
        tests_passed=1,
        tests_run=1,
        tests_total=1,
        first_failed=None,
        accepted_by="exact" if status is Status.PASSED else None,
        seconds=0.1,
        detail=detail,
    )
    return Judgement(verdict=verdict, code="print(1)", incomplete=False, seconds=0.2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evaluation" / "answers.jsonl"


def write_log(path, count=3):
    """Write a log of ``count`` judged answers, and close it."""
    log = AnswerLog(path, SETTINGS)
    for index in range(count):
        log.add_answer(make_answer(index=index))
        log.add_judgement(("q", index), make_judgement())
    log.close()
    return log


def test_reopened_log_has_the_same_content(path):
    before = write_log(path)
    after = AnswerLog(path, SETTINGS)
    assert (after.answers, after.judgements) == (before.answers, before.judgements)
    assert len(after.answers) == 3


@given(st.integers(1, 10_000))
def test_kill_at_any_byte_loses_at_most_one_line(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("log") / "answers.jsonl"
    write_log(path)
    content = path.read_bytes()
    cut = cut % len(content)
    path.write_bytes(content[:cut])
    log = AnswerLog(path, SETTINGS)
    lines = content[:cut].count(b"\n")
    assert len(log.answers) + len(log.judgements) == max(0, lines - 1)
    log.add_answer(make_answer("another"))
    log.close()
    assert ("another", 0) in AnswerLog(path, SETTINGS).answers


def test_log_with_other_settings_is_rejected(path):
    write_log(path)
    with pytest.raises(AnswerLogError, match=r"temperature was 0\.6, now 1\.0"):
        AnswerLog(path, {**SETTINGS, "temperature": 1.0})


def test_log_keeps_failed_tests_and_may_lack_them(path):
    """Logs of earlier versions have no key ``failed_test``."""
    log = AnswerLog(path, SETTINGS)
    log.add_answer(make_answer())
    judgement = make_judgement(Status.WRONG_ANSWER)
    failed_test = FailedTest(input="1\n", expected="2\n", actual=None)
    judgement = replace(judgement, verdict=replace(judgement.verdict, first_failed=0, failed_test=failed_test))
    log.add_judgement(("q", 0), judgement)
    log.close()
    assert AnswerLog(path, SETTINGS).judgements == {("q", 0): judgement}
    (row,) = AnswerLog(path, SETTINGS).rows({"q": make_problem()})
    assert (row["failed_input"], row["failed_expected"], row["failed_actual"]) == ("1\n", "2\n", None)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    del lines[-1]["judgement"]["verdict"]["failed_test"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert AnswerLog(path, SETTINGS).judgements["q", 0].verdict.failed_test is None


def test_damaged_line_is_an_error_with_its_number(path):
    write_log(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "rubbish", *lines[1:]]) + "\n")
    with pytest.raises(AnswerLogError, match=r"answers\.jsonl, line 2"):
        AnswerLog(path, SETTINGS)


def test_parquet_has_a_row_for_each_judged_answer(path, tmp_path):
    log = AnswerLog(path, SETTINGS)
    log.add_answer(make_answer("b"))
    log.add_answer(make_answer("a", 1))
    log.add_answer(make_answer("a", 0, text="lone \ud800 surrogate"))
    log.add_judgement(("b", 0), make_judgement(Status.WRONG_ANSWER, "answered '\udc80'"))
    log.add_judgement(("a", 0), make_judgement())
    log.add_answer(make_answer("not asked"))
    log.add_judgement(("not asked", 0), make_judgement())
    problems = [make_problem("a", platform="trained", extra={"family": "sums"}), make_problem("b")]
    log.write_parquet(tmp_path / "answers.parquet", problems)
    table = pq.read_table(tmp_path / "answers.parquet")
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert [(row["question_id"], row["sample_index"], row["passed"]) for row in rows] == [
        ("a", 0, True),
        ("b", 0, False),
    ]
    assert [(row["platform"], row["family"]) for row in rows] == [("trained", "sums"), ("other", None)]
    assert rows[0]["text"] == "lone \\ud800 surrogate"
    assert not list(tmp_path.glob("*.unfinished"))
