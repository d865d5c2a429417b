"""Parameter groups, learning-rate schedule, AdamW against a hand-written version, and non-finite gradients."""

import dataclasses
import math

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from learner.learner import Learner
from learner.optimizer import (
    GuardedOptimizer,
    NonFiniteGradient,
    UpdateCounters,
    group_parameters,
    learning_rate_factor,
)
from learner.policy import gather_parameters
from learner.rollout import TrainBatch
from learner.skipped_batch import SCHEMA, format_names
from tests.tiny_learner import make_learner_settings, make_sequence, make_sequences, save_tiny_model
from tests.two_ranks import run_on_two_ranks

DECAYS = ("constant", "cosine", "linear")
updates = st.integers(0, 5000)
kinds = st.sampled_from(DECAYS)


@st.composite
def runs(draw):
    """Draw (warm-up updates, total updates) of a run whose warm-up ends before the run does."""
    total = draw(st.integers(1, 5000))
    return draw(st.integers(0, total - 1)), total


@given(runs(), kinds, st.data())
def test_learning_rate_factor_is_positive_and_at_most_1_during_the_run(run, decay, data):
    warmup, total = run
    assert 0 < learning_rate_factor(data.draw(st.integers(0, total - 1)), warmup, total, decay) <= 1


@given(updates, updates, updates, kinds)
def test_learning_rate_factor_is_in_0_to_1_for_any_arguments(update, warmup, total, decay):
    assert 0 <= learning_rate_factor(update, warmup, total, decay) <= 1


@given(runs(), kinds, st.data())
def test_learning_rate_factor_rises_during_warm_up_only(run, decay, data):
    warmup, total = run
    update = data.draw(st.integers(0, 2 * total))
    factor = learning_rate_factor(update, warmup, total, decay)
    next_factor = learning_rate_factor(update + 1, warmup, total, decay)
    assert factor < next_factor if update + 1 < warmup else factor >= next_factor


@given(runs(), kinds, st.floats(0, 6000))
def test_learning_rate_factor_is_continuous(run, decay, update):
    """The slope is nowhere steeper than the steepest slopes of warm-up and decay together."""
    warmup, total = run
    steepest = 1 / max(1, warmup) + math.pi / 2 / (total - warmup)
    factor = learning_rate_factor(update, warmup, total, decay)
    difference = learning_rate_factor(update + 1e-3, warmup, total, decay) - factor
    assert abs(difference) <= 1e-3 * steepest + 1e-9


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25, 0, 0]),
        ("cosine", [0.5, 1, 1, 0.5 + 2**0.5 / 4, 0.5, 0.5 - 2**0.5 / 4, 0, 0]),
    ],
)
def test_learning_rate_factor_matches_hand_computed_values(decay, expected):
    assert [learning_rate_factor(update, 2, 6, decay) for update in range(8)] == pytest.approx(expected, abs=1e-12)


def test_learning_rate_factor_of_an_extended_run_follows_the_new_total():
    """A run resumed with more updates has the factor of a run that had this length from the start."""
    assert (learning_rate_factor(10, 0, 10, "linear"), learning_rate_factor(10, 0, 20, "linear")) == (0, 0.5)


def test_norms_and_biases_get_no_weight_decay():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    model[3].weight.requires_grad_(False)
    decayed, undecayed = group_parameters(model, 0.1)
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (0.1, 0.0)
    assert decayed["params"] == [model[0].weight, model[1].weight]
    assert undecayed["params"] == [model[1].bias, model[2].weight, model[2].bias]
    assert len(group_parameters(model[0], 0.1)) == 1


def make_guarded_optimizer(model, decay=0.1, clip=1e6, rate=lambda update: 0.01):
    optimizer = torch.optim.AdamW(group_parameters(model, decay), lr=1.0, betas=(0.9, 0.95))
    return GuardedOptimizer(optimizer, clip, rate)


