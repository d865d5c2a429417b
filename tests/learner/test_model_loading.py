"""Loading by rows gives the parameters of transformers' own loading, and no rank holds much more than its shard."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import DeviceMesh
from transformers import AutoModelForCausalLM

from learner import model_loading
from learner.model_loading import PolicySettings, load_policy
from tests.tiny_learner import make_tiny_qwen3, save_tiny_model
from tests.two_ranks import run_on_two_ranks

MIB = 2**20


def make_settings(path):
    return PolicySettings(
        path=path,
        attention="sdpa",
        device=torch.device("cpu"),
        compute_dtype=torch.float32,
        checkpoint_activations=False,
        compile_layers=False,
    )


def load(path, ranks=1):
    return load_policy(make_settings(path), DeviceMesh("cpu", list(range(ranks))))


def gather(policy):
    return {name: parameter.full_tensor() for name, parameter in policy.model.named_parameters()}


def assert_loaded_as_by_transformers(parameters, path):
    expected = dict(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).named_parameters())
    assert parameters.keys() == expected.keys()
    for name, value in parameters.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name]), name


def save_in_two_files(path):
    """Save a model in bfloat16, in two files with an index, as large models are published."""
    save_tiny_model(path)
    tensors = {name: value.bfloat16() for name, value in load_file(path / "model.safetensors").items()}
    (path / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, path / file, metadata={"format": "pt"})
    weight_map = {name: file for file, part in parts.items() for name in part}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return path


def save_without_prefix(path):
    """Save a model under the names of its base model, which transformers maps to its own while it loads."""
    save_tiny_model(path)
    tensors = load_file(path / "model.safetensors")
    renamed = {name.removeprefix("model."): value for name, value in tensors.items()}
    save_file(renamed, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.fixture
def no_whole_model(monkeypatch):
    """Fail where the whole model would be loaded."""

    def fail(*arguments, **options):
        pytest.fail("the whole model was loaded")

    monkeypatch.setattr(model_loading.AutoModelForCausalLM, "from_pretrained", fail)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.usefixtures("process_group")
def test_rows_of_one_rank_are_the_whole_model(tmp_path, tied):
    path = save_tiny_model(tmp_path, tied=tied)
    policy = load(path)
    assert_loaded_as_by_transformers(gather(policy), path)
    assert (policy.model.lm_head.weight is policy.model.model.embed_tokens.weight) is tied
    expected = make_tiny_qwen3(tie_word_embeddings=tied).model.rotary_emb.inv_freq
    assert torch.equal(policy.model.model.rotary_emb.inv_freq, expected)
    assert policy.training


@pytest.mark.usefixtures("process_group", "no_whole_model")
def test_16_bit_tensors_of_several_files_become_float32(tmp_path):
    path = save_in_two_files(tmp_path)
    parameters = gather(load(path))
    tensors = load_file(path / "model-1.safetensors") | load_file(path / "model-2.safetensors")
    for name, value in parameters.items():
        assert torch.equal(value, tensors[name].float()), name


@pytest.mark.usefixtures("process_group")
def test_other_names_are_left_to_transformers(tmp_path):
    path = save_without_prefix(tmp_path)
    assert_loaded_as_by_transformers(gather(load(path)), path)


@pytest.mark.usefixtures("process_group")
def test_missing_weights_are_an_error(tmp_path):
    path = save_tiny_model(tmp_path)
    (path / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load(path)


def save_wide_model(path):
    """Save a model in bfloat16; return its folder, and the MiB of its parameters and of its largest one in float32."""
    model = make_tiny_qwen3(
        vocab_size=8192, hidden_size=512, intermediate_size=3072, num_hidden_layers=9, tie_word_embeddings=True
    )
    model.bfloat16().save_pretrained(path)
    return path, model.num_parameters() * 4 / MIB, 8192 * 512 * 4 / MIB


def measure_loading(rank, path):
    """Load the model; return the peak of this process's memory above what it had before, in MiB, and the parameters."""
    load(path.parent / "tiny", ranks=2)  # imports and first calls
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the current value
    before = read_memory_mib("VmRSS")
    policy = load(path, ranks=2)
    return read_memory_mib("VmHWM") - before, gather(policy)


def read_memory_mib(key):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


@pytest.mark.heavy
def test_no_rank_holds_more_than_its_shard_and_a_tensor(tmp_path):
    path, whole_mib, largest_mib = save_wide_model(tmp_path / "wide")
    save_tiny_model(tmp_path / "tiny")
    (tmp_path / "ranks").mkdir()
    for peak_mib, parameters in run_on_two_ranks(measure_loading, tmp_path / "ranks", path):
        assert peak_mib < 1.3 * (whole_mib / 2 + largest_mib)
        assert_loaded_as_by_transformers(parameters, path)
