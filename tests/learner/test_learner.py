"""The learner on one rank with a tiny random model: gradients, updates, log-probs and checkpoints."""

import dataclasses
import functools
import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from learner.batch_checks import BadBatch
from learner.checkpoint import CheckpointError, list_complete_checkpoints, load_checkpoint, save_checkpoint
from learner.clipped_surrogate import Clip
from learner.learner import Learner
from learner.policy import Policy, attention_work, gather_parameters
from learner.rollout import CompletionId, TrainBatch
from tests.tiny_learner import (
    VOCABULARY_SIZE,
    compute_gradients,
    make_learner_settings,
    make_objective,
    make_sequence,
    make_sequences,
    make_tiny_qwen3,
    save_tiny_model,
)

pytestmark = pytest.mark.usefixtures("process_group")
ADVANTAGES = (1.0, -0.5, 0.0, 2.0, -1.5, 0.25, 0.0)
KINDS = ("token_mean", "sequence_mean", "constant")


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def checkpoint(request, tmp_path_factory):
    """Checkpoint of a tiny model, with tied and with untied embeddings."""
    return save_tiny_model(tmp_path_factory.mktemp("model"), tied=request.param)


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """Checkpoint of a tiny model with tied embeddings."""
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def assert_close(actual, expected, scale=1.0):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name] * scale, value, rtol=1e-4, atol=1e-6, msg=name.__add__)


def make_batch(seed, mini_batches=2):
    return TrainBatch(
        tuple(tuple(make_sequences(ADVANTAGES, seed=seed + 100 * index)) for index in range(mini_batches))
    )


def without_times(metrics):
    """Return the metrics as a dict without the measured seconds."""
    return {name: value for name, value in dataclasses.asdict(metrics).items() if not name.endswith("_seconds")}


def make_penalised_learner(checkpoint, **changes):
    """Return a learner with a KL penalty whose policy differs from its reference; ``changes`` are of ``Objective``."""
    constants = {"kl_weight": 0.5, "clip": Clip(0.2, 0.28, 3.0)} | changes
    learner = Learner(make_learner_settings(checkpoint, objective=make_objective(**constants), learning_rate=1e-2))
    learner.update(make_batch(seed=50))
    return learner


def set_micro_batch_tokens(learner, tokens):
    """Change the token budget of the learner's micro-batches and return the learner."""
    learner.settings = dataclasses.replace(learner.settings, micro_batch_tokens=tokens)
    return learner


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [20, 10_000])
def test_gradients_do_not_depend_on_the_micro_batches(checkpoint, kind, tokens):
    sequences = make_sequences(ADVANTAGES)
    for learner in (
        Learner(make_learner_settings(checkpoint, objective=make_objective(aggregation=kind))),
        make_penalised_learner(checkpoint),
    ):
        expected = compute_gradients(set_micro_batch_tokens(learner, 45), sequences)
        assert max(value.abs().max() for value in expected.values()) > 1e-3
        assert_close(compute_gradients(set_micro_batch_tokens(learner, tokens), sequences), expected)


def test_gradients_do_not_depend_on_sync_every_micro_batch(tied):
    sequences = make_sequences(ADVANTAGES)
    expected = compute_gradients(Learner(make_learner_settings(tied, micro_batch_tokens=20)), sequences)
    synced_once = Learner(make_learner_settings(tied, micro_batch_tokens=20, sync_every_micro_batch=False))
    assert_close(compute_gradients(synced_once, sequences), expected)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_do_not_depend_on_the_order_of_sequences(tied, kind):
    sequences = make_sequences(ADVANTAGES)
    plain = Learner(make_learner_settings(tied, objective=make_objective(aggregation=kind)))
    for learner in (plain, make_penalised_learner(tied)):
        assert_close(compute_gradients(learner, sequences[::-1]), compute_gradients(learner, sequences))


