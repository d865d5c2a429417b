"""Placement plan, and the messages about missing resources."""

from dataclasses import replace
from pathlib import Path

import pytest

from launch.cluster.model_shape import estimate_shape, read_shape
from launch.cluster.placement import (
    PlacementError,
    Resources,
    count_local_evaluator_slots,
    find_missing_evaluator_slots,
    find_missing_gpu_memory,
    find_missing_resources,
    get_gpu_gib,
    measure_local_resources,
    plan_roles,
    resolve_devices,
)
from tests.factories import make_config
from tests.tiny_learner import save_tiny_model

PLENTY = Resources(cpus=64, gpus=8, free_gib=512.0)


def plan_by_name(*overrides, parameters=2**28, **experiment):
    config = make_config(*overrides, **experiment)
    return {role.name: role for role in plan_roles(config, estimate_shape(parameters), get_gpu_gib(config))}


def find_missing(resources, *overrides, parameters=2**28, **experiment):
    settings = make_config(*overrides, **experiment)
    roles = plan_roles(settings, estimate_shape(parameters), get_gpu_gib(settings, resources))
    return find_missing_resources(roles, settings, resources)


def test_plan_on_cpu_estimates_memory():
    roles = plan_by_name("model.dtype=float32", "generator.kv_cache_gib=0.5", "learner.ranks=2")
    generator = dict(roles["generator"].memory)
    learner = dict(roles["learner rank"].memory)
    assert (generator["weights"], generator["KV cache"]) == (1.0, 0.5)
    # Sharded over two ranks: 4 bytes of weight, 4 of gradient and 8 of moments for half the parameters.
    assert (learner["float32 weights"], learner["gradients"], learner["AdamW moments"]) == (0.5, 0.5, 1.0)
    assert roles["learner rank"].count == 2
    assert {role.gpus for role in roles.values()} == {0}


def test_bfloat16_halves_only_the_generators_weights():
    float32_roles = plan_by_name("model.dtype=float32")
    bfloat16_roles = plan_by_name("model.dtype=bfloat16")
    float32_weights = dict(float32_roles["generator"].memory)["weights"]
    assert dict(bfloat16_roles["generator"].memory)["weights"] == float32_weights / 2
    assert bfloat16_roles["learner rank"] == float32_roles["learner rank"]


def test_plan_on_gpus():
    roles = plan_by_name("generator.tensor_parallel=2", experiment="lcb_v6")
    assert (roles["generator"].gpus, roles["evaluator"].gpus, roles["learner rank"].gpus) == (2, 0, 1)
    assert [role.device for role in roles.values()] == ["cuda", "cpu", "cuda"]


def test_sufficient_resources_give_no_message():
    assert find_missing(PLENTY) == []
    assert find_missing(PLENTY, experiment="lcb_v6") == []


def test_missing_gpus_are_reported():
    (message,) = find_missing(Resources(cpus=64, gpus=2, free_gib=512.0), experiment="lcb_v6")
    assert message.startswith(
        "the plan needs 8 GPUs, but this machine has 2: set generator.device=cpu learner.device=cpu"
    )


def test_missing_cpus_are_reported():
    overrides = ("generator.cpus=1", "evaluator.max_actors=2", "evaluator.cpus=1.5", "learner.cpus=0.5")
    (message,) = find_missing(Resources(cpus=4, gpus=0, free_gib=512.0), *overrides)
    assert message.startswith("the plan needs 4.5 CPUs, but this machine has 4: lower generator.cpus")
    assert find_missing(Resources(cpus=4.5, gpus=0, free_gib=512.0), *overrides) == []


def test_missing_memory_is_reported():
    (message,) = find_missing(Resources(cpus=64, gpus=0, free_gib=3.0), parameters=2**30)
    settings = make_config()
    roles = plan_roles(settings, estimate_shape(2**30), 80.0)
    needed = sum(role.count * role.memory_gib for role in roles) + settings.cluster.object_store_mb / 1024
    assert message.startswith(
        f"the plan needs {needed:.1f} GiB of memory, but 3.0 GiB are free; 1 x learner rank needs most"
    )
    assert find_missing(Resources(cpus=64, gpus=0, free_gib=needed + 0.01), parameters=2**30) == []


def test_memory_of_a_running_cluster_is_not_checked():
    assert find_missing(Resources(cpus=64, gpus=0, free_gib=None), parameters=2**40) == []


def test_message_for_a_running_cluster_suggests_adding_nodes():
    gpus, cpus = find_missing(Resources(cpus=4, gpus=2, free_gib=None), "cluster.address=auto", experiment="lcb_v6")
    assert gpus.startswith("the plan needs 8 GPUs, but the cluster at auto has 2")
    assert gpus.endswith("or add nodes to the cluster")
    assert cpus.endswith("or add nodes to the cluster")


