"""One rank on a tiny random model: gradients, updates, log-probs, checkpoints."""

import dataclasses
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from learner.batch_checks import BadBatch
from learner.checkpoint import CheckpointError, complete_checkpoints, load_checkpoint, save_checkpoint
from learner.clipped_surrogate import Clip
from learner.learner import Learner
from learner.policy import full_parameters
from learner.rollout import TrainBatch
from tests.tiny_learner import gradients, learner_settings, objective, sequence, sequences_of, tiny_model

pytestmark = pytest.mark.usefixtures("process_group")
ADVANTAGES = (1.0, -0.5, 0.0, 2.0, -1.5, 0.25, 0.0)
KINDS = ("token_mean", "sequence_mean", "constant")


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def checkpoint(request, tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"), tied=request.param)


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"))


def assert_close(found, expected, scale=1.0):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name] * scale, value, rtol=1e-4, atol=1e-6, msg=name.__add__)


def batch(seed, minis=2):
    return TrainBatch(tuple(tuple(sequences_of(ADVANTAGES, seed=seed + 100 * mini)) for mini in range(minis)))


def values_of(metrics):
    """Metrics without the clock's."""
    return {name: value for name, value in dataclasses.asdict(metrics).items() if not name.endswith("_seconds")}


def penalised(checkpoint, **changes):
    """A learner with a KL penalty whose policy is no longer its reference."""
    constants = {"kl_weight": 0.5, "clip": Clip(0.2, 0.28, 3.0)} | changes
    learner = Learner(learner_settings(checkpoint, objective=objective(**constants), learning_rate=1e-2))
    learner.update(batch(seed=50))
    return learner


def regrouped(learner, tokens):
    """The same learner with another size of micro-batches."""
    learner.settings = dataclasses.replace(learner.settings, micro_batch_tokens=tokens)
    return learner


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [20, 10_000])
def test_gradients_do_not_depend_on_the_micro_batches(checkpoint, kind, tokens):
    sequences = sequences_of(ADVANTAGES)
    for learner in (
        Learner(learner_settings(checkpoint, objective=objective(aggregation=kind))),
        penalised(checkpoint),
    ):
        expected = gradients(regrouped(learner, 45), sequences)
        assert max(value.abs().max() for value in expected.values()) > 1e-3
        assert_close(gradients(regrouped(learner, tokens), sequences), expected)


def test_gradients_do_not_depend_on_when_they_are_reduced(tied):
    sequences = sequences_of(ADVANTAGES)
    expected = gradients(Learner(learner_settings(tied, micro_batch_tokens=20)), sequences)
    late = Learner(learner_settings(tied, micro_batch_tokens=20, sync_every_micro_batch=False))
    assert_close(gradients(late, sequences), expected)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_do_not_depend_on_the_order(tied, kind):
    sequences = sequences_of(ADVANTAGES)
    for learner in (Learner(learner_settings(tied, objective=objective(aggregation=kind))), penalised(tied)):
        assert_close(gradients(learner, sequences[::-1]), gradients(learner, sequences))