@pytest.mark.heavy
@given(advantages=st.lists(st.sampled_from(ADVANTAGES), min_size=1, max_size=6), data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_gradients_do_not_depend_on_any_split(two_learners, advantages, data):
    """Any sequences, in any order and any micro-batches, with and without a KL penalty."""
    sequences = make_sequences(advantages, seed=data.draw(st.integers(0, 999)))
    learner = data.draw(st.sampled_from(two_learners))
    expected = compute_gradients(set_micro_batch_tokens(learner, 10_000), sequences)
    order = data.draw(st.permutations(sequences))
    assert_close(compute_gradients(set_micro_batch_tokens(learner, data.draw(st.integers(17, 60))), order), expected)


@pytest.fixture
def two_learners(tied):
    return [Learner(make_learner_settings(tied)), make_penalised_learner(tied, aggregation="sequence_mean")]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_match_plain_autograd_of_the_objective(checkpoint, kind):
    """At ratio 1 they are those of -sum w A log pi / divisor over all tokens, computed one sequence at a time."""
    sequences = make_sequences(ADVANTAGES)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokens = sum(item.response_length for item in sequences)
    for item in sequences:
        chosen = plain_logprobs(model, item)
        weights = (chosen.detach() - torch.from_numpy(item.sampler_logprobs)).exp().clamp(max=2.0)
        per_sequence = {"sequence_mean": item.response_length, "constant": 16}
        divisor = tokens if kind == "token_mean" else len(sequences) * per_sequence[kind]
        (-(weights * item.advantage * chosen).sum() / divisor).backward()
    expected = {f"model.{name}": parameter.grad for name, parameter in model.named_parameters()}
    learner = Learner(make_learner_settings(checkpoint, objective=make_objective(aggregation=kind)))
    assert_close(compute_gradients(learner, sequences), expected)


@pytest.mark.heavy
def test_gradients_of_the_kl_penalty_match_plain_autograd(checkpoint):
    """The loss with advantages of 0 is the penalty alone: beta0 / N sum (pi_ref/pi - log pi_ref/pi - 1), at T."""
    learner = make_penalised_learner(checkpoint)
    sequences = make_sequences([0.0] * 4, temperature=0.7)
    reference = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    model.load_state_dict(gather_parameters(learner.policy), strict=False)
    model.tie_weights()
    tokens = sum(item.response_length for item in sequences)
    for item in sequences:
        difference = plain_logprobs(reference, item).detach() - plain_logprobs(model, item)
        (0.5 * (difference.exp() - difference - 1).sum() / tokens).backward()
    expected = {f"model.{name}": parameter.grad for name, parameter in model.named_parameters()}
    assert max(value.abs().max() for value in expected.values()) > 1e-4
    assert_close(compute_gradients(learner, sequences), expected)


@pytest.mark.heavy
def test_reference_policy_remains_the_initial_policy_after_update_and_resume(tied, tmp_path):
    learner = make_penalised_learner(tied)
    initial = dict(AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float32).named_parameters())
    save_checkpoint(learner, tmp_path / "step_000001", {})
    resumed = Learner(learner.settings)
    load_checkpoint(resumed, tmp_path / "step_000001")
    for trained in (learner, resumed):
        assert trained.reference is not None
        assert all(torch.equal(value, initial[name]) for name, value in gather_parameters(trained.reference).items())
        assert any(not torch.equal(value, initial[name]) for name, value in gather_parameters(trained.policy).items())
        assert not any(parameter.requires_grad for parameter in trained.reference.parameters())
    assert without_times(resumed.update(make_batch(1)).metrics) == without_times(learner.update(make_batch(1)).metrics)


def test_no_reference_is_loaded_without_a_kl_penalty(tied):
    learner = Learner(make_learner_settings(tied))
    assert learner.reference is None
    assert learner.update(make_batch(0)).metrics.kl_loss == 0.0