def test_all_missing_resources_are_reported_together():
    assert len(find_missing(Resources(cpus=1, gpus=0, free_gib=0.1), experiment="lcb_v6")) == 3


def test_parameters_of_a_local_checkpoint_are_counted(tmp_path):
    embedding = 97 * 64
    norms = 64 + 2 * (64 + 64 + 16 + 16)
    attention = 64 * 64 + 2 * 64 * 32 + 64 * 64
    mlp = 3 * 64 * 96
    expected = embedding + norms + 2 * (attention + mlp)
    tied = read_shape(save_tiny_model(tmp_path / "tied"))
    untied = read_shape(save_tiny_model(tmp_path / "untied", tied=False))
    assert tied is not None and untied is not None
    assert (tied.parameters, untied.parameters) == (expected, expected + embedding)
    assert (tied.layers, tied.hidden, tied.heads, tied.groups, tied.head_dim) == (2, 64, 4, 2, 16)
    assert tied.layer_parameters == attention + mlp + (norms / 2)
    assert read_shape(Path("Qwen/Qwen3-4B-Instruct-2507")) is None


def test_absent_model_has_the_shape_of_the_nearest_known_one():
    shape = estimate_shape(4_022_000_000)
    assert (shape.layers, shape.hidden, shape.tied, shape.estimated) == (36, 2560, True, True)
    # 36 x (attention 26.2M + MLP 74.7M) and the embedding of 389M: huggingface.co/Qwen/Qwen3-4B has 4.02B parameters.
    assert 36 * shape.layer_parameters + shape.embeddings == pytest.approx(4_022_000_000)
    assert estimate_shape(14_000_000_000).layers == 40


def test_gpu_memory_of_the_reference_run_is_planned_by_part():
    """Compared with a count by hand: 4B parameters on four ranks, rows of 16,384 tokens, H100."""
    roles = plan_by_name("cluster.gpu_memory_gib=80", parameters=4_022_000_000, experiment="lcb_v6")
    rank = dict(roles["learner rank"].memory)
    # 4.02e9 parameters in bytes of 4, 4 and 8, over 4 ranks.
    states = (rank["float32 weights"], rank["gradients"], rank["AdamW moments"])
    assert states == pytest.approx((3.75, 3.75, 7.49), abs=0.01)
    # Inputs of 36 layers of 16,384 x 2,560 bfloat16 numbers, and about 225 kB a token inside one layer.
    assert rank["activations"] == pytest.approx(2.81 + 3.44, abs=0.05)
    assert 28 < roles["learner rank"].memory_gib < 36, rank
    engine = dict(roles["generator"].memory)
    assert engine["weights"] == pytest.approx(7.49, abs=0.01)
    assert engine["KV cache"] == pytest.approx(0.85 * 80 - 7.49 - 4.0, abs=0.01)
    # 147,456 bytes of keys and values a token.
    assert roles["generator"].cached_sequences == int(engine["KV cache"] * 2**30 / 147_456) // (2048 + 4096)
    assert "sequences of 6,144 tokens (generator.max_sequences=256), on GPUs of 80 GiB" in roles["generator"].remark


def test_without_checkpointing_activations_of_all_layers_are_kept():
    changes = ("learner.activation_checkpointing=false", "cluster.gpu_memory_gib=141")
    rank = plan_by_name(*changes, parameters=4_022_000_000, experiment="lcb_v6")["learner rank"]
    assert dict(rank.memory)["activations"] == pytest.approx(36 * 3.44, rel=0.02)
    missing = find_missing(PLENTY, *changes, parameters=4_022_000_000, experiment="lcb_v6")
    assert len(missing) == 1 and "(activations: 12" in missing[0]
    assert "set learner.activation_checkpointing=true" in missing[0]


def test_engine_without_room_for_a_sequence_is_reported():
    (message,) = find_missing(PLENTY, "cluster.gpu_memory_gib=24", parameters=14_768_000_000, experiment="lcb_v6")[1:]
    assert "leave no room for a KV cache" in message and "generator.tensor_parallel" in message
    small = ("cluster.gpu_memory_gib=14.3", "learner.ranks=8")
    messages = find_missing(PLENTY, *small, parameters=4_022_000_000, experiment="lcb_v6")
    assert any("holds no sequence of 6,144 tokens" in message for message in messages)


def test_gpu_memory_is_configured_or_measured_or_assumed():
    resources = replace(PLENTY, gpu_gib=141.0)
    assert get_gpu_gib(make_config("cluster.gpu_memory_gib=96"), resources) == 96
    assert get_gpu_gib(make_config(), resources) == 141
    assert get_gpu_gib(make_config(), PLENTY) == get_gpu_gib(make_config()) == 80


