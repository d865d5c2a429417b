"""Scores of an evaluation: which answers count, how they are grouped, and how the others are reported."""

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
from launch.evaluation.scores import (
    ALL,
    build_pass_at_1_table,
    build_pass_at_k_table,
    compute_scores,
    list_attempts,
    make_evaluation_metrics,
    scores_to_json,
)
from learner.rollout import Judgement
from tests.factories import make_problem, make_verdict

PASSED = Status.PASSED
FAILED = Status.WRONG_ANSWER
ERROR = Status.SANDBOX_ERROR
MISSING = None


def make_judged_answers(outcomes):
    """Return answers and judgements with the statuses ``outcomes`` (by question id); None is a missing answer."""
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
                    verdict=make_verdict(status), code="print(1)", incomplete=False, seconds=0.1
                )
    return answers, judgements


def compute_outcome_scores(problems, outcomes):
    return compute_scores(problems, max(map(len, outcomes.values())), *make_judged_answers(outcomes))


def render(table, width=100):
    output = io.StringIO()
    console = Console(file=output, width=width)
    console.print(table)
    return output.getvalue()


TWO_PLATFORMS = [
    make_problem("a", platform="leetcode", difficulty="hard"),
    make_problem("b", platform="atcoder", difficulty="easy"),
    make_problem("c", platform="leetcode", difficulty="easy"),
    make_problem("d", platform="[bold]judge", difficulty=None),
]
OUTCOMES = {
    "a": [FAILED, FAILED, PASSED, FAILED],
    "b": [PASSED, PASSED, PASSED, PASSED],
    "c": [PASSED, ERROR, FAILED, MISSING],
    "d": [ERROR, ERROR, MISSING, MISSING],
}


def test_only_judged_answers_count_and_others_are_counted_separately():
    scores = compute_outcome_scores(TWO_PLATFORMS, OUTCOMES)
    overall = scores.cell(ALL, ALL)
    assert overall.pass_at_1.mean == pytest.approx((1 / 4 + 1 + 1 / 2) / 3)
    assert (overall.problems, overall.fewest, overall.most) == (3, 2, 4)
    assert overall.pass_at_k == pytest.approx(((1 / 4 + 1 + 1 / 2) / 3, (1 / 2 + 1 + 1) / 3))
    assert (scores.unattempted, scores.lacking, scores.sandbox_errors) == (1, 3, 3)
    sampled = [4, 4, 3, 2]
    assert scores.truncated == pytest.approx(4 / sum(sampled))
    assert scores.answer_tokens == pytest.approx(sum(10 * sum(range(1, n + 1)) for n in sampled) / sum(sampled))


def test_attempts_are_sorted_by_sample_index():
    answers, judgements = make_judged_answers(OUTCOMES)
    backwards = dict(reversed(answers.items()))
    assert [answer.sample_index for answer, _ in list_attempts(TWO_PLATFORMS[2], 4, backwards, judgements)] == [0, 2]


def test_unjudged_answer_counts_as_missing_and_other_problems_are_ignored():
    answers, judgements = make_judged_answers({"q": [PASSED, FAILED, FAILED], "other": [PASSED]})
    del judgements["q", 1]
    scores = compute_scores([make_problem("q")], 2, answers, judgements)
    assert (scores.lacking, scores.cell(ALL, ALL).pass_at_1.mean, scores.answer_tokens) == (1, 1.0, 15)


def test_cells_are_grouped_by_platform_and_difficulty_in_order():
    outcomes = {name: [PASSED, FAILED] for name in "abcd"}
    scores = compute_outcome_scores(TWO_PLATFORMS, outcomes)
    assert scores.platforms == ("atcoder", "leetcode", "[bold]judge", ALL)
    assert scores.difficulties == ("easy", "hard", "-", ALL)
    counts = {(cell.platform, cell.difficulty): cell.problems for cell in scores.cells}
    assert counts["leetcode", "easy"] == 1 and counts["leetcode", ALL] == 2 and counts[ALL, "easy"] == 2
    assert ("atcoder", "hard") not in counts
    assert scores.cell("atcoder", "hard") is None


STATUSES = st.lists(st.sampled_from([PASSED, FAILED, ERROR, MISSING]), min_size=1)


@pytest.mark.heavy
@given(st.dictionaries(st.text("abc", min_size=1), STATUSES))
def test_scores_equal_the_estimator_and_every_answer_is_counted(outcomes):
    problems = [make_problem(name, platform=name[0], difficulty=name[-1]) for name in outcomes]
    samples = max(map(len, outcomes.values()), default=1)
    scores = compute_scores(problems, samples, *make_judged_answers(outcomes))
    attempts = {
        name: Attempts(len(counted), counted.count(PASSED))
        for name, statuses in outcomes.items()
        if (counted := [status for status in statuses if status in (PASSED, FAILED)])
    }
    overall = scores.cell(ALL, ALL)
    assert (overall is None) == (not attempts)
    if overall:
        assert overall.pass_at_1 == estimate(attempts, 1)
        assert overall.pass_at_k[-1] == pytest.approx(estimate(attempts, overall.fewest).mean)
        single_cells = [cell for cell in scores.cells if ALL not in (cell.platform, cell.difficulty)]
        assert sum(cell.problems for cell in single_cells) == len(attempts)
    tried = sum(problem_attempts.tried for problem_attempts in attempts.values())
    assert tried + scores.sandbox_errors + scores.lacking == samples * len(problems)
    assert render(build_pass_at_1_table(scores)) and render(build_pass_at_k_table(scores))
    json.dumps([scores_to_json(scores), make_evaluation_metrics(scores, "x")], allow_nan=False)


