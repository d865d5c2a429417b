"""Checkpoints over several ranks: resharding, failures of one rank, and errors for damaged or foreign checkpoints."""

import contextlib
import json
import os
import re
import shutil
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import get_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer

from learner.checkpoint import (
    CheckpointError,
    list_complete_checkpoints,
    load_checkpoint,
    remove_checkpoint,
    remove_partial_checkpoints,
    save_checkpoint,
)
from learner.learner import Learner
from learner.optimizer import UpdateCounters
from learner.policy import gather_parameters
from learner.rollout import TrainBatch
from tests.tiny_learner import (
    VOCABULARY_SIZE,
    make_learner_settings,
    make_sequences,
    one_rank_group,
    save_tiny_model,
)
from tests.two_ranks import run_on_two_ranks

SETTINGS = {"warmup_updates": 5, "weight_decay": 0.1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def make_trained_learner(model, seed=0):
    learner = Learner(make_learner_settings(model, **SETTINGS))
    learner.update(TrainBatch(tuple(tuple(make_sequences((1.0, -0.5, 2.0), seed=seed + index)) for index in range(2))))
    learner.guarded_optimizer.counters.skipped = 3
    return learner


def gather_state(learner):
    """Gather parameters and moments from all ranks, by name; return them with the counters."""
    parameters, optimizer = get_state_dict(learner.policy, learner.optimizer)
    flat = dict(parameters)
    for name, moments in optimizer["state"].items():
        flat |= {f"{name} {key}": value for key, value in moments.items()}
    gathered = {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).clone() for name, value in flat.items()
    }
    return gathered, learner.guarded_optimizer.counters


def assert_same_state(actual, expected):
    actual_tensors, actual_counters = actual
    expected_tensors, expected_counters = expected
    assert actual_counters == expected_counters == UpdateCounters(2, 3, 0)
    assert actual_tensors.keys() == expected_tensors.keys()
    assert len(actual_tensors) > 60
    assert all(torch.equal(value, expected_tensors[name]) for name, value in actual_tensors.items())


SAVE_FUNCTIONS = (
    "torch.save",
    "torch.distributed.checkpoint.FileSystemWriter.write_data",
    "learner.checkpoint.os.rename",
    "learner.checkpoint.AutoTokenizer.from_pretrained",
    "learner.checkpoint.Path.mkdir",
)


def try_failing_save(learner, path, function, failing_rank):
    """Save with a disk error in ``function`` on one rank; return this rank's message and the complete checkpoints."""
    failure = mock.patch(function, side_effect=OSError(28, "No space left on device"))
    patch = failure if learner.rank == failing_rank else contextlib.nullcontext()
    with pytest.raises(CheckpointError) as caught, patch:
        save_checkpoint(learner, path, {})
    return str(caught.value), list_complete_checkpoints(path.parent)


def try_damaged_load(learner, path, name):
    """Load a copy of the checkpoint in which file ``name`` is cut in half; return this rank's error message."""
    copy = path.with_name(f"damaged_{name}")
    if learner.rank == 0:
        shutil.copytree(path, copy)
        file = copy / "trainer" / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    dist.barrier()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(learner, copy)
    return str(caught.value)


def train_save_and_load(rank, model, path):
    """Train, fail to save, save, load, and fail to load damaged copies; return the observations of this rank."""
    learner = make_trained_learner(model)
    failing_ranks = {function: int(function in SAVE_FUNCTIONS[:2]) for function in SAVE_FUNCTIONS}
    failed_saves = {
        function: (failing_rank, *try_failing_save(learner, path, function, failing_rank))
        for function, failing_rank in failing_ranks.items()
    }
    torch.manual_seed(10 + rank)
    save_checkpoint(learner, path, {})
    files = os.listdir(path.parent)
    expected = torch.rand(3)
    torch.manual_seed(99)
    load_checkpoint(learner, path)
    restored = torch.equal(torch.rand(3), expected)
    state = gather_state(learner)
    failed_loads = {name: try_damaged_load(learner, path, name) for name in ("rng_1_of_2.pt", "__1_0.distcp")}
    return {
        "failed_saves": failed_saves,
        "files": files,
        "rng_restored": restored,
        "state": state,
        "failed_loads": failed_loads,
    }


def load_and_gather_state(rank, model, path):
    learner = Learner(make_learner_settings(model, **SETTINGS))
    load_checkpoint(learner, path)
    return gather_state(learner)


@pytest.fixture(scope="module")
def two_rank_checkpoint(model, tmp_path_factory):
    """Path of a checkpoint saved by two ranks, and the observations of each rank (``train_save_and_load``)."""
    path = tmp_path_factory.mktemp("saved") / "step_000001"
    return path, run_on_two_ranks(train_save_and_load, tmp_path_factory.mktemp("ranks"), model, path)


