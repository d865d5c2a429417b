"""Checkpoints over several ranks: resharding, failures of one rank; and what is refused, with the reason."""

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
from transformers import AutoTokenizer

from learner.checkpoint import (
    CheckpointError,
    complete_checkpoints,
    load_checkpoint,
    remove_checkpoint,
    remove_remains,
    save_checkpoint,
)
from learner.learner import Learner
from learner.optimizer import UpdateCounters
from learner.rollout import TrainBatch
from tests.tiny_learner import VOCABULARY, learner_settings, sequences_of, tiny_model
from tests.two_ranks import on_two_ranks

SETTINGS = {"warmup_steps": 5, "weight_decay": 0.1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"))


def trained(model, seed=0):
    learner = Learner(learner_settings(model, **SETTINGS))
    learner.update(TrainBatch(tuple(tuple(sequences_of((1.0, -0.5, 2.0), seed=seed + mini)) for mini in range(2))))
    learner.guarded.counters.skipped = 3
    return learner


def whole_state(learner):
    """Parameters, moments and counters, gathered from all ranks, by name."""
    parameters, optimizer = get_state_dict(learner.policy, learner.optimizer)
    flat = dict(parameters)
    for name, moments in optimizer["state"].items():
        flat |= {f"{name} {key}": value for key, value in moments.items()}
    gathered = {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).clone() for name, value in flat.items()
    }
    return gathered, learner.guarded.counters


def assert_same_bits(found, expected):
    assert found[1] == expected[1] == UpdateCounters(2, 3, 0)
    assert found[0].keys() == expected[0].keys()
    assert len(found[0]) > 60
    assert all(torch.equal(value, expected[0][name]) for name, value in found[0].items())


PARTS = (
    "torch.save",
    "torch.distributed.checkpoint.FileSystemWriter.write_data",
    "learner.checkpoint.os.rename",
    "learner.checkpoint.AutoTokenizer.from_pretrained",
    "learner.checkpoint.Path.mkdir",
)


def refused_save(learner, path, part, failing):
    """The error of this rank, and the complete checkpoints, when ``part`` of the save fails on the rank ``failing``."""
    refusal = mock.patch(part, side_effect=OSError(28, "No space left on device"))
    with pytest.raises(CheckpointError) as caught, refusal if learner.rank == failing else contextlib.nullcontext():
        save_checkpoint(learner, path, {})
    return str(caught.value), complete_checkpoints(path.parent)


def damaged_load(learner, path, name):
    """What this rank is told when ``name`` is half of the checkpoint's file."""
    copy = path.with_name(f"without_{name}")
    if learner.rank == 0:
        shutil.copytree(path, copy)
        file = copy / "trainer" / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    dist.barrier()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(learner, copy)
    return str(caught.value)


def first_two(rank, model, path):
    """Two ranks train, fail to save, save, load, and load what is damaged."""
    learner = trained(model)
    failing = {part: int(part in PARTS[:2]) for part in PARTS}
    refused = {part: (failing[part], *refused_save(learner, path, part, failing[part])) for part in PARTS}
    torch.manual_seed(10 + rank)
    save_checkpoint(learner, path, {})
    left = os.listdir(path.parent)
    expected = torch.rand(3)
    torch.manual_seed(99)
    load_checkpoint(learner, path)
    restored = torch.equal(torch.rand(3), expected)
    state = whole_state(learner)
    damaged = {name: damaged_load(learner, path, name) for name in ("rng_1_of_2.pt", "__1_0.distcp")}
    return {"refused": refused, "left": left, "restored": restored, "state": state, "damaged": damaged}


def second_two(rank, model, path):
    learner = Learner(learner_settings(model, **SETTINGS))
    load_checkpoint(learner, path)
    return whole_state(learner)


@pytest.fixture(scope="module")
def of_two(model, tmp_path_factory):
    """The checkpoint of two ranks, and what each of them saw."""
    path = tmp_path_factory.mktemp("saved") / "step_000001"
    return path, on_two_ranks(first_two, tmp_path_factory.mktemp("ranks"), model, path)


@pytest.mark.heavy
@pytest.mark.usefixtures("process_group")
def test_resharding_from_two_ranks_to_one_and_back(model, of_two, tmp_path):
    """Parameters, moments and counters are the same bits after 2 → 1 → 2 ranks."""
    path, (one, _) = of_two
    learner = Learner(learner_settings(model, **SETTINGS))
    torch.manual_seed(5)
    kept = torch.get_rng_state()
    load_checkpoint(learner, path)
    assert torch.equal(torch.get_rng_state(), kept)  # a state of another number of ranks is not taken over
    assert_same_bits(whole_state(learner), one["state"])
    (tmp_path / "ranks").mkdir()
    save_checkpoint(learner, tmp_path / "step_000002", {})
    for found in on_two_ranks(second_two, tmp_path / "ranks", model, tmp_path / "step_000002"):
        assert_same_bits(found, one["state"])


@pytest.mark.heavy
def test_each_rank_has_its_random_state_again(of_two):
    assert [found["restored"] for found in of_two[1]] == [True, True]


@pytest.mark.heavy
@pytest.mark.parametrize("part", PARTS)
def test_one_rank_that_cannot_write_fails_all_at_once(of_two, part):
    """A rank that waited for the group's deadline would not answer within the test's limit."""
    path, found = of_two
    for rank in found:
        failing, message, complete = rank["refused"][part]
        assert message == f"{path}: cannot be written: rank {failing}: OSError: [Errno 28] No space left on device"
        assert complete == []
        assert rank["left"] == ["step_000001"]


