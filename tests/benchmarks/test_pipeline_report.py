"""Figures of the pipeline's benchmark by hand."""

import pytest

from benchmarks.tools.pipeline_report import (
    Overlap,
    Pair,
    Streaming,
    check_same_work,
    figures,
    goals_table,
    hidden_fraction,
    print_report,
    visible_fraction,
)
from benchmarks.tools.trainer_run import Step


def step(seconds=10.0, tokens=1000.0, reward=0.5, gen=4.0, update=4.0):
    phases = {"gen": gen, "span/gen": gen, "reward": reward, "old_log_prob": 1.0, "update_actor": update}
    return Step(seconds=seconds, cpu_s=1.5 * seconds, tokens=tokens, phases=phases)


def pair(workload="quickstart", theirs=20.0):
    return Pair(
        workload=workload,
        peer="TRL",
        ours=[step(8.0), step(10.0), step(12.0)],
        theirs=[step(theirs), step(theirs), step(99.0)],
    )


def streaming(workload="quickstart"):
    steps = [step(reward=0.2), step(reward=0.4), step(reward=5.0)]
    return Streaming(workload=workload, steps=steps, afterwards=[2.0, 3.0, 7.0], lengths=range(101), timed_out=0.1)


def overlap():
    """On-policy 9.5 s without the reward, ahead 6.5 s: 3 of the 4 s of generation are hidden."""
    return Overlap([step()] * 3, [step(7.0)] * 3)


def test_figures_by_hand():
    found = figures([pair(), pair("uneven", 15.0)], [streaming(), streaming("uneven")], overlap())
    assert found["ratio_e2e_vs_trl"] == 2.0
    assert found["ratio_e2e_vs_trl_uneven"] == 1.5
    assert found["ratio_e2e_vs_trl_cpu"] == 2.0
    assert found["seconds_per_step_ours"] == 10.0
    assert found["seconds_per_step_trl_uneven"] == 15.0
    assert found["tokens_per_s_ours"] == 100.0
    assert found["tokens_per_s_trl"] == pytest.approx(3000 / 139)
    assert found["visible_reward_fraction"] == pytest.approx(0.04)
    assert found["visible_reward_s"] == 0.4
    assert found["reward_after_generation_s"] == 3.0
    assert (found["response_tokens_p5_uneven"], found["response_tokens_p95_uneven"]) == (5.0, 95.0)
    assert found["time_limit_share"] == 0.1
    assert found["overlap_hidden_fraction"] == pytest.approx(0.75)
    assert found["seconds_per_step_pinned_on_policy"] == 10.0
    assert found["seconds_per_step_pinned_ahead"] == 7.0


def test_what_sampling_ahead_hides_of_the_reward_is_not_counted():
    """2 s of visible reward on-policy and none ahead; nothing of generation or learning is hidden."""
    assert hidden_fraction(Overlap([step(11.0, reward=2.0)], [step(9.0, reward=0.0)])) == 0.0


def test_the_shorter_of_generation_and_learning_counts():
    fast_learner = [step(7.5, update=1.0)]
    assert hidden_fraction(Overlap(fast_learner, [step(6.0)])) == pytest.approx(0.75)


def test_sides_that_did_other_work_are_not_compared():
    check_same_work(Pair(workload="quickstart", peer="TRL", ours=[step()], theirs=[step(tokens=1100.0)]))
    with pytest.raises(ValueError, match="2000 tokens a step on TRL's side, 1000 on ours"):
        check_same_work(Pair(workload="quickstart", peer="TRL", ours=[step()], theirs=[step(tokens=2000.0)]))


def test_one_slow_verdict_does_not_move_the_median():
    assert visible_fraction([step(reward=0.1)] * 4 + [step(reward=9.0)]) == pytest.approx(0.01)


def test_long_steps_have_a_harder_goal():
    long = Streaming(workload="uneven", steps=[step(40.0, reward=1.2)], afterwards=[3.0], lengths=[50], timed_out=0.1)
    table = goals_table(figures([pair(), pair("uneven")], [streaming(), long], overlap()), [streaming(), long])
    assert list(table.columns[-1].cells) == ["yes", "yes", "no", "yes", "no"]


def test_the_report_names_the_peer(capsys):
    print_report([pair(), pair("uneven", 15.0)], [streaming(), streaming("uneven")], overlap())
    assert "quickstart, TRL" in capsys.readouterr().out