@pytest.mark.heavy
@given(advantages=st.lists(st.sampled_from(ADVANTAGES), min_size=1, max_size=6), data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_no_split_changes_the_gradients(two_learners, advantages, data):
    """Any sequences, in any order and any micro-batches, with and without a KL penalty."""
    sequences = sequences_of(advantages, seed=data.draw(st.integers(0, 999)))
    learner = data.draw(st.sampled_from(two_learners))
    expected = gradients(regrouped(learner, 10_000), sequences)
    order = data.draw(st.permutations(sequences))
    assert_close(gradients(regrouped(learner, data.draw(st.integers(17, 60))), order), expected)


@pytest.fixture
def two_learners(tied):
    return [Learner(learner_settings(tied)), penalised(tied, aggregation="sequence_mean")]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_whole_objective(checkpoint, kind):
    """At ratio 1: of -sum w A log pi / divisor, every token counting, by plain autograd over a sequence at a time."""
    sequences = sequences_of(ADVANTAGES)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    tokens = sum(item.response_length for item in sequences)
    for item in sequences:
        chosen = plain_logprobs(model, item)
        weights = (chosen.detach() - torch.from_numpy(item.sampler_logprobs)).exp().clamp(max=2.0)
        per_sequence = {"sequence_mean": item.response_length, "constant": 16}
        divisor = tokens if kind == "token_mean" else len(sequences) * per_sequence[kind]
        (-(weights * item.advantage * chosen).sum() / divisor).backward()
    expected = {f"model.{name}": parameter.grad for name, parameter in model.named_parameters()}
    learner = Learner(learner_settings(checkpoint, objective=objective(aggregation=kind)))
    assert_close(gradients(learner, sequences), expected)


def test_gradients_of_the_kl_penalty(checkpoint):
    """With advantages of 0 the penalty alone is left: of beta0 / N sum (pi_ref/pi - log pi_ref/pi - 1), at T."""
    learner = penalised(checkpoint)
    sequences = sequences_of([0.0] * 4, temperature=0.7)
    reference = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    model.load_state_dict(full_parameters(learner.policy), strict=False)
    model.tie_weights()
    tokens = sum(item.response_length for item in sequences)
    for item in sequences:
        difference = plain_logprobs(reference, item).detach() - plain_logprobs(model, item)
        (0.5 * (difference.exp() - difference - 1).sum() / tokens).backward()
    expected = {f"model.{name}": parameter.grad for name, parameter in model.named_parameters()}
    assert max(value.abs().max() for value in expected.values()) > 1e-4
    assert_close(gradients(learner, sequences), expected)


def test_the_reference_is_the_initial_policy_and_stays_it(tied, tmp_path):
    learner = penalised(tied)
    initial = dict(AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float32).named_parameters())
    save_checkpoint(learner, tmp_path / "step_000001", {})
    resumed = Learner(learner.settings)
    load_checkpoint(resumed, tmp_path / "step_000001")
    for one in (learner, resumed):
        assert one.reference is not None
        assert all(torch.equal(value, initial[name]) for name, value in full_parameters(one.reference).items())
        assert any(not torch.equal(value, initial[name]) for name, value in full_parameters(one.policy).items())
        assert not any(parameter.requires_grad for parameter in one.reference.parameters())
    assert values_of(resumed.update(batch(1))) == values_of(learner.update(batch(1)))


def test_no_reference_is_loaded_without_a_kl_penalty(tied):
    learner = Learner(learner_settings(tied))
    assert learner.reference is None
    assert learner.update(batch(0)).kl_loss == 0.0


def test_the_kl_penalty_is_reported_and_holds_the_policy_back(tied):
    sequences = (tuple(sequences_of([1.0, -1.0, 1.0, -1.0])),)
    reported = {}
    for beta in (0.001, 100.0):
        constants = objective(kl_weight=beta)
        learner = Learner(learner_settings(tied, objective=constants, learning_rate=3e-3))
        reported[beta] = [learner.update(TrainBatch(sequences)).kl_loss for _ in range(6)]
    assert reported[0.001][0] == pytest.approx(0.0, abs=1e-9)
    assert reported[0.001][-1] > 3 * reported[100.0][-1] > 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_sampler_log_probs_that_are_not_finite(tied, bad):
    """Left out of the loss and its metrics, and counted."""
    sequences = sequences_of(ADVANTAGES)
    broken = next(item for item in sequences if item.response_length > 2)
    broken.sampler_logprobs[1] = bad
    learner = Learner(learner_settings(tied))
    metrics = learner.update(TrainBatch((tuple(sequences),)))
    assert metrics.mismatch_non_finite == 1
    assert all(torch.tensor(value).isfinite() for value in dataclasses.astuple(metrics))
    assert all(value.isfinite().all() for value in full_parameters(learner.policy).values())


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_nothing_to_learn_from_is_neutral(tied, beta):
    """An empty batch, all masked, no finite log-prob: finite metrics, and only the first makes no update."""
    learner = Learner(learner_settings(tied, objective=objective(kl_weight=beta)))
    before = {name: value.clone() for name, value in full_parameters(learner.policy).items()}
    unknown = tuple(sequence(sampler=float("nan"), advantage=1.0) for _ in range(3))
    for minis, updates in (((), 0), ((tuple(sequences_of([0.0, 0.0])),), 1), ((unknown, unknown), 2)):
        metrics = learner.update(TrainBatch(minis))
        assert metrics.updates == updates
        assert all(torch.tensor(value).isfinite() for value in dataclasses.astuple(metrics))
        assert (metrics.pg_loss, metrics.ppo_kl, metrics.clipfrac_lower) == (0.0, 0.0, 0.0)
        assert metrics.grad_norm == pytest.approx(0.0, abs=1e-6)
        if beta == 0.0:
            assert all(torch.equal(value, before[name]) for name, value in full_parameters(learner.policy).items())


