"""Placement plan, and the messages about missing resources."""

from dataclasses import replace

import pytest

from launch.cluster.placement import (
    PlacementError,
    Resources,
    count_local_evaluator_slots,
    count_parameters,
    find_missing_evaluator_slots,
    find_missing_resources,
    measure_local_resources,
    plan_roles,
    resolve_devices,
)
from tests.factories import make_config
from tests.tiny_learner import save_tiny_model

PLENTY = Resources(cpus=64, gpus=8, free_gib=512.0)


def plan_by_name(*overrides, parameters=2**28, **experiment):
    return {role.name: role for role in plan_roles(make_config(*overrides, **experiment), parameters)}


def find_missing(resources, *overrides, parameters=2**28, **experiment):
    settings = make_config(*overrides, **experiment)
    return find_missing_resources(plan_roles(settings, parameters), settings, resources)


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
    assert dict(roles["generator"].memory)["KV cache"] == 0.0
    assert [role.device for role in roles.values()] == ["cuda", "cpu", "cuda"]


def test_sufficient_resources_give_no_message():
    assert find_missing(PLENTY) == []
    assert find_missing(PLENTY, experiment="lcb_v6") == []


def test_missing_gpus_are_reported():
    (message,) = find_missing(Resources(64, 2, 512.0), experiment="lcb_v6")
    assert message.startswith(
        "the plan needs 8 GPUs, but this machine has 2: set generator.device=cpu learner.device=cpu"
    )


def test_missing_cpus_are_reported():
    overrides = ("generator.cpus=1", "evaluator.max_actors=2", "evaluator.cpus=1.5", "learner.cpus=0.5")
    (message,) = find_missing(Resources(4, 0, 512.0), *overrides)
    assert message.startswith("the plan needs 4.5 CPUs, but this machine has 4: lower generator.cpus")
    assert find_missing(Resources(4.5, 0, 512.0), *overrides) == []


def test_missing_memory_is_reported():
    (message,) = find_missing(Resources(64, 0, 3.0), parameters=2**30)
    settings = make_config()
    roles = plan_roles(settings, 2**30)
    needed = sum(role.count * role.memory_gib for role in roles) + settings.cluster.object_store_mb / 1024
    assert message.startswith(
        f"the plan needs {needed:.1f} GiB of memory, but 3.0 GiB are free; 1 x learner rank needs most"
    )
    assert find_missing(Resources(64, 0, needed + 0.01), parameters=2**30) == []


def test_memory_of_a_running_cluster_is_not_checked():
    assert find_missing(Resources(64, 0, None), parameters=2**40) == []


def test_message_for_a_running_cluster_suggests_adding_nodes():
    gpus, cpus = find_missing(Resources(4, 2, None), "cluster.address=auto", experiment="lcb_v6")
    assert gpus.startswith("the plan needs 8 GPUs, but the cluster at auto has 2")
    assert gpus.endswith("or add nodes to the cluster")
    assert cpus.endswith("or add nodes to the cluster")


def test_all_missing_resources_are_reported_together():
    assert len(find_missing(Resources(1, 0, 0.1), experiment="lcb_v6")) == 3


def test_parameters_of_a_local_checkpoint_are_counted(tmp_path):
    embedding = 97 * 64
    norms = 64 + 2 * (64 + 64 + 16 + 16)
    attention = 64 * 64 + 2 * 64 * 32 + 64 * 64
    mlp = 3 * 64 * 96
    expected = embedding + norms + 2 * (attention + mlp)
    assert count_parameters(str(save_tiny_model(tmp_path / "tied"))) == expected
    assert count_parameters(str(save_tiny_model(tmp_path / "untied", tied=False))) == expected + embedding
    assert count_parameters("Qwen/Qwen3-4B-Instruct-2507") is None


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
