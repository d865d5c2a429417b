"""Parameter groups, the learning-rate schedule, AdamW by hand, and gradients that are not finite."""

import dataclasses
import math

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from learner.learner import Learner
from learner.optimizer import GuardedOptimizer, NonFiniteGradient, UpdateCounters, parameter_groups, schedule
from learner.policy import full_parameters
from learner.rollout import TrainBatch
from learner.skipped_batch import SCHEMA, names
from tests.tiny_learner import learner_settings, sequence, sequences_of, tiny_model
from tests.two_ranks import on_two_ranks

DECAYS = ("constant", "cosine", "linear")
updates = st.integers(0, 5000)
kinds = st.sampled_from(DECAYS)


@st.composite
def runs(draw):
    """(warm-up, total) of a run in which there is something left to decay."""
    total = draw(st.integers(1, 5000))
    return draw(st.integers(0, total - 1)), total


@given(runs(), kinds, st.data())
def test_the_factor_of_every_update_is_above_0_and_at_most_1(run, decay, data):
    warmup, total = run
    assert 0 < schedule(data.draw(st.integers(0, total - 1)), warmup, total, decay) <= 1


@given(updates, updates, updates, kinds)
def test_the_factor_is_never_negative_whatever_the_run(update, warmup, total, decay):
    assert 0 <= schedule(update, warmup, total, decay) <= 1


@given(runs(), kinds, st.data())
def test_it_rises_in_the_warm_up_and_never_after(run, decay, data):
    warmup, total = run
    update = data.draw(st.integers(0, 2 * total))
    now, then = (schedule(each, warmup, total, decay) for each in (update, update + 1))
    assert now < then if update + 1 < warmup else now >= then


@given(runs(), kinds, st.floats(0, 6000))
def test_it_has_no_jumps(run, decay, update):
    """No slope is steeper than those of the warm-up and of the decay."""
    warmup, total = run
    steepest = 1 / max(1, warmup) + math.pi / 2 / (total - warmup)
    difference = schedule(update + 1e-3, warmup, total, decay) - schedule(update, warmup, total, decay)
    assert abs(difference) <= 1e-3 * steepest + 1e-9


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25, 0, 0]),
        ("cosine", [0.5, 1, 1, 0.5 + 2**0.5 / 4, 0.5, 0.5 - 2**0.5 / 4, 0, 0]),
    ],
)
def test_schedules_by_hand(decay, expected):
    assert [schedule(update, 2, 6, decay) for update in range(8)] == pytest.approx(expected, abs=1e-12)


def test_a_longer_run_goes_on_where_its_own_schedule_is():
    """Resumed with more steps, the factor is that of a run which had this length from the start."""
    assert (schedule(10, 0, 10, "linear"), schedule(10, 0, 20, "linear")) == (0, 0.5)


def test_norms_and_biases_are_not_decayed():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    model[3].weight.requires_grad_(False)
    decayed, spared = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert decayed["params"] == [model[0].weight, model[1].weight]
    assert spared["params"] == [model[1].bias, model[2].weight, model[2].bias]
    assert len(parameter_groups(model[0], 0.1)) == 1


def guarded(model, decay=0.1, clip=1e6, rate=lambda update: 0.01):
    optimizer = torch.optim.AdamW(parameter_groups(model, decay), lr=1.0, betas=(0.9, 0.95))
    return GuardedOptimizer(optimizer, clip, rate)


def adamw_by_hand(value, gradients, rates, decay):
    """Loshchilov and Hutter 2019, algorithm 2, for one number."""
    first = second = 0.0
    for time, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        first, second = 0.9 * first + 0.1 * gradient, 0.95 * second + 0.05 * gradient**2
        unbiased = (first / (1 - 0.9**time), second / (1 - 0.95**time))
        value = value - rate * decay * value - rate * unbiased[0] / (unbiased[1] ** 0.5 + 1e-8)
    return value


def test_adamw_by_hand_with_and_without_decay():
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2.0)
    nn.init.constant_(model.bias, 2.0)
    one = guarded(model, rate=lambda update: (0.01, 0.02)[update])
    for gradient in (0.5, -2.0):
        model.weight.grad = torch.tensor([[gradient]])
        model.bias.grad = torch.tensor([gradient])
        assert one.step() == pytest.approx(abs(gradient) * 2**0.5)
        assert model.weight.grad is None
    with_decay, without = (adamw_by_hand(2.0, (0.5, -2.0), (0.01, 0.02), decay) for decay in (0.1, 0.0))
    assert (model.weight.item(), model.bias.item()) == pytest.approx((with_decay, without), abs=1e-6)
    assert abs(with_decay - without) > 1e-3


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_broken_gradient_changes_nothing_and_is_counted(broken):
    """Updates with a broken gradient between them end where the same updates without it end."""
    results = []
    for gradients in ((1.0, broken, broken, 0.5, broken), (1.0, 0.5)):
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        one = guarded(model, rate=lambda update: 0.1 / (update + 1))
        for gradient in gradients:
            model.weight.grad = torch.ones(2, 2)
            model.bias.grad = torch.ones(2)
            model.weight.grad[0, 1] = gradient
            assert math.isfinite(one.step()) == math.isfinite(gradient)
            assert model.weight.grad is None
        results.append((one, {name: value.clone() for name, value in model.state_dict().items()}))
    (one, values), (other, expected) = results
    assert all(torch.equal(values[name], value) for name, value in expected.items())
    assert one.learning_rate == other.learning_rate
    assert (one.counters, other.counters) == (UpdateCounters(2, 3, 1), UpdateCounters(2, 0, 0))