def adamw_by_hand(value, gradients, rates, decay):
    """Run AdamW on a single number (Loshchilov and Hutter 2019, algorithm 2)."""
    first = second = 0.0
    for time, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        first_unbiased = first / (1 - 0.9**time)
        second_unbiased = second / (1 - 0.95**time)
        value = value - rate * decay * value - rate * first_unbiased / (second_unbiased**0.5 + 1e-8)
    return value


def test_step_matches_adamw_by_hand_with_and_without_weight_decay():
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2.0)
    nn.init.constant_(model.bias, 2.0)
    optimizer = make_guarded_optimizer(model, rate=lambda update: (0.01, 0.02)[update])
    for gradient in (0.5, -2.0):
        model.weight.grad = torch.tensor([[gradient]])
        model.bias.grad = torch.tensor([gradient])
        assert optimizer.step() == pytest.approx(abs(gradient) * 2**0.5)
        assert model.weight.grad is None
    with_decay, without = (adamw_by_hand(2.0, (0.5, -2.0), (0.01, 0.02), decay) for decay in (0.1, 0.0))
    assert (model.weight.item(), model.bias.item()) == pytest.approx((with_decay, without), abs=1e-6)
    assert abs(with_decay - without) > 1e-3


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_updates_with_non_finite_gradients_are_skipped_and_counted(broken):
    """Skipped updates in between do not change the result of the other updates."""
    results = []
    for gradients in ((1.0, broken, broken, 0.5, broken), (1.0, 0.5)):
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        optimizer = make_guarded_optimizer(model, rate=lambda update: 0.1 / (update + 1))
        for gradient in gradients:
            model.weight.grad = torch.ones(2, 2)
            model.bias.grad = torch.ones(2)
            model.weight.grad[0, 1] = gradient
            assert math.isfinite(optimizer.step()) == math.isfinite(gradient)
            assert model.weight.grad is None
        results.append((optimizer, {name: value.clone() for name, value in model.state_dict().items()}))
    (skipping, values), (plain, expected) = results
    assert all(torch.equal(values[name], value) for name, value in expected.items())
    assert skipping.learning_rate == plain.learning_rate
    assert (skipping.counters, plain.counters) == (UpdateCounters(2, 3, 1), UpdateCounters(2, 0, 0))


def test_state_dict_restores_the_counters():
    optimizer = make_guarded_optimizer(nn.Linear(1, 1))
    restored = make_guarded_optimizer(nn.Linear(1, 1))
    optimizer.counters = UpdateCounters(7, 3, 2)
    restored.load_state_dict(optimizer.state_dict())
    assert restored.counters == UpdateCounters(7, 3, 2)


def make_mini_batch(name, sampler_logprob=-4.0):
    """Return two sequences named ``name#0`` and ``name#1`` with advantages 1 and -1."""
    sequences = [make_sequence(advantage=advantage, sampler_logprob=sampler_logprob) for advantage in (1.0, -1.0)]
    return tuple(dataclasses.replace(item, name=f"{name}#{index}") for index, item in enumerate(sequences))


def break_gradients(learner, updates):
    """Put a NaN into the gradients of the updates with these numbers (from 0, skipped updates included)."""
    real_step = learner.guarded_optimizer.step
    numbers = iter(range(100))

    def step():
        if next(numbers) in updates:
            next(learner.policy.parameters()).grad.to_local()[0, 0] = math.nan
        return real_step()

    learner.guarded_optimizer.step = step


@pytest.mark.usefixtures("process_group")
def test_training_step_counts_skipped_updates(tmp_path):
    learner = Learner(make_learner_settings(save_tiny_model(tmp_path / "model")))
    break_gradients(learner, {1})
    batch = TrainBatch((make_mini_batch("a"), make_mini_batch("b"), make_mini_batch("c")))
    metrics = learner.update(batch).metrics
    assert (metrics.updates, metrics.skipped_updates) == (2, 1)
    assert math.isfinite(metrics.grad_norm)
    assert learner.guarded_optimizer.counters == UpdateCounters(2, 1, 0)