@pytest.mark.parametrize(("tokens", "named"), [((11, 97), 97), ((11, 12, 5000), 5000), ((-1,), -1)])
def test_a_token_outside_the_vocabulary_is_refused(tied, tokens, named):
    learner = Learner(learner_settings(tied))
    outside = dataclasses.replace(sequence(response=tokens), name="q7#3")
    position = 2 + tokens.index(named)
    with pytest.raises(BadBatch, match=rf"^completion q7#3: token {named} at position {position} .*vocabulary of 97"):
        learner.update(TrainBatch(((sequence(), outside),)))


def test_broken_weights_are_refused(tied):
    learner = Learner(learner_settings(tied))
    with torch.no_grad():
        for parameter in learner.policy.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(
        BadBatch, match=r"^completion q1#0: the learner's policy gives response token 0 .* nan: .*broken"
    ):
        learner.update(TrainBatch(((dataclasses.replace(sequence(), name="q1#0"),),)))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.6])
def test_logprobs_at_temperature_equal_a_float64_reference(tied, temperature):
    sequences = sequences_of([1.0] * 6, temperature=temperature)
    found = Learner(learner_settings(tied)).logprobs(sequences)
    model = AutoModelForCausalLM.from_pretrained(tied, dtype=torch.float64)
    for item, logprobs in zip(sequences, found.logprobs, strict=True):
        torch.testing.assert_close(logprobs.double(), plain_logprobs(model, item).detach(), rtol=0, atol=2e-5)


def test_advantage_zero_counts_in_the_mean_and_nowhere_else(tied):
    learner = Learner(learner_settings(tied))
    active = sequences_of([1.0, -0.5, 2.0])
    idle = sequences_of([0.0] * 4, seed=1)
    tokens = [sum(item.response_length for item in sequences) for sequences in (active, active + idle)]
    assert_close(gradients(learner, active + idle), gradients(learner, active), scale=tokens[1] / tokens[0])


def test_a_mini_batch_of_advantage_zero(checkpoint):
    learner = Learner(learner_settings(checkpoint))
    sequences = sequences_of([0.0] * 4)
    assert not any(value.any() for value in gradients(learner, sequences).values())
    before = full_parameters(learner.policy)
    before = {name: value.clone() for name, value in before.items()}
    metrics = learner.update(TrainBatch((tuple(sequences),)))
    assert all(torch.tensor(value).isfinite() for value in dataclasses.astuple(metrics))
    assert (metrics.pg_loss, metrics.grad_norm, metrics.clipfrac_higher) == (0.0, 0.0, 0.0)
    assert all(torch.equal(value, before[name]) for name, value in full_parameters(learner.policy).items())


def test_an_update_favours_positive_advantages(checkpoint):
    learner = Learner(learner_settings(checkpoint))
    sequences = sequences_of([1.0, -1.0, 1.0, -1.0])
    before = learner.logprobs(sequences).logprobs
    learner.update(TrainBatch((tuple(sequences),)))
    after = learner.logprobs(sequences).logprobs
    for item, old, new in zip(sequences, before, after, strict=True):
        assert item.advantage * (new.mean() - old.mean()) > 0


def test_the_second_update_of_a_step_is_off_policy(tied):
    """Old log-probs are those before the step's first update: the same sequences again have a ratio other than 1."""
    mini = tuple(sequences_of([1.0, -1.0]))
    once = Learner(learner_settings(tied, learning_rate=1e-2)).update(TrainBatch((mini,)))
    twice = Learner(learner_settings(tied, learning_rate=1e-2)).update(TrainBatch((mini, mini)))
    assert (once.ppo_kl, once.clipfrac_higher, once.updates) == (pytest.approx(0.0, abs=1e-6), 0.0, 1)
    assert twice.updates == 2
    assert twice.clipfrac_higher > 0
    assert twice.clipfrac_lower > 0


