"""Figures of an evaluation: what counts, how it is grouped, and what a reader is told of the rest."""

import io
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evaluator.pass_at_k import Attempts, estimate
from evaluator.verdict import Status
from launch.evaluation.answers import Answer
from launch.evaluation.scores import ALL, counted, metrics, pass_at_k_table, score, table, to_json
from learner.rollout import Judgement
from tests.factories import problem, verdict

PASSED = Status.PASSED
FAILED = Status.WRONG_ANSWER
ERROR = Status.SANDBOX_ERROR
MISSING = None


def judged(outcomes):
    """Answers and judgements of outcomes by question id; None is an answer that never came."""
    answers = {}
    judgements = {}
    for question_id, statuses in outcomes.items():
        for index, status in enumerate(statuses):
            if status is not None:
                answers[question_id, index] = Answer(
                    question_id=question_id,
                    sample_index=index,
                    text="text",
                    tokens=10 * (index + 1),
                    truncated=index == 0,
                    seconds=0.5,
                )
                judgements[question_id, index] = Judgement(
                    verdict=verdict(status), code="print(1)", incomplete=False, seconds=0.1
                )
    return answers, judgements


def scored(problems, outcomes):
    return score(problems, max(map(len, outcomes.values())), *judged(outcomes))


def shown(what, width=100):
    output = io.StringIO()
    console = Console(file=output, width=width)
    console.print(what)
    return output.getvalue()


TWO_PLATFORMS = [
    problem("a", platform="leetcode", difficulty="hard"),
    problem("b", platform="atcoder", difficulty="easy"),
    problem("c", platform="leetcode", difficulty="easy"),
    problem("d", platform="[bold]judge", difficulty=None),
]
OUTCOMES = {
    "a": [FAILED, FAILED, PASSED, FAILED],
    "b": [PASSED, PASSED, PASSED, PASSED],
    "c": [PASSED, ERROR, FAILED, MISSING],
    "d": [ERROR, ERROR, MISSING, MISSING],
}


def test_only_judged_answers_count_and_the_rest_is_told():
    scores = scored(TWO_PLATFORMS, OUTCOMES)
    every = scores.cell(ALL, ALL)
    assert every.pass_at_1.mean == pytest.approx((1 / 4 + 1 + 1 / 2) / 3)
    assert (every.problems, every.fewest, every.most) == (3, 2, 4)
    assert every.pass_at_k == pytest.approx(((1 / 4 + 1 + 1 / 2) / 3, (1 / 2 + 1 + 1) / 3))
    assert (scores.unattempted, scores.lacking, scores.sandbox_errors) == (1, 3, 3)
    came = [4, 4, 3, 2]
    assert scores.truncated == pytest.approx(4 / sum(came))
    assert scores.answer_tokens == pytest.approx(sum(10 * sum(range(1, n + 1)) for n in came) / sum(came))


def test_attempts_are_in_the_order_of_their_samples():
    answers, judgements = judged(OUTCOMES)
    backwards = dict(reversed(answers.items()))
    assert [answer.sample_index for answer, _ in counted(TWO_PLATFORMS[2], 4, backwards, judgements)] == [0, 2]


def test_an_answer_without_judgement_is_lacking_and_a_foreign_one_passed_over():
    answers, judgements = judged({"q": [PASSED, FAILED, FAILED], "other": [PASSED]})
    del judgements["q", 1]
    scores = score([problem("q")], 2, answers, judgements)
    assert (scores.lacking, scores.cell(ALL, ALL).pass_at_1.mean, scores.answer_tokens) == (1, 1.0, 15)


def test_cells_are_of_each_platform_and_difficulty_in_order():
    outcomes = {name: [PASSED, FAILED] for name in "abcd"}
    scores = scored(TWO_PLATFORMS, outcomes)
    assert scores.platforms == ("atcoder", "leetcode", "[bold]judge", ALL)
    assert scores.difficulties == ("easy", "hard", "-", ALL)
    found = {(cell.platform, cell.difficulty): cell.problems for cell in scores.cells}
    assert found["leetcode", "easy"] == 1 and found["leetcode", ALL] == 2 and found[ALL, "easy"] == 2
    assert ("atcoder", "hard") not in found
    assert scores.cell("atcoder", "hard") is None


STATUSES = st.lists(st.sampled_from([PASSED, FAILED, ERROR, MISSING]), min_size=1)