@pytest.mark.heavy
def test_kl_loss_is_reported_and_a_large_weight_keeps_it_small(tied):
    sequences = (tuple(make_sequences([1.0, -1.0, 1.0, -1.0])),)
    reported = {}
    for beta in (0.001, 100.0):
        constants = make_objective(kl_weight=beta)
        learner = Learner(make_learner_settings(tied, objective=constants, learning_rate=3e-3))
        reported[beta] = [learner.update(TrainBatch(sequences)).metrics.kl_loss for _ in range(6)]
    assert reported[0.001][0] == pytest.approx(0.0, abs=1e-9)
    assert reported[0.001][-1] > 3 * reported[100.0][-1] > 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_sampler_log_probs_are_excluded_and_counted(tied, bad):
    sequences = make_sequences(ADVANTAGES)
    broken = next(item for item in sequences if item.response_length > 2)
    broken.sampler_logprobs[1] = bad
    learner = Learner(make_learner_settings(tied))
    metrics = learner.update(TrainBatch((tuple(sequences),))).metrics
    assert metrics.mismatch_non_finite == 1
    assert all(torch.tensor(value).isfinite() for value in dataclasses.astuple(metrics))
    assert all(value.isfinite().all() for value in gather_parameters(learner.policy).values())


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_batches_without_learning_signal_have_zero_loss_and_gradient(tied, beta):
    """Without a KL penalty, a mini-batch whose advantages are all 0 makes no update, like an empty batch."""
    learner = Learner(make_learner_settings(tied, objective=make_objective(kl_weight=beta)))
    before = {name: value.clone() for name, value in gather_parameters(learner.policy).items()}
    unknown = tuple(make_sequence(sampler_logprob=float("nan"), advantage=1.0) for _ in range(3))
    for mini_batches, updates in (
        ((), 0),
        ((tuple(make_sequences([0.0, 0.0])),), int(beta > 0)),
        ((unknown, unknown), 2),
    ):
        metrics = learner.update(TrainBatch(mini_batches)).metrics
        assert (metrics.updates, metrics.updates_without_advantage) == (updates, len(mini_batches) - updates)
        assert all(torch.tensor(value).isfinite() for value in dataclasses.astuple(metrics))
        assert (metrics.pg_loss, metrics.ppo_kl, metrics.clipfrac_lower) == (0.0, 0.0, 0.0)
        assert metrics.grad_norm == pytest.approx(0.0, abs=1e-6)
        if beta == 0.0:
            assert all(torch.equal(value, before[name]) for name, value in gather_parameters(learner.policy).items())


@pytest.mark.parametrize(("tokens", "invalid"), [((11, 97), 97), ((11, 12, 5000), 5000), ((-1,), -1)])
def test_a_token_outside_the_vocabulary_is_an_error(tied, tokens, invalid):
    learner = Learner(make_learner_settings(tied))
    outside = dataclasses.replace(make_sequence(response=tokens), name="q7#3")
    position = 2 + tokens.index(invalid)
    with pytest.raises(BadBatch, match=rf"^completion q7#3: token {invalid} at position {position} .*vocabulary of 97"):
        learner.update(TrainBatch(((make_sequence(), outside),)))


def test_non_finite_weights_are_an_error(tied):
    learner = Learner(make_learner_settings(tied))
    with torch.no_grad():
        for parameter in learner.policy.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(
        BadBatch, match=r"^completion q1#0: the learner's policy gives response token 0 .* nan: .*corrupt"
    ):
        learner.update(TrainBatch(((dataclasses.replace(make_sequence(), name="q1#0"),),)))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.6])
def test_logprobs_match_a_float64_reference_at_any_temperature(tied, temperature):
    sequences = make_sequences([1.0] * 6, temperature=temperature)
    result = Learner(make_learner_settings(tied)).compute_logprobs(sequences)
    model = AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float64)
    for item, logprobs in zip(sequences, result.logprobs, strict=True):
        torch.testing.assert_close(logprobs.double(), plain_logprobs(model, item).detach(), rtol=0, atol=2e-5)


def test_sequences_with_advantage_zero_count_only_in_the_token_mean(tied):
    learner = Learner(make_learner_settings(tied))
    active = make_sequences([1.0, -0.5, 2.0])
    idle = make_sequences([0.0] * 4, seed=1)
    tokens = [sum(item.response_length for item in sequences) for sequences in (active, active + idle)]
    assert_close(
        compute_gradients(learner, active + idle), compute_gradients(learner, active), scale=tokens[1] / tokens[0]
    )


def test_a_mini_batch_of_advantage_zero_does_not_change_the_policy(checkpoint):
    learner = Learner(make_learner_settings(checkpoint))
    sequences = make_sequences([0.0] * 4)
    assert not any(value.any() for value in compute_gradients(learner, sequences).values())
    before = gather_parameters(learner.policy)
    before = {name: value.clone() for name, value in before.items()}
    metrics = learner.update(TrainBatch((tuple(sequences),))).metrics
    assert all(torch.tensor(value).isfinite() for value in dataclasses.astuple(metrics))
    assert (metrics.pg_loss, metrics.grad_norm, metrics.clipfrac_higher) == (0.0, 0.0, 0.0)
    assert all(torch.equal(value, before[name]) for name, value in gather_parameters(learner.policy).items())