@pytest.mark.parametrize(("gpus", "device"), [(8, "cuda"), (0, "cpu")])
def test_auto_device_depends_on_the_cluster_not_on_this_machine(monkeypatch, gpus, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus == 0)
    resources = replace(PLENTY, gpus=gpus)
    resolved = resolve_devices(make_config("generator.device=auto", "learner.device=auto"), resources)
    assert (resolved.generator.device, resolved.learner.device) == (device, device)
    explicit = resolve_devices(make_config("generator.device=cpu", "learner.device=cuda"), resources)
    assert (explicit.generator.device, explicit.learner.device) == ("cpu", "cuda")


def test_tensor_parallel_engines_need_gpus():
    settings = make_config("generator.device=auto", "generator.tensor_parallel=2")
    with pytest.raises(PlacementError, match=r"generator\.tensor_parallel=2 needs GPUs, and there is none"):
        resolve_devices(settings, replace(PLENTY, gpus=0))
    assert resolve_devices(settings, PLENTY).generator.device == "cuda"


def test_deterministic_mode_is_refused_on_gpus():
    settings = ("run.deterministic=true", "evaluator.adaptive_timeout=false")
    with pytest.raises(
        PlacementError, match=r"generator\.device=cuda and learner\.device=cuda.*set run\.deterministic"
    ):
        resolve_devices(make_config("generator.device=auto", "learner.device=auto", *settings), PLENTY)
    with pytest.raises(PlacementError, match=r"with learner\.device=cuda: "):
        resolve_devices(make_config("generator.device=cpu", "learner.device=cuda", *settings), PLENTY)
    resolve_devices(make_config("generator.device=cpu", "learner.device=cpu", *settings), PLENTY)


def test_local_resources_are_measured_or_configured():
    assert measure_local_resources(make_config("cluster.num_cpus=7")).cpus == 7
    measured = measure_local_resources(make_config())
    assert measured.cpus >= 1
    assert measured.free_gib is not None and measured.free_gib > 0


def test_plan_includes_the_largest_number_of_evaluators():
    roles = plan_by_name("evaluator.min_actors=1", "evaluator.max_actors=3")
    assert roles["evaluator"].count == 3


@pytest.mark.parametrize(
    ("overrides", "slots"),
    [
        (("evaluator.cpus=1.5",), 2),
        (("evaluator.cpus=1.5", "evaluator.max_actors=3"), 3),
        (("evaluator.cpus=0", "evaluator.max_actors=2"), 2),
    ],
)
def test_local_cluster_declares_evaluator_slots(overrides, slots):
    assert count_local_evaluator_slots(make_config("cluster.num_cpus=4", *overrides)) == slots


def test_running_cluster_must_declare_evaluator_slots():
    settings = make_config("evaluator.min_actors=2", "evaluator.max_actors=4")
    assert find_missing_evaluator_slots(settings, {"CPU": 64.0, "evaluator": 2.0}, "10.0.0.1:6379") == []
    (message,) = find_missing_evaluator_slots(settings, {"CPU": 64.0}, "10.0.0.1:6379")
    assert message == (
        "evaluator.min_actors=2, but the nodes of the cluster declare 0 of the resource `evaluator`: start CPU nodes "
        "with room for N evaluators by  ray start --address=10.0.0.1:6379 --resources='{\"evaluator\": N}'"
    )
    assert find_missing_evaluator_slots(settings, {"evaluator": 1.0}, "10.0.0.1:6379")


@pytest.mark.parametrize(
    ("experiment", "overrides", "parameters"),
    [
        ("lcb_v6", ("cluster=h100_8",), 4_022_000_000),
        ("lcb_v6", ("cluster=h200_8",), 4_022_000_000),
        ("lcb_v6", ("cluster=two_nodes",), 4_022_000_000),
        ("lcb_v6", ("cluster=two_nodes", "model=qwen3_14b"), 14_768_000_000),
        ("lcb_v6_1p7b", ("cluster=h100_8",), 1_721_000_000),
        ("lcb_v6_1p7b", ("cluster=h200_8",), 1_721_000_000),
        ("lcb_v6_32k", ("cluster=h100_8",), 4_022_000_000),
        ("lcb_v6_32k", ("cluster=h200_8",), 4_022_000_000),
        ("lcb_v6_async", ("cluster=h100_8",), 4_022_000_000),
        ("lcb_v6_async", ("cluster=h200_8",), 4_022_000_000),
        ("lcb_v6", ("cluster=h200_8", "model=qwen3_14b"), 14_768_000_000),
        (
            "lcb_v6",
            ("cluster=h200_8", "learner.activation_checkpointing=false", "learner.micro_batch_tokens=8192"),
            4_022_000_000,
        ),
    ],
)
def test_presets_fit_the_gpus_that_they_are_for(experiment, overrides, parameters):
    config = make_config(*overrides, experiment=experiment)
    roles = plan_roles(config, estimate_shape(parameters), get_gpu_gib(config))
    assert find_missing_gpu_memory(roles, config, get_gpu_gib(config)) == []
    by_name = {role.name: role for role in roles}
    assert (by_name["generator"].cached_sequences or 0) >= 8