@pytest.mark.heavy
@pytest.mark.usefixtures("process_group")
def test_resharding_from_two_ranks_to_one_and_back_keeps_the_state(model, two_rank_checkpoint, tmp_path):
    """Parameters, moments and counters are bitwise equal after 2 → 1 → 2 ranks."""
    path, (first_rank, _) = two_rank_checkpoint
    learner = Learner(make_learner_settings(model, **SETTINGS))
    torch.manual_seed(5)
    random_state = torch.get_rng_state()
    load_checkpoint(learner, path)
    assert torch.equal(torch.get_rng_state(), random_state)  # not restored: the number of ranks differs
    assert_same_state(gather_state(learner), first_rank["state"])
    (tmp_path / "ranks").mkdir()
    save_checkpoint(learner, tmp_path / "step_000002", {})
    for state in run_on_two_ranks(load_and_gather_state, tmp_path / "ranks", model, tmp_path / "step_000002"):
        assert_same_state(state, first_rank["state"])


@pytest.mark.heavy
def test_loading_restores_the_random_state_of_each_rank(two_rank_checkpoint):
    _, ranks = two_rank_checkpoint
    assert [rank["rng_restored"] for rank in ranks] == [True, True]


@pytest.mark.heavy
@pytest.mark.parametrize("function", SAVE_FUNCTIONS)
def test_a_write_error_on_one_rank_is_raised_on_all_ranks(two_rank_checkpoint, function):
    """A rank that waited for the process group's timeout would exceed the time limit of the test."""
    path, ranks = two_rank_checkpoint
    for rank in ranks:
        failing_rank, message, complete = rank["failed_saves"][function]
        assert message == f"{path}: cannot be written: rank {failing_rank}: OSError: [Errno 28] No space left on device"
        assert complete == []
        assert rank["files"] == ["step_000001"]


@pytest.mark.heavy
def test_a_damaged_file_of_one_rank_is_an_error_on_both_ranks(model, two_rank_checkpoint):
    path, ranks = two_rank_checkpoint
    for rank in ranks:
        damaged = path.parent / "damaged_rng_1_of_2.pt"
        start = f"{damaged}: not a checkpoint of {model}: rank 1: RuntimeError: "
        assert rank["failed_loads"]["rng_1_of_2.pt"].startswith(start)
        damaged = path.parent / "damaged___1_0.distcp"
        assert rank["failed_loads"]["__1_0.distcp"].startswith(f"{damaged}: cannot be read: rank ")
        assert "Traceback" not in rank["failed_loads"]["__1_0.distcp"]


@pytest.mark.usefixtures("process_group")
def test_published_weights_have_the_dtype_of_the_computation(model, tmp_path):
    """The trainer's own parameters stay float32: a resumed run loses nothing."""
    learner = Learner(make_learner_settings(model, compute_dtype="bfloat16", **SETTINGS))
    path = tmp_path / "step_000001"
    save_checkpoint(learner, path, {})
    published = AutoModelForCausalLM.from_pretrained(path)
    assert {parameter.dtype for parameter in published.parameters()} == {torch.bfloat16}
    expected = gather_parameters(learner.policy)
    for name, parameter in published.named_parameters():
        assert torch.equal(parameter, expected[name].bfloat16()), name
    with torch.no_grad():
        for parameter in learner.policy.parameters():
            parameter.zero_()
    load_checkpoint(learner, path)
    assert all(torch.equal(value, expected[name]) for name, value in gather_parameters(learner.policy).items())


def gather_on_rank_0(rank, model):
    learner = Learner(make_learner_settings(model))
    return list(gather_parameters(learner.policy, torch.bfloat16, keep=rank == 0).values())


@pytest.mark.heavy
def test_only_the_rank_that_keeps_the_parameters_holds_them(model, tmp_path):
    kept, dropped = run_on_two_ranks(gather_on_rank_0, tmp_path, model)
    assert {value.dtype for value in kept} == {torch.bfloat16}
    assert dropped == []


@pytest.fixture(scope="module")
def saved_once(model, tmp_path_factory):
    """Path of a one-rank checkpoint; ``saved`` writes it once and copies it for each test."""
    return tmp_path_factory.mktemp("saved") / "step_000001"


@pytest.fixture
def saved(model, saved_once, tmp_path, process_group):
    """Path of a copy of the one-rank checkpoint, which a test may damage."""
    if not saved_once.exists():
        save_checkpoint(make_trained_learner(model), saved_once, {})
    path = tmp_path / "step_000001"
    shutil.copytree(saved_once, path)
    return path