def test_an_update_raises_log_probs_of_positive_advantages(checkpoint):
    learner = Learner(make_learner_settings(checkpoint))
    sequences = make_sequences([1.0, -1.0, 1.0, -1.0])
    before = learner.compute_logprobs(sequences).logprobs
    learner.update(TrainBatch((tuple(sequences),)))
    after = learner.compute_logprobs(sequences).logprobs
    for item, old, new in zip(sequences, before, after, strict=True):
        assert item.advantage * (new.mean() - old.mean()) > 0


def test_the_second_update_of_a_step_is_off_policy(tied):
    """Old log-probs are computed before the first update, so the ratios in the second update differ from 1."""
    mini_batch = tuple(make_sequences([1.0, -1.0]))
    once, twice = (
        Learner(make_learner_settings(tied, learning_rate=1e-2)).update(TrainBatch((mini_batch,) * count)).metrics
        for count in (1, 2)
    )
    assert (once.ppo_kl, once.clipfrac_higher, once.updates) == (pytest.approx(0.0, abs=1e-6), 0.0, 1)
    assert twice.updates == 2
    assert twice.clipfrac_higher > 0
    assert twice.clipfrac_lower > 0


def test_update_metrics_match_hand_computed_values(tied):
    """The loss of an update at ratio 1 is -mean(w A)."""
    learner = Learner(make_learner_settings(tied))
    sequences = make_sequences(ADVANTAGES)
    old = learner.compute_logprobs(sequences).logprobs
    difference = [values - torch.from_numpy(item.sampler_logprobs) for values, item in zip(old, sequences, strict=True)]
    weights = [values.exp().clamp(max=2.0) for values in difference]
    surrogate = [values * item.advantage for values, item in zip(weights, sequences, strict=True)]
    metrics = learner.update(TrainBatch((tuple(sequences),))).metrics
    assert metrics.pg_loss == pytest.approx(-float(torch.cat(surrogate).mean()), rel=1e-4)
    assert metrics.mismatch_kl == pytest.approx(-float(torch.cat(difference).mean()), rel=1e-4)
    assert metrics.mismatch_ratio_max == pytest.approx(float(torch.cat(difference).max().exp()), rel=1e-4)


@pytest.mark.heavy
@pytest.mark.parametrize("known", [[0, 1, 2, 3], [2, 0], []])
def test_an_update_uses_prepared_log_probs_and_computes_the_others(tied, known):
    """Prepared in any order, and used once: the policy has changed by the next update."""
    given = make_batch(3)
    sequences = [sequence for mini_batch in given.mini_batches for sequence in mini_batch]
    numbered = [dataclasses.replace(sequence, id=CompletionId(0, number)) for number, sequence in enumerate(sequences)]
    size = len(given.mini_batches[0])
    again = TrainBatch((tuple(numbered[:size]), tuple(numbered[size:])))
    plain, prepared = (Learner(make_learner_settings(tied)) for _ in range(2))
    expected = plain.update(given).metrics
    prepared.prepare([dataclasses.replace(numbered[number], advantage=0.0) for number in known])
    computed = []
    compute_logprobs = prepared.compute_logprobs
    prepared.compute_logprobs = lambda sequences, policy=None: (
        computed.append(len(sequences)) or compute_logprobs(sequences, policy)
    )
    metrics = prepared.update(again).metrics
    assert computed == [len(numbered) - len(known)]
    assert without_times(metrics) == pytest.approx(without_times(expected), rel=1e-4, abs=1e-6)
    for name, value in gather_parameters(plain.policy).items():
        torch.testing.assert_close(gather_parameters(prepared.policy)[name], value, rtol=1e-4, atol=1e-6)
    prepared.update(again)
    assert computed[1:] == [len(numbered)]


@pytest.mark.parametrize("prepared", [False, True])
def test_an_update_returns_old_log_probs_by_completion(tied, prepared):
    sequences = make_sequences(ADVANTAGES)
    named = [dataclasses.replace(item, id=CompletionId(7 - number, 1)) for number, item in enumerate(sequences[:3])]
    learner = Learner(make_learner_settings(tied, learning_rate=1e-2))
    expected = learner.compute_logprobs(sequences[:3]).logprobs
    if prepared:
        learner.prepare(named[::-1])
    old_logprobs = learner.update(TrainBatch(((*named[:1], *sequences[3:]), tuple(named[1:])))).old_logprobs
    assert old_logprobs.keys() == {item.id for item in named}
    for item, values in zip(named, expected, strict=True):
        assert item.id is not None
        assert old_logprobs[item.id].dtype == np.float32
        assert old_logprobs[item.id] == pytest.approx(values.numpy(), rel=1e-4, abs=1e-5)