@given(st.dictionaries(st.text("abc", min_size=1), STATUSES))
def test_it_says_the_same_as_the_estimator_and_loses_nothing(outcomes):
    problems = [problem(name, platform=name[0], difficulty=name[-1]) for name in outcomes]
    samples = max(map(len, outcomes.values()), default=1)
    scores = score(problems, samples, *judged(outcomes))
    tried = {
        name: Attempts(len(kept), kept.count(PASSED))
        for name, statuses in outcomes.items()
        if (kept := [status for status in statuses if status in (PASSED, FAILED)])
    }
    every = scores.cell(ALL, ALL)
    assert (every is None) == (not tried)
    if every:
        assert every.pass_at_1 == estimate(tried, 1)
        assert every.pass_at_k[-1] == pytest.approx(estimate(tried, every.fewest).mean)
        assert sum(cell.problems for cell in scores.cells if ALL not in (cell.platform, cell.difficulty)) == len(tried)
    total = sum(one.tried for one in tried.values()) + scores.sandbox_errors + scores.lacking
    assert total == samples * len(problems)
    assert shown(table(scores)) and shown(pass_at_k_table(scores))
    json.dumps([to_json(scores), metrics(scores, "x")], allow_nan=False)


def test_the_table_reads_well_as_plain_text():
    text = shown(table(scored(TWO_PLATFORMS, OUTCOMES), "a title"))
    lines = text.splitlines()
    assert lines[0].strip() == "a title"
    assert [line.split()[1] for line in lines if "n=" in line] == ["atcoder", "leetcode", ALL]
    every = next(line for line in lines if line.startswith("│ all"))
    assert "58.3  n=3" in every and "\x1b" not in text
    assert "their 2 to 4 attempts" in " ".join(text.split())
    assert (
        "1 of 4 problems have no attempt" in text and "3 answers are lacking" in text and "3 answers could not" in text
    )
    assert max(map(len, lines)) <= 100


def test_names_from_files_are_no_markup():
    assert "[bold]judge" in shown(table(scored(TWO_PLATFORMS, {name: [PASSED, FAILED] for name in "abcd"})))


def test_one_platform_and_one_difficulty_make_one_figure():
    scores = scored([problem("q", platform="atcoder", difficulty="easy")], {"q": [PASSED, FAILED]})
    text = shown(table(scores))
    assert text.count("n=1") == 1 and "atcoder" not in text and "easy" not in text


def test_pass_at_k_has_a_line_for_each_k_and_a_dash_beyond_the_fewest():
    scores = scored(TWO_PLATFORMS, OUTCOMES)
    rows = [line.strip("│ ").split("│") for line in shown(pass_at_k_table(scores)).splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1", "100.0", "37.5", "58.3"],
        ["2", "100.0", "75.0", "83.3"],
        ["3", "100.0", "-", "-"],
        ["4", "100.0", "-", "-"],
    ]


def test_metrics_are_flat_with_powers_of_two_and_the_largest_k():
    statuses = [PASSED, FAILED, FAILED, FAILED, FAILED]
    values = metrics(scored([problem("q", platform="atcoder", difficulty="easy")], {"q": statuses}), "lcb_v6")
    cells = {f"evaluation/lcb_v6/{p}/{d}/pass@1" for p in ("atcoder", ALL) for d in ("easy", ALL)}
    assert all(values[name] == pytest.approx(0.2) for name in cells)
    larger = {name for name in values if "pass@" in name} - cells
    assert larger == {f"evaluation/lcb_v6/all/all/pass@{k}" for k in (2, 4, 5)}
    assert values["evaluation/lcb_v6/all/all/pass@4"] == pytest.approx(0.8)
    assert values["evaluation/lcb_v6/truncated"] == pytest.approx(0.2)
    assert values["evaluation/lcb_v6/response_length/mean"] == pytest.approx(30)
    assert (values["evaluation/lcb_v6/sandbox_errors"], values["evaluation/lcb_v6/lacking"]) == (0, 0)


def test_without_any_answer_there_are_counts_and_no_figures():
    scores = score([problem("q")], 2, {}, {})
    assert (scores.cells, scores.lacking, scores.truncated) == ((), 2, None)
    assert not any("pass@" in name or "truncated" in name for name in metrics(scores, "x"))
    assert "no attempt at any problem" in shown(table(scores))


def test_json_has_everything():
    values = json.loads(json.dumps(to_json(scored(TWO_PLATFORMS, OUTCOMES))))
    every = next(cell for cell in values["cells"] if (cell["platform"], cell["difficulty"]) == (ALL, ALL))
    assert every["pass_at_1"].keys() == {"mean", "low", "high"} and list(every["pass_at_k"]) == ["1", "2"]
    assert values["sandbox_errors"] == 3 and values["samples"] == 4


@pytest.mark.heavy
def test_a_full_release_takes_seconds_at_most():
    kinds = [(platform, difficulty) for platform in ("atcoder", "leetcode") for difficulty in ("easy", "hard")]
    problems = [problem(str(n), platform=kinds[n % 4][0], difficulty=kinds[n % 4][1]) for n in range(1055)]
    outcomes = {str(n): [PASSED] * (n % 65) + [FAILED] * (64 - n % 65) for n in range(1055)}
    answers, judgements = judged(outcomes)
    began = time.process_time()
    score(problems, 64, answers, judgements)
    assert time.process_time() - began < 10  # about one; what it must not be is minutes