def test_pass_at_1_table_renders_as_plain_text():
    text = render(build_pass_at_1_table(compute_outcome_scores(TWO_PLATFORMS, OUTCOMES), "a title"))
    lines = text.splitlines()
    assert lines[0].strip() == "a title"
    assert [line.split()[1] for line in lines if "n=" in line] == ["atcoder", "leetcode", ALL]
    last_row = next(line for line in lines if line.startswith("│ all"))
    assert "58.3  n=3" in last_row and "\x1b" not in text
    assert "their 2 to 4 attempts" in " ".join(text.split())
    assert "1 of 4 problems have no attempt" in text
    assert "3 answers are missing" in text and "3 answers could not" in text
    assert max(map(len, lines)) <= 100


def test_names_from_files_are_not_interpreted_as_markup():
    scores = compute_outcome_scores(TWO_PLATFORMS, {name: [PASSED, FAILED] for name in "abcd"})
    assert "[bold]judge" in render(build_pass_at_1_table(scores))


def test_table_of_one_platform_and_difficulty_has_only_the_overall_cell():
    problems = [make_problem("q", platform="atcoder", difficulty="easy")]
    text = render(build_pass_at_1_table(compute_outcome_scores(problems, {"q": [PASSED, FAILED]})))
    assert text.count("n=1") == 1 and "atcoder" not in text and "easy" not in text


def test_pass_at_k_table_has_a_row_per_k_and_dashes_beyond_the_fewest_attempts():
    scores = compute_outcome_scores(TWO_PLATFORMS, OUTCOMES)
    rows = [
        line.strip("│ ").split("│")
        for line in render(build_pass_at_k_table(scores)).splitlines()
        if line.startswith("│")
    ]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1", "100.0", "37.5", "58.3"],
        ["2", "100.0", "75.0", "83.3"],
        ["3", "100.0", "-", "-"],
        ["4", "100.0", "-", "-"],
    ]


def test_metrics_contain_pass_at_powers_of_two_and_the_largest_k():
    statuses = [PASSED, FAILED, FAILED, FAILED, FAILED]
    problems = [make_problem("q", platform="atcoder", difficulty="easy")]
    values = make_evaluation_metrics(compute_outcome_scores(problems, {"q": statuses}), "lcb_v6")
    cells = {f"evaluation/lcb_v6/{p}/{d}/pass@1" for p in ("atcoder", ALL) for d in ("easy", ALL)}
    assert all(values[name] == pytest.approx(0.2) for name in cells)
    larger = {name for name in values if "pass@" in name} - cells
    assert larger == {f"evaluation/lcb_v6/all/all/pass@{k}" for k in (2, 4, 5)}
    assert values["evaluation/lcb_v6/all/all/pass@4"] == pytest.approx(0.8)
    assert values["evaluation/lcb_v6/truncated"] == pytest.approx(0.2)
    assert values["evaluation/lcb_v6/response_length/mean"] == pytest.approx(30)
    assert (values["evaluation/lcb_v6/sandbox_errors"], values["evaluation/lcb_v6/lacking"]) == (0, 0)


def test_scores_without_answers_contain_only_counts():
    scores = compute_scores([make_problem("q")], 2, {}, {})
    assert (scores.cells, scores.lacking, scores.truncated) == ((), 2, None)
    assert not any("pass@" in name or "truncated" in name for name in make_evaluation_metrics(scores, "x"))
    assert "no attempt at any problem" in render(build_pass_at_1_table(scores))


def test_json_contains_all_scores():
    values = json.loads(json.dumps(scores_to_json(compute_outcome_scores(TWO_PLATFORMS, OUTCOMES))))
    overall = next(cell for cell in values["cells"] if (cell["platform"], cell["difficulty"]) == (ALL, ALL))
    assert overall["pass_at_1"].keys() == {"mean", "low", "high"} and list(overall["pass_at_k"]) == ["1", "2"]
    assert values["sandbox_errors"] == 3 and values["samples"] == 4


@pytest.mark.heavy
def test_scores_of_a_full_release_take_seconds():
    kinds = [(platform, difficulty) for platform in ("atcoder", "leetcode") for difficulty in ("easy", "hard")]
    problems = [make_problem(str(n), platform=kinds[n % 4][0], difficulty=kinds[n % 4][1]) for n in range(1055)]
    outcomes = {str(n): [PASSED] * (n % 65) + [FAILED] * (64 - n % 65) for n in range(1055)}
    answers, judgements = make_judged_answers(outcomes)
    started = time.process_time()
    compute_scores(problems, 64, answers, judgements)
    assert time.process_time() - started < 10  # takes about 1 s; a regression would take minutes