def test_an_update_without_sequences_returns_no_log_probs(tied):
    assert Learner(make_learner_settings(tied)).update(TrainBatch(())).old_logprobs == {}


def test_gradients_are_clipped_and_the_learning_rate_warms_up(tied):
    learner = Learner(make_learner_settings(tied, warmup_updates=4, grad_clip=1e-3, learning_rate=1e-2))
    rates = []
    learner.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    norms = []
    learner.optimizer.register_step_pre_hook(lambda *_: norms.append(gradient_norm(learner)))
    for seed in range(3):
        assert learner.update(make_batch(seed)).metrics.grad_norm > 1e-2  # the norm before clipping
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    assert norms == pytest.approx([1e-3] * 6, rel=1e-2)


def gradient_norm(learner):
    return sum(float(parameter.grad.full_tensor().square().sum()) for parameter in learner.policy.parameters()) ** 0.5


def plain_logprobs(model, item):
    """Compute log-probs of the response by transformers' own forward pass over one sequence without padding."""
    ids = torch.from_numpy(item.token_ids)[None]
    logits = model(ids).logits[0, item.prompt_length - 1 : -1] / item.temperature
    targets = ids[0, item.prompt_length :, None]
    return logits.log_softmax(-1).gather(1, targets)[:, 0]


def test_logprobs_match_transformers(checkpoint):
    sequences = make_sequences([1.0] * 9, temperature=0.7)
    result = Learner(make_learner_settings(checkpoint)).compute_logprobs(sequences)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    for item, logprobs in zip(sequences, result.logprobs, strict=True):
        torch.testing.assert_close(logprobs, plain_logprobs(model, item).detach(), rtol=0, atol=1e-5)
    lengths = [len(values.entropies) for values in result.sequences]
    assert lengths == [item.response_length for item in sequences]


def test_logprobs_use_the_temperature_of_each_sequence(tied):
    learner = Learner(make_learner_settings(tied))
    mixed = [make_sequence(temperature=0.5), make_sequence(temperature=1.5)]
    result = learner.compute_logprobs(mixed).logprobs
    for item, logprobs in zip(mixed, result, strict=True):
        torch.testing.assert_close(logprobs, learner.compute_logprobs([item]).logprobs[0], rtol=0, atol=1e-5)
    assert (result[0] - result[1]).abs().max() > 0.1


def test_activation_checkpointing_does_not_change_gradients(tied):
    sequences = make_sequences(ADVANTAGES)
    expected = compute_gradients(Learner(make_learner_settings(tied)), sequences)
    learner = Learner(make_learner_settings(tied, activation_checkpointing=True))
    assert learner.policy.model.is_gradient_checkpointing
    assert_close(compute_gradients(learner, sequences), expected)