def test_metrics_by_hand(tied):
    """Of one update at ratio 1: the loss is -mean(w A); the mismatch is the sampler's against the learner's."""
    learner = Learner(learner_settings(tied))
    sequences = sequences_of(ADVANTAGES)
    old = learner.logprobs(sequences).logprobs
    difference = [one - torch.from_numpy(item.sampler_logprobs) for one, item in zip(old, sequences, strict=True)]
    surrogate = [one.exp().clamp(max=2.0) * item.advantage for one, item in zip(difference, sequences, strict=True)]
    metrics = learner.update(TrainBatch((tuple(sequences),)))
    assert metrics.pg_loss == pytest.approx(-float(torch.cat(surrogate).mean()), rel=1e-4)
    assert metrics.mismatch_kl == pytest.approx(-float(torch.cat(difference).mean()), rel=1e-4)
    assert metrics.mismatch_ratio_max == pytest.approx(float(torch.cat(difference).max().exp()), rel=1e-4)


@pytest.mark.parametrize("known", [[0, 1, 2, 3], [2, 0], []])
def test_an_update_finds_what_was_prepared_and_computes_the_rest(tied, known):
    """Whatever the order, and only once: the policy has changed by the next update."""
    given = batch(3)
    places = {number: place for place, number in enumerate(known)}
    numbered = [sequence for mini in given.mini_batches for sequence in mini]
    placed = [dataclasses.replace(sequence, place=places.get(number)) for number, sequence in enumerate(numbered)]
    size = len(given.mini_batches[0])
    again = TrainBatch((tuple(placed[:size]), tuple(placed[size:])))
    plain, prepared = (Learner(learner_settings(tied)) for _ in range(2))
    expected = plain.update(given)
    prepared.prepare([dataclasses.replace(numbered[number], advantage=0.0) for number in known])
    computed = []
    logprobs = prepared.logprobs
    prepared.logprobs = lambda sequences, policy=None: computed.append(len(sequences)) or logprobs(sequences, policy)
    found = prepared.update(again)
    assert computed == [len(numbered) - len(known)]
    assert values_of(found) == pytest.approx(values_of(expected), rel=1e-4, abs=1e-6)
    for name, value in full_parameters(plain.policy).items():
        torch.testing.assert_close(full_parameters(prepared.policy)[name], value, rtol=1e-4, atol=1e-6)
    prepared.update(again)
    assert computed[1:] == [len(numbered)]


def test_gradients_are_clipped_and_the_learning_rate_warms_up(tied):
    learner = Learner(learner_settings(tied, warmup_steps=4, grad_clip=1e-3, learning_rate=1e-2))
    rates = []
    learner.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    norms = []
    learner.optimizer.register_step_pre_hook(lambda *_: norms.append(norm_of_gradients(learner)))
    for seed in range(3):
        assert learner.update(batch(seed)).grad_norm > 1e-2  # the norm before clipping
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
    assert norms == pytest.approx([1e-3] * 6, rel=1e-2)


def norm_of_gradients(learner):
    return sum(float(parameter.grad.full_tensor().square().sum()) for parameter in learner.policy.parameters()) ** 0.5


def plain_logprobs(model, item):
    """Log-probs of the response by transformers' own forward pass over one sequence without padding."""
    ids = torch.from_numpy(item.token_ids)[None]
    logits = model(ids).logits[0, item.prompt_length - 1 : -1] / item.temperature
    targets = ids[0, item.prompt_length :, None]
    return logits.log_softmax(-1).gather(1, targets)[:, 0]


def test_logprobs_equal_transformers(checkpoint):
    sequences = sequences_of([1.0] * 9, temperature=0.7)
    found = Learner(learner_settings(checkpoint)).logprobs(sequences)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    for item, logprobs in zip(sequences, found.logprobs, strict=True):
        torch.testing.assert_close(logprobs, plain_logprobs(model, item).detach(), rtol=0, atol=1e-5)
    lengths = [len(one.entropies) for one in found.of_sequences]
    assert lengths == [item.response_length for item in sequences]