@pytest.mark.usefixtures("process_group")
def test_training_step_with_all_updates_skipped_has_nan_grad_norm(tmp_path):
    learner = Learner(make_learner_settings(save_tiny_model(tmp_path / "model")))
    break_gradients(learner, {0})
    metrics = learner.update(TrainBatch((make_mini_batch("a"),))).metrics
    assert (metrics.updates, metrics.skipped_updates, math.isnan(metrics.grad_norm)) == (0, 1, True)


@pytest.mark.usefixtures("process_group")
def test_too_many_skipped_updates_in_a_row_save_the_batch_and_stop(tmp_path):
    folder = tmp_path / "run" / "skipped_updates"
    model = save_tiny_model(tmp_path / "model")
    settings = make_learner_settings(model, max_skipped_updates=2, skipped_folder=str(folder))
    learner = Learner(settings)
    break_gradients(learner, {0, 2, 3})
    with pytest.raises(NonFiniteGradient) as caught:
        learner.update(TrainBatch(tuple(make_mini_batch(name, sampler_logprob=-4.5) for name in "abcde")))
    path = folder / "update_000001.parquet"
    assert str(caught.value) == (
        "the gradient was not finite (norm nan) in 2 updates in a row (learner.max_skipped_updates); "
        f"completions of the last mini-batch: d#0, d#1, saved in {path}"
    )
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    first, second = table.to_pylist()
    assert (first["completion"], second["completion"]) == ("d#0", "d#1")
    assert (first["token_ids"], first["prompt_length"], first["advantage"]) == ([5, 6, 11, 12, 13], 2, 1.0)
    assert first["sampler_logprobs"] == [-4.5] * 3
    assert all(-10 < value < 0 for value in first["old_logprobs"])


@pytest.mark.usefixtures("process_group")
def test_error_of_saving_the_batch_does_not_hide_the_gradient_error(tmp_path):
    (tmp_path / "file").write_text("")
    learner = Learner(
        make_learner_settings(
            save_tiny_model(tmp_path / "model"), max_skipped_updates=1, skipped_folder=str(tmp_path / "file" / "folder")
        )
    )
    break_gradients(learner, {0})
    with pytest.raises(NonFiniteGradient, match=r"not finite .*a#0, a#1, which cannot be saved to .*NotADirectory"):
        learner.update(TrainBatch((make_mini_batch("a"),)))


def test_format_names_lists_at_most_eight_completions():
    assert format_names(make_mini_batch("a") * 5) == "a#0, a#1, a#0, a#1, a#0, a#1, a#0, a#1 and 2 more"


def train_with_nan_on_one_rank(rank, model, folder):
    """Train with NaN in the gradient shard of rank 1 only: in the second update, then in the fourth and fifth."""
    learner = Learner(make_learner_settings(model, max_skipped_updates=2, skipped_folder=folder))
    break_gradients(learner, {1, 3, 4} if rank == 1 else set())
    batch = TrainBatch(tuple(tuple(make_sequences((1.0, -1.0), seed=seed)) for seed in range(3)))
    metrics = learner.update(batch).metrics
    parameters = gather_parameters(learner.policy)
    with pytest.raises(NonFiniteGradient) as caught:
        learner.update(batch)
    return metrics.skipped_updates, learner.guarded_optimizer.counters, parameters, str(caught.value)


@pytest.mark.heavy
def test_all_ranks_skip_an_update_whose_gradient_is_nan_on_one(tmp_path):
    folder = tmp_path / "skipped"
    (tmp_path / "ranks").mkdir()
    model = save_tiny_model(tmp_path / "model")
    first, second = run_on_two_ranks(train_with_nan_on_one_rank, tmp_path / "ranks", model, str(folder))
    assert (first[0], first[1], first[3]) == (second[0], second[1], second[3])
    assert (first[0], first[1]) == (1, UpdateCounters(2, 3, 2))
    assert all(value.isfinite().all() and torch.equal(value, second[2][name]) for name, value in first[2].items())
    assert (folder / "update_000002.parquet").is_file()