@pytest.mark.heavy
def test_compiled_layers_compute_the_same_gradients(monkeypatch, tied):
    """The graphs are those of torch.compile, but run without generated C++ code, which would take a minute."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    sequences = make_sequences(ADVANTAGES)
    expected = compute_gradients(Learner(make_learner_settings(tied)), sequences)
    learner = Learner(make_learner_settings(tied, compile_layers=True, activation_checkpointing=True))
    assert_close(compute_gradients(learner, sequences), expected)


@pytest.mark.parametrize("separate_head", [False, True])
def test_attention_work_matches_a_count_by_hand(separate_head):
    """Two layers with 4 heads of 16 numbers: 2 * 64 multiplications for each pair, over those of all other weights."""
    attention = 64 * 64 + 2 * 64 * 32 + 64 * 64
    norms = 64 + 2 * (64 + 64 + 16 + 16)
    others = 2 * (attention + 3 * 64 * 96) + norms + VOCABULARY_SIZE * 64
    model = make_tiny_qwen3(tie_word_embeddings=not separate_head)
    model.set_attn_implementation("segments")
    assert attention_work(Policy(model)) == pytest.approx(2 * 64 / others)


@pytest.mark.heavy
def test_training_continues_from_a_checkpoint_bit_for_bit(checkpoint, tmp_path):
    constants = make_learner_settings(checkpoint, warmup_updates=5)
    uninterrupted = Learner(constants)
    uninterrupted.update(make_batch(0))
    expected = uninterrupted.update(make_batch(1)).metrics
    first = Learner(constants)
    first.update(make_batch(0))
    save_checkpoint(first, tmp_path / "step_000001", {})
    torch.manual_seed(123)
    second = Learner(dataclasses.replace(constants, seed=9))
    load_checkpoint(second, tmp_path / "step_000001")
    assert without_times(second.update(make_batch(1)).metrics) == without_times(expected)
    ours = gather_parameters(second.policy)
    assert all(torch.equal(ours[name], value) for name, value in gather_parameters(uninterrupted.policy).items())


def test_loading_restores_the_random_state(tied, tmp_path):
    learner = Learner(make_learner_settings(tied))
    torch.manual_seed(7)
    save_checkpoint(learner, tmp_path / "step_000001", {})
    expected = torch.rand(3)
    load_checkpoint(learner, tmp_path / "step_000001")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.heavy
def test_a_checkpoint_is_readable_by_from_pretrained(checkpoint, tmp_path):
    learner = Learner(make_learner_settings(checkpoint))
    learner.update(make_batch(0))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {})
    loaded = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    ours = gather_parameters(learner.policy)
    theirs = dict(loaded.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert AutoTokenizer.from_pretrained(path)("w7 w8")["input_ids"] == [7, 8]


@pytest.mark.heavy
def test_saving_again_replaces_the_checkpoint(tied, tmp_path):
    learner = Learner(make_learner_settings(tied))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {})
    learner.update(make_batch(0))
    save_checkpoint(learner, path, {})
    (name, value), *_ = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).named_parameters()
    assert torch.equal(gather_parameters(learner.policy)[name], value)


def test_a_checkpoint_contains_the_drivers_files(tied, tmp_path):
    learner = Learner(make_learner_settings(tied))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {"driver.json": b'{"temperature": 1.2}', "other": b"\0"})
    assert (path / "trainer" / "driver.json").read_bytes() == b'{"temperature": 1.2}'
    assert (path / "trainer" / "other").read_bytes() == b"\0"
    load_checkpoint(learner, path)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "function",
    [
        "os.rename",
        "torch.save",
        "pathlib.Path.write_bytes",
        "torch.distributed.checkpoint.FileSystemWriter.write_data",
    ],
)
def test_a_failed_save_leaves_no_checkpoint(tied, tmp_path, monkeypatch, function):
    learner = Learner(make_learner_settings(tied))

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(function, fail)
        with pytest.raises(CheckpointError, match=r"step_000001: cannot be written: .*OSError: disk full$"):
            save_checkpoint(learner, tmp_path / "step_000001", {"driver.json": b"{}"})
    assert list_complete_checkpoints(tmp_path) == []
    save_checkpoint(learner, tmp_path / "step_000001", {})
    assert list_complete_checkpoints(tmp_path) == [tmp_path / "step_000001"]
    assert os.listdir(tmp_path) == ["step_000001"]


def test_complete_checkpoints_are_listed_oldest_first(tmp_path):
    for name in ("step_000010", "step_000002", ".step_000012.unfinished", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step_000011").write_text("a file")
    assert [path.name for path in list_complete_checkpoints(tmp_path)] == ["step_000002", "step_000010"]


@pytest.mark.heavy
@pytest.mark.parametrize("other", [{"layers": 1}, {"layers": 3}, {"tied": False}])
def test_loading_a_checkpoint_of_another_model_is_an_error(tied, tmp_path, other):
    save_checkpoint(Learner(make_learner_settings(tied)), tmp_path / "step_000001", {})
    learner = Learner(make_learner_settings(save_tiny_model(tmp_path / "other", **other)))
    with pytest.raises(CheckpointError, match=r"step_000001: not a checkpoint of .*other"):
        load_checkpoint(learner, tmp_path / "step_000001")


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["*.distcp", ".metadata"])
@pytest.mark.parametrize("size", [None, 0, 1000])
def test_loading_a_damaged_checkpoint_is_an_error(tied, tmp_path, name, size):
    learner = Learner(make_learner_settings(tied))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {})
    (file,) = (path / "trainer").glob(name)
    if size is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="step_000001"):
        load_checkpoint(learner, path)


def test_loading_a_missing_checkpoint_is_an_error(tied, tmp_path):
    with pytest.raises(CheckpointError, match="step_000001"):
        load_checkpoint(Learner(make_learner_settings(tied)), tmp_path / "step_000001")