def load_error(model, path):
    """Try to load ``path`` into a learner of ``model``; return the reason why it is not a checkpoint of this model."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(Learner(make_learner_settings(model, **SETTINGS)), path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a checkpoint of {model}: ")
    return message.removeprefix(f"{path}: not a checkpoint of {model}: ")


@pytest.mark.heavy
def test_loading_a_missing_folder_is_an_error(model, saved):
    assert load_error(model, saved.with_name("step_000009")) == "no such folder"


def test_loading_without_config_json_is_an_error(model, saved):
    (saved / "config.json").unlink()
    assert load_error(model, saved) == "config.json is missing: not a checkpoint, or damaged"


def test_loading_without_trainer_state_is_an_error(model, saved):
    shutil.rmtree(saved / "trainer")
    assert re.match(r"FileNotFoundError: .*trainer/\.metadata", load_error(model, saved))


def test_loading_without_random_state_is_an_error(model, saved):
    (saved / "trainer" / "rng_0_of_1.pt").unlink()
    assert "rng_0_of_1.pt" in load_error(model, saved)


def test_loading_an_invalid_random_state_is_an_error(model, saved):
    torch.save([torch.zeros(3, dtype=torch.uint8)], saved / "trainer" / "rng_0_of_1.pt")
    with pytest.raises(CheckpointError, match=r"step_000001: cannot be used: RuntimeError: .*RNG"):
        load_checkpoint(Learner(make_learner_settings(model, **SETTINGS)), saved)


def test_loading_into_a_model_of_another_depth_is_an_error(saved, tmp_path):
    other = save_tiny_model(tmp_path / "other", layers=3)
    config = json.loads((other / "config.json").read_text())
    assert load_error(other, saved) == (
        f"num_hidden_layers is 2 in the checkpoint but {config['num_hidden_layers']} in the model"
    )


def test_parameters_are_compared_even_if_the_configurations_agree(saved, tmp_path):
    """The checkpoint's config.json is replaced by that of the other model."""
    other = save_tiny_model(tmp_path / "other", layers=1)
    shutil.copy(other / "config.json", saved / "config.json")
    assert re.match(r"unexpected parameters: model\.model\.layers\.1\..* and 8 more$", load_error(other, saved))


def test_loading_into_a_model_with_another_tokenizer_is_an_error(model, saved, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(model, other)
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"w7":', '"seven":'))
    assert len(AutoTokenizer.from_pretrained(other)) == VOCABULARY_SIZE
    assert load_error(other, saved) == (
        "the tokenizers differ in 2 tokens: for example, 'seven' is absent in the checkpoint but 7 in the model"
    )


def test_loading_keeps_the_configured_hyperparameters(model, saved):
    changes = {"learning_rate": 0.5, "weight_decay": 0.25, "betas": (0.5, 0.6), "warmup_updates": 4}
    learner = Learner(make_learner_settings(model, **changes))
    load_checkpoint(learner, saved)
    assert [(group["weight_decay"], group["betas"]) for group in learner.optimizer.param_groups] == [
        (0.25, (0.5, 0.6)),
        (0.0, (0.5, 0.6)),
    ]
    assert learner.guarded_optimizer.learning_rate == 0.5 * 3 / 4


@pytest.mark.usefixtures("process_group")
def test_saving_before_the_first_update_does_not_change_training(model, tmp_path):
    """torch would count a step when it saves the state of an optimizer without any."""
    batch = TrainBatch((tuple(make_sequences((1.0, -0.5))),))
    states = []
    for saves in (False, True):
        learner = Learner(make_learner_settings(model))
        if saves:
            save_checkpoint(learner, tmp_path / "step_000000", {})
        learner.update(batch)
        states.append(gather_state(learner)[0])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_an_interrupted_removal_leaves_no_partial_checkpoint(tmp_path):
    path = tmp_path / "step_000001"
    (path / "trainer").mkdir(parents=True)
    killed = mock.patch("learner.checkpoint.shutil.rmtree", side_effect=[None, KeyboardInterrupt])
    with killed, pytest.raises(KeyboardInterrupt):
        remove_checkpoint(path)
    assert (list_complete_checkpoints(tmp_path), os.listdir(tmp_path)) == ([], [".step_000001.removed"])
    (tmp_path / ".step_000002.unfinished").mkdir()
    remove_partial_checkpoints(tmp_path)
    assert os.listdir(tmp_path) == []
    remove_checkpoint(path)


@pytest.mark.gpu
def test_training_on_a_gpu_continues_from_its_checkpoint(cuda, model, tmp_path):
    """The weights after the next update are equal up to the order of atomic additions; the learner is that of a run."""
    settings = {"device": "cuda", "compute_dtype": "bfloat16", "attention": "auto", **SETTINGS}
    batch = TrainBatch((tuple(make_sequences((1.0, -0.5, 2.0), seed=5)),))
    (tmp_path / "group").mkdir()
    with one_rank_group(tmp_path / "group", "nccl"):
        learner = Learner(make_learner_settings(model, **settings))
        learner.update(batch)
        save_checkpoint(learner, tmp_path / "step_000001", {})
        expected = gather_parameters(learner.policy)
        restored = Learner(make_learner_settings(model, **settings))
        load_checkpoint(restored, tmp_path / "step_000001")
        assert all(torch.equal(value, expected[name]) for name, value in gather_parameters(restored.policy).items())
        metrics = learner.update(batch).metrics
        assert restored.update(batch).metrics.pg_loss == pytest.approx(metrics.pg_loss, abs=1e-3)
        after = gather_parameters(learner.policy)
        for name, value in gather_parameters(restored.policy).items():
            torch.testing.assert_close(value, after[name], rtol=1e-3, atol=1e-4)