@pytest.mark.heavy
def test_a_file_damaged_for_one_rank_fails_both(model, of_two):
    path, found = of_two
    for rank in found:
        where = path.parent / "without_rng_1_of_2.pt"
        start = f"{where}: not a checkpoint of {model}: rank 1: RuntimeError: "
        assert rank["damaged"]["rng_1_of_2.pt"].startswith(start)
        where = path.parent / "without___1_0.distcp"
        assert rank["damaged"]["__1_0.distcp"].startswith(f"{where}: cannot be read: rank ")
        assert "Traceback" not in rank["damaged"]["__1_0.distcp"]


@pytest.fixture(scope="module")
def saved_once(model, tmp_path_factory):
    """Bytes of a checkpoint are copied for every test that damages one."""
    return tmp_path_factory.mktemp("saved") / "step_000001"


@pytest.fixture
def saved(model, saved_once, tmp_path, process_group):
    if not saved_once.exists():
        save_checkpoint(trained(model), saved_once, {})
    path = tmp_path / "step_000001"
    shutil.copytree(saved_once, path)
    return path


def refusal(model, path):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(Learner(learner_settings(model, **SETTINGS)), path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a checkpoint of {model}: ")
    return message.removeprefix(f"{path}: not a checkpoint of {model}: ")


def test_no_folder(model, saved):
    assert refusal(model, saved.with_name("step_000009")) == "there is no such folder"


def test_no_configuration(model, saved):
    (saved / "config.json").unlink()
    assert refusal(model, saved) == "it has no config.json: not a checkpoint, or damaged"


def test_no_trainer_state(model, saved):
    shutil.rmtree(saved / "trainer")
    assert re.match(r"FileNotFoundError: .*trainer/\.metadata", refusal(model, saved))


def test_a_missing_random_state(model, saved):
    (saved / "trainer" / "rng_0_of_1.pt").unlink()
    assert "rng_0_of_1.pt" in refusal(model, saved)


def test_a_random_state_that_is_none(model, saved):
    torch.save([torch.zeros(3, dtype=torch.uint8)], saved / "trainer" / "rng_0_of_1.pt")
    with pytest.raises(CheckpointError, match=r"step_000001: cannot be used: RuntimeError: .*RNG"):
        load_checkpoint(Learner(learner_settings(model, **SETTINGS)), saved)


def test_another_depth_and_another_vocabulary(saved, tmp_path):
    other = tiny_model(tmp_path / "other", layers=3)
    config = json.loads((other / "config.json").read_text())
    assert refusal(other, saved) == f"num_hidden_layers is 2 there and {config['num_hidden_layers']} here"


def test_parameters_are_compared_whatever_the_configurations_say(saved, tmp_path):
    """A checkpoint whose config.json was replaced."""
    other = tiny_model(tmp_path / "other", layers=1)
    shutil.copy(other / "config.json", saved / "config.json")
    assert re.match(r"it has besides model\.model\.layers\.1\..* and 8 more$", refusal(other, saved))


def test_the_same_shapes_with_another_tokenizer(model, saved, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(model, other)
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"w7":', '"seven":'))
    assert len(AutoTokenizer.from_pretrained(other)) == VOCABULARY
    assert refusal(other, saved) == (
        "its tokenizer is another one: 2 tokens differ, for example 'seven' is absent there and 7 here"
    )


def test_hyperparameters_are_those_of_the_configuration(model, saved):
    changes = {"learning_rate": 0.5, "weight_decay": 0.25, "betas": (0.5, 0.6), "warmup_steps": 4}
    learner = Learner(learner_settings(model, **changes))
    load_checkpoint(learner, saved)
    assert [(group["weight_decay"], group["betas"]) for group in learner.optimizer.param_groups] == [
        (0.25, (0.5, 0.6)),
        (0.0, (0.5, 0.6)),
    ]
    assert learner.guarded.learning_rate == 0.5 * 3 / 4


@pytest.mark.usefixtures("process_group")
def test_a_checkpoint_made_before_the_first_update_changes_nothing(model, tmp_path):
    """torch counts a step when it is asked for the state of an optimizer that has none."""
    batch = TrainBatch((tuple(sequences_of((1.0, -0.5))),))
    states = []
    for saves in (False, True):
        learner = Learner(learner_settings(model))
        if saves:
            save_checkpoint(learner, tmp_path / "step_000000", {})
        learner.update(batch)
        states.append(whole_state(learner)[0])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_removal_that_is_killed_leaves_no_half(tmp_path):
    path = tmp_path / "step_000001"
    (path / "trainer").mkdir(parents=True)
    killed = mock.patch("learner.checkpoint.shutil.rmtree", side_effect=[None, KeyboardInterrupt])
    with killed, pytest.raises(KeyboardInterrupt):
        remove_checkpoint(path)
    assert (complete_checkpoints(tmp_path), os.listdir(tmp_path)) == ([], [".step_000001.removed"])
    (tmp_path / ".step_000002.unfinished").mkdir()
    remove_remains(tmp_path)
    assert os.listdir(tmp_path) == []
    remove_checkpoint(path)
