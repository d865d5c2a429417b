"""Metrics of the pipeline benchmark against hand-computed values."""

import pytest

from benchmarks.tools.pipeline_report import (
    OverlapComparison,
    StreamedJudging,
    TrainerComparison,
    build_goals_table,
    check_same_work,
    compute_summary,
    hidden_fraction,
    print_report,
    visible_reward_fraction,
)
from benchmarks.tools.trainer_run import StepMeasurement


def make_step(seconds=10.0, tokens=1000.0, reward=0.5, gen=4.0, update=4.0):
    phases = {"gen": gen, "span/gen": gen, "reward": reward, "old_log_prob": 1.0, "update_actor": update}
    return StepMeasurement(seconds=seconds, cpu_s=1.5 * seconds, tokens=tokens, phases=phases)


def make_comparison(workload="quickstart", theirs=20.0):
    return TrainerComparison(
        workload=workload,
        peer="TRL",
        ours=[make_step(8.0), make_step(10.0), make_step(12.0)],
        theirs=[make_step(theirs), make_step(theirs), make_step(99.0)],
    )


def make_streamed(workload="quickstart"):
    steps = [make_step(reward=0.2), make_step(reward=0.4), make_step(reward=5.0)]
    return StreamedJudging(
        workload=workload, steps=steps, afterwards_s=[2.0, 3.0, 7.0], lengths=range(101), timed_out=0.1
    )


def make_overlap():
    """Make steps of 9.5 s on-policy and 6.5 s ahead, without the reward: 3 of 4 s of generation are hidden."""
    return OverlapComparison([make_step()] * 3, [make_step(7.0)] * 3, [make_step(12.5)] * 3)


def test_compute_summary():
    summary = compute_summary(
        [make_comparison(), make_comparison("uneven", 15.0)],
        [make_streamed(), make_streamed("uneven")],
        make_overlap(),
    )
    assert summary["ratio_e2e_vs_trl"] == 2.0
    assert summary["ratio_e2e_vs_trl_uneven"] == 1.5
    assert summary["ratio_e2e_vs_trl_cpu"] == 2.0
    assert summary["seconds_per_step_ours"] == 10.0
    assert summary["seconds_per_step_trl_uneven"] == 15.0
    assert summary["tokens_per_s_ours"] == 100.0
    assert summary["tokens_per_s_trl"] == pytest.approx(3000 / 139)
    assert summary["visible_reward_fraction"] == pytest.approx(0.04)
    assert summary["visible_reward_s"] == 0.4
    assert summary["reward_after_generation_s"] == 3.0
    assert (summary["response_tokens_p5_uneven"], summary["response_tokens_p95_uneven"]) == (5.0, 95.0)
    assert summary["time_limit_share"] == 0.1
    assert summary["overlap_hidden_fraction"] == pytest.approx(0.75)
    assert summary["seconds_per_step_pinned_on_policy"] == 10.0
    assert summary["seconds_per_step_pinned_ahead"] == 7.0
    assert summary["early_logprobs_ratio"] == 0.8


def test_hidden_fraction_does_not_count_hidden_reward():
    """2 s of reward are visible on-policy and none ahead; nothing of generation or learning is hidden."""
    comparison = OverlapComparison([make_step(11.0, reward=2.0)], [make_step(9.0, reward=0.0)], [])
    assert hidden_fraction(comparison) == 0.0


def test_hidden_fraction_is_relative_to_the_shorter_of_generation_and_learning():
    fast_learner = [make_step(7.5, update=1.0)]
    assert hidden_fraction(OverlapComparison(fast_learner, [make_step(6.0)], [])) == pytest.approx(0.75)


def compare_tokens(theirs):
    return TrainerComparison(workload="quickstart", peer="TRL", ours=[make_step()], theirs=[make_step(tokens=theirs)])


def test_check_same_work_rejects_different_token_counts():
    check_same_work(compare_tokens(1100.0))
    with pytest.raises(ValueError, match="2000 tokens per step by TRL, 1000 by ours"):
        check_same_work(compare_tokens(2000.0))


def test_visible_reward_fraction_is_not_moved_by_one_slow_verdict():
    steps = [make_step(reward=0.1)] * 4 + [make_step(reward=9.0)]
    assert visible_reward_fraction(steps) == pytest.approx(0.01)


def test_goals_table_has_a_lower_goal_for_long_steps():
    long_steps = StreamedJudging(
        workload="uneven", steps=[make_step(40.0, reward=1.2)], afterwards_s=[3.0], lengths=[50], timed_out=0.1
    )
    streamed = [make_streamed(), long_steps]
    summary = compute_summary([make_comparison(), make_comparison("uneven")], streamed, make_overlap())
    table = build_goals_table(summary, streamed)
    assert list(table.columns[-1].cells) == ["yes", "yes", "no", "yes", "no"]


def test_print_report_names_the_other_trainer(capsys):
    print_report(
        [make_comparison(), make_comparison("uneven", 15.0)],
        [make_streamed(), make_streamed("uneven")],
        make_overlap(),
    )
    assert "quickstart, TRL" in capsys.readouterr().out
