"""View of a completion: verdict, reward, the mask's conditions, difference of log-probs."""

import numpy as np
import pytest

from launch.run_report.mask_conditions import make_mask_details
from launch.run_report.rollout_rows import RolloutRow
from launch.run_report.run_files import RecordedSettings, read_run_files
from launch.run_report.text_views.sample import compare_logprobs, make_sample
from tests.launch.run_report.run_factory import OLD_COLUMNS, write_run


def make_settings(kind, **algorithm):
    return RecordedSettings({"algorithm": {"truncation_mask": kind, **algorithm}})


CONDITIONAL = make_settings("conditional", mask_probability=0.2, repeat_window=128)
MASKED = RolloutRow(
    finish_reason="length",
    truncated=True,
    incomplete=True,
    repeated_tail=False,
    mask_draw=0.125,
    masked=True,
    status="no_code",
    reward=0.0,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return read_run_files(write_run(tmp_path_factory.mktemp("runs") / "run"))


def list_answers(row, config):
    return [condition.holds for condition in make_mask_details(row, config).conditions]


def test_completion_has_texts_verdict_and_reward(run):
    view = make_sample(run, 1, "starter/family_2/0000", 3)
    (completion,) = view.completions
    assert completion.prompt == "Print the sum of two numbers, in version 2."
    assert completion.code == "a, b = map(int, input().split())\nprint(a + b)  # 3"
    assert completion.response == f"The sum:\n```python\n{completion.code}\n```"
    verdict = completion.verdict
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("runtime_error", 1, 3)
    assert (verdict.first_failed, verdict.failed_input, verdict.failed_expected) == (1, "1 2\n", "3\n")
    assert (verdict.failed_actual, verdict.accepted_by, verdict.seconds) == ("4\n", None, 0.375)
    assert (completion.reward, completion.temperature) == (0.0, pytest.approx(0.8))
    assert (completion.policy_version_min, completion.policy_version_max, completion.response_tokens) == (1, 1, 9)
    assert completion.logprobs.mean == pytest.approx(0.004, abs=1e-6)


def test_advantage_is_shown_before_and_after_the_mask(tmp_path):
    def mask(row):
        return {**row, "advantage": 0.0, "unmasked_advantage": -1.5, "masked": True}

    run = read_run_files(write_run(tmp_path / "run", steps=1, change_row=mask))
    (completion,) = make_sample(run, 0, "starter/family_1/0000", 3).completions
    assert (completion.unmasked_advantage, completion.advantage, completion.mask.masked) == (-1.5, 0.0, True)


def test_problem_with_two_groups_in_a_step_has_two_completions(tmp_path):
    run = read_run_files(write_run(tmp_path / "run", steps=1, groups=2, texts={"question_id": "q"}))
    view = make_sample(run, 0, "q", 1)
    assert [completion.group for completion in view.completions] == [0, 1]


def test_completion_of_an_older_version_has_unknown_values(tmp_path):
    run = read_run_files(write_run(tmp_path / "run", steps=1, columns=OLD_COLUMNS))
    (completion,) = make_sample(run, 0, "starter/family_1/0000", 3).completions
    assert completion.code is None and completion.logprobs is None and completion.unmasked_advantage is None
    assert completion.verdict.failed_input is None
    assert [condition.holds for condition in completion.mask.conditions] == [True, None, None, None]


def test_all_conditions_of_the_conditional_mask_hold_for_a_masked_completion():
    details = make_mask_details(MASKED, CONDITIONAL)
    assert [condition.holds for condition in details.conditions] == [True] * 4
    texts = [condition.text for condition in details.conditions]
    assert "the last 128 tokens" in texts[2] and texts[3] == "the draw 0.1250 is below the mask probability 0.2"
    assert (details.kind, details.probability, details.mask_draw) == ("conditional", 0.2, 0.125)


@pytest.mark.parametrize(
    ("change", "position", "expected"),
    [
        ({"truncated": False}, 0, False),
        ({"truncated": None, "finish_reason": "length"}, 0, True),
        ({"truncated": None, "finish_reason": None}, 0, None),
        ({"incomplete": False, "status": "wrong_answer"}, 1, False),
        ({"incomplete": False, "status": "passed"}, 1, True),
        ({"incomplete": None, "status": "passed"}, 1, True),
        ({"incomplete": None}, 1, None),
        ({"repeated_tail": True}, 2, False),
        ({"repeated_tail": None}, 2, None),
        ({"mask_draw": 0.2}, 3, False),
        ({"mask_draw": 0.0}, 3, True),
        ({"mask_draw": None}, 3, None),
    ],
)
def test_condition_of_the_conditional_mask(change, position, expected):
    values = {name: getattr(MASKED, name) for name in RolloutRow.__slots__}
    answers = list_answers(RolloutRow(**(values | change)), CONDITIONAL)
    assert answers[position] is expected
    assert [answer for index, answer in enumerate(answers) if index != position] == [True] * 3


def test_other_masks_have_their_own_conditions():
    assert list_answers(MASKED, make_settings("none")) == []
    assert list_answers(MASKED, make_settings("all")) == [True]
    assert list_answers(MASKED, make_settings("failing")) == [True, True]
    passed = RolloutRow(truncated=True, status="passed", reward=1.0)
    assert list_answers(passed, make_settings("failing")) == [True, False]
    excluded = RolloutRow(truncated=True, status="sandbox_error", reward=None)
    assert list_answers(excluded, make_settings("failing")) == [True, False]
    assert len(list_answers(MASKED, RecordedSettings({}))) == 4


def test_log_probs_are_compared_where_both_are_finite():
    learner = np.array([-1.0, -np.inf, -2.0, np.nan, -1.0], dtype=np.float32)
    sampler = np.array([-1.5, -1.0, -1.0, -1.0, -1.0], dtype=np.float32)
    difference = compare_logprobs(learner, sampler)
    assert (difference.tokens, difference.not_finite) == (3, 2)
    assert (difference.mean, difference.mean_absolute) == (pytest.approx(-0.5 / 3), pytest.approx(0.5))
    assert (difference.largest, difference.largest_at) == (-1.0, 2)


def test_log_probs_that_cannot_be_compared():
    values = np.zeros(3, dtype=np.float32)
    assert compare_logprobs(None, values) is None and compare_logprobs(values, None) is None
    assert compare_logprobs(values, values[:2]) is None
    empty = compare_logprobs(values[:0], values[:0])
    assert (empty.tokens, empty.mean, empty.largest, empty.largest_at) == (0, None, None, None)