def test_the_counters_are_its_state():
    one = guarded(nn.Linear(1, 1))
    other = guarded(nn.Linear(1, 1))
    one.counters = UpdateCounters(7, 3, 2)
    other.load_state_dict(one.state_dict())
    assert other.counters == UpdateCounters(7, 3, 2)


def mini(name, sampler=-4.0):
    return tuple(
        dataclasses.replace(each, name=f"{name}#{index}")
        for index, each in enumerate([sequence(sampler=sampler), sequence(advantage=-1.0, sampler=sampler)])
    )


def break_gradients(learner, updates):
    """The gradients of these updates (counted from 0, skipped ones too) get a NaN."""
    true = learner.guarded.step
    seen = iter(range(100))

    def step():
        if next(seen) in updates:
            next(learner.policy.parameters()).grad.to_local()[0, 0] = math.nan
        return true()

    learner.guarded.step = step


@pytest.mark.usefixtures("process_group")
def test_a_step_counts_what_it_skipped(tmp_path):
    learner = Learner(learner_settings(tiny_model(tmp_path / "model")))
    break_gradients(learner, {1})
    metrics = learner.update(TrainBatch((mini("a"), mini("b"), mini("c"))))
    assert (metrics.updates, metrics.skipped_updates) == (2, 1)
    assert math.isfinite(metrics.grad_norm)
    assert learner.guarded.counters == UpdateCounters(2, 1, 0)


@pytest.mark.usefixtures("process_group")
def test_a_step_without_any_update(tmp_path):
    learner = Learner(learner_settings(tiny_model(tmp_path / "model")))
    break_gradients(learner, {0})
    metrics = learner.update(TrainBatch((mini("a"),)))
    assert (metrics.updates, metrics.skipped_updates, math.isnan(metrics.grad_norm)) == (0, 1, True)


@pytest.mark.usefixtures("process_group")
def test_too_many_in_a_row_stop_the_run_with_the_batch_saved(tmp_path):
    folder = tmp_path / "run" / "skipped_updates"
    settings = learner_settings(tiny_model(tmp_path / "model"), max_skipped_updates=2, skipped_folder=str(folder))
    learner = Learner(settings)
    break_gradients(learner, {0, 2, 3})
    with pytest.raises(NonFiniteGradient) as caught:
        learner.update(TrainBatch(tuple(mini(name, sampler=-4.5) for name in "abcde")))
    path = folder / "update_000001.parquet"
    assert str(caught.value) == (
        "the gradient was not finite (norm nan) 2 times in a row (learner.max_skipped_updates), the last time over the "
        f"completions d#0, d#1; they are saved in {path}"
    )
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    first, second = table.to_pylist()
    assert (first["completion"], second["completion"]) == ("d#0", "d#1")
    assert (first["token_ids"], first["prompt_length"], first["advantage"]) == ([5, 6, 11, 12, 13], 2, 1.0)
    assert first["sampler_logprobs"] == [-4.5] * 3
    assert all(-10 < value < 0 for value in first["old_logprobs"])


@pytest.mark.usefixtures("process_group")
def test_a_batch_that_cannot_be_saved_does_not_hide_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    learner = Learner(
        learner_settings(
            tiny_model(tmp_path / "model"), max_skipped_updates=1, skipped_folder=str(tmp_path / "file" / "folder")
        )
    )
    break_gradients(learner, {0})
    with pytest.raises(NonFiniteGradient, match=r"not finite .*a#0, a#1, which cannot be saved to .*NotADirectory"):
        learner.update(TrainBatch((mini("a"),)))


def test_many_completions_are_named_in_part():
    assert names(mini("a") * 5) == "a#0, a#1, a#0, a#1, a#0, a#1, a#0, a#1 and 2 more"


def one_rank_is_broken(rank, model, folder):
    """Rank 1 alone gets NaN into its shard: in the second update, then in the fourth and fifth."""
    learner = Learner(learner_settings(model, max_skipped_updates=2, skipped_folder=folder))
    break_gradients(learner, {1, 3, 4} if rank == 1 else set())
    batch = TrainBatch(tuple(tuple(sequences_of((1.0, -1.0), seed=seed)) for seed in range(3)))
    metrics = learner.update(batch)
    parameters = full_parameters(learner.policy)
    with pytest.raises(NonFiniteGradient) as caught:
        learner.update(batch)
    return metrics.skipped_updates, learner.guarded.counters, parameters, str(caught.value)


@pytest.mark.heavy
def test_ranks_agree_on_a_gradient_that_is_broken_on_one(tmp_path):
    folder = tmp_path / "skipped"
    (tmp_path / "ranks").mkdir()
    zero, one = on_two_ranks(one_rank_is_broken, tmp_path / "ranks", tiny_model(tmp_path / "model"), str(folder))
    assert (zero[0], zero[1], zero[3]) == (one[0], one[1], one[3])
    assert (zero[0], zero[1]) == (1, UpdateCounters(2, 3, 2))
    assert all(value.isfinite().all() and torch.equal(value, one[2][name]) for name, value in zero[2].items())
    assert (folder / "update_000002.parquet").is_file()