def test_log_probs_are_taken_at_the_temperature_of_each_sequence(tied):
    learner = Learner(learner_settings(tied))
    mixed = [sequence(temperature=0.5), sequence(temperature=1.5)]
    found = learner.logprobs(mixed).logprobs
    for item, logprobs in zip(mixed, found, strict=True):
        torch.testing.assert_close(logprobs, learner.logprobs([item]).logprobs[0], rtol=0, atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 0.1


def test_activation_checkpointing_changes_nothing(tied):
    sequences = sequences_of(ADVANTAGES)
    expected = gradients(Learner(learner_settings(tied)), sequences)
    learner = Learner(learner_settings(tied, activation_checkpointing=True))
    assert learner.policy.model.is_gradient_checkpointing
    assert_close(gradients(learner, sequences), expected)


def test_a_checkpoint_continues_bit_for_bit(checkpoint, tmp_path):
    constants = learner_settings(checkpoint, warmup_steps=5)
    whole = Learner(constants)
    whole.update(batch(0))
    expected = whole.update(batch(1))
    first = Learner(constants)
    first.update(batch(0))
    save_checkpoint(first, tmp_path / "step_000001", {})
    torch.manual_seed(123)
    second = Learner(dataclasses.replace(constants, seed=9))
    load_checkpoint(second, tmp_path / "step_000001")
    assert values_of(second.update(batch(1))) == values_of(expected)
    ours = full_parameters(second.policy)
    assert all(torch.equal(ours[name], value) for name, value in full_parameters(whole.policy).items())


def test_a_checkpoint_restores_the_random_state(tied, tmp_path):
    learner = Learner(learner_settings(tied))
    torch.manual_seed(7)
    save_checkpoint(learner, tmp_path / "step_000001", {})
    expected = torch.rand(3)
    load_checkpoint(learner, tmp_path / "step_000001")
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_is_one_of_hugging_face(checkpoint, tmp_path):
    learner = Learner(learner_settings(checkpoint))
    learner.update(batch(0))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {})
    read = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    ours = full_parameters(learner.policy)
    theirs = dict(read.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert AutoTokenizer.from_pretrained(path)("w7 w8")["input_ids"] == [7, 8]


def test_saving_again_replaces(tied, tmp_path):
    learner = Learner(learner_settings(tied))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {})
    learner.update(batch(0))
    save_checkpoint(learner, path, {})
    (name, value), *_ = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).named_parameters()
    assert torch.equal(full_parameters(learner.policy)[name], value)


def test_a_checkpoint_holds_the_drivers_files(tied, tmp_path):
    learner = Learner(learner_settings(tied))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {"driver.json": b'{"temperature": 1.2}', "other": b"\0"})
    assert (path / "trainer" / "driver.json").read_bytes() == b'{"temperature": 1.2}'
    assert (path / "trainer" / "other").read_bytes() == b"\0"
    load_checkpoint(learner, path)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "what",
    [
        "os.rename",
        "torch.save",
        "pathlib.Path.write_bytes",
        "torch.distributed.checkpoint.FileSystemWriter.write_data",
    ],
)
def test_an_interrupted_save_leaves_no_checkpoint(tied, tmp_path, monkeypatch, what):
    learner = Learner(learner_settings(tied))

    def refuse(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(what, refuse)
        with pytest.raises(CheckpointError, match=r"step_000001: cannot be written: .*OSError: disk full$"):
            save_checkpoint(learner, tmp_path / "step_000001", {"driver.json": b"{}"})
    assert complete_checkpoints(tmp_path) == []
    save_checkpoint(learner, tmp_path / "step_000001", {})
    assert complete_checkpoints(tmp_path) == [tmp_path / "step_000001"]
    assert os.listdir(tmp_path) == ["step_000001"]


def test_complete_checkpoints_come_oldest_first(tmp_path):
    for name in ("step_000010", "step_000002", ".step_000012.unfinished", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step_000011").write_text("a file")
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["step_000002", "step_000010"]


@pytest.mark.heavy
@pytest.mark.parametrize("other", [{"layers": 1}, {"layers": 3}, {"tied": False}])
def test_a_checkpoint_of_another_model_is_refused(tied, tmp_path, other):
    save_checkpoint(Learner(learner_settings(tied)), tmp_path / "step_000001", {})
    learner = Learner(learner_settings(tiny_model(tmp_path / "other", **other)))
    with pytest.raises(CheckpointError, match=r"step_000001: not a checkpoint of .*other"):
        load_checkpoint(learner, tmp_path / "step_000001")


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["*.distcp", ".metadata"])
@pytest.mark.parametrize("size", [None, 0, 1000])
def test_a_damaged_checkpoint_is_refused(tied, tmp_path, name, size):
    learner = Learner(learner_settings(tied))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {})
    (file,) = (path / "trainer").glob(name)
    if size is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="step_000001"):
        load_checkpoint(learner, path)


def test_an_absent_checkpoint_is_refused(tied, tmp_path):
    with pytest.raises(CheckpointError, match="step_000001"):
        load_checkpoint(Learner(learner_settings(tied)), tmp_path / "step_000001")
