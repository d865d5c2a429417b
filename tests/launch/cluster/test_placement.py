"""The placement plan and what it says is lacking."""

from dataclasses import replace

import pytest

from launch.cluster.placement import (
    PlacementError,
    Resources,
    count_parameters,
    decide_devices,
    local_evaluators,
    local_resources,
    missing_evaluator_resources,
    missing_resources,
    plan,
)
from tests.factories import config
from tests.tiny_learner import tiny_model

PLENTY = Resources(cpus=64, gpus=8, free_gib=512.0)


def by_role(*overrides, parameters=2**28, **experiment):
    return {part.role: part for part in plan(config(*overrides, **experiment), parameters)}


def sentences(resources, *overrides, parameters=2**28, **experiment):
    settings = config(*overrides, **experiment)
    return missing_resources(plan(settings, parameters), settings, resources)


def test_the_plan_of_a_laptop():
    parts = by_role("model.dtype=float32", "generator.kv_cache_gib=0.5", "learner.ranks=2")
    generator = dict(parts["generator"].memory)
    learner = dict(parts["learner rank"].memory)
    assert (generator["weights"], generator["KV cache"]) == (1.0, 0.5)
    # Sharded over two ranks: 4 bytes of weight, 4 of gradient and 8 of moments for half the parameters.
    assert (learner["float32 weights"], learner["gradients"], learner["AdamW moments"]) == (0.5, 0.5, 1.0)
    assert parts["learner rank"].count == 2
    assert {part.gpus for part in parts.values()} == {0}


def test_bfloat16_halves_the_generators_weights_only():
    wide = by_role("model.dtype=float32")
    narrow = by_role("model.dtype=bfloat16")
    assert dict(narrow["generator"].memory)["weights"] == dict(wide["generator"].memory)["weights"] / 2
    assert narrow["learner rank"] == wide["learner rank"]


def test_the_plan_of_gpus():
    parts = by_role("generator.tensor_parallel=2", experiment="lcb_v6")
    assert (parts["generator"].gpus, parts["evaluator"].gpus, parts["learner rank"].gpus) == (2, 0, 1)
    assert dict(parts["generator"].memory)["KV cache"] == 0.0
    assert [part.device for part in parts.values()] == ["cuda", "cpu", "cuda"]


def test_nothing_is_missing_resources():
    assert sentences(PLENTY) == []
    assert sentences(PLENTY, experiment="lcb_v6") == []


def test_gpus_are_missing_resources():
    (sentence,) = sentences(Resources(64, 2, 512.0), experiment="lcb_v6")
    assert sentence.startswith("8 GPUs are asked for, 2 are here: set generator.device=cpu learner.device=cpu")


def test_cpus_are_missing_resources():
    overrides = ("generator.cpus=1", "evaluator.max_actors=2", "evaluator.cpus=1.5", "learner.cpus=0.5")
    (sentence,) = sentences(Resources(4, 0, 512.0), *overrides)
    assert sentence.startswith("4.5 CPUs are asked for, 4 are here: lower generator.cpus")
    assert sentences(Resources(4.5, 0, 512.0), *overrides) == []


def test_memory_is_missing_resources():
    (sentence,) = sentences(Resources(64, 0, 3.0), parameters=2**30)
    settings = config()
    parts = plan(settings, 2**30)
    needed = sum(part.count * part.gib for part in parts) + settings.cluster.object_store_mb / 1024
    assert sentence.startswith(
        f"{needed:.1f} GiB of memory are needed, 3.0 GiB are free; most goes to 1 x learner rank"
    )
    assert sentences(Resources(64, 0, needed + 0.01), parameters=2**30) == []


def test_the_memory_of_a_cluster_elsewhere_is_not_judged():
    assert sentences(Resources(64, 0, None), parameters=2**40) == []


def test_what_a_cluster_lacks_is_added_to_it():
    gpus, cpus = sentences(Resources(4, 2, None), "cluster.address=auto", experiment="lcb_v6")
    assert gpus.startswith("8 GPUs are asked for, 2 are in the cluster at auto") and gpus.endswith("or add nodes to it")
    assert cpus.endswith("or add nodes to it")


def test_everything_lacking_is_said_at_once():
    assert len(sentences(Resources(1, 0, 0.1), experiment="lcb_v6")) == 3


def test_parameters_of_a_local_checkpoint(tmp_path):
    embedding = 97 * 64
    norms = 64 + 2 * (64 + 64 + 16 + 16)
    attention = 64 * 64 + 2 * 64 * 32 + 64 * 64
    mlp = 3 * 64 * 96
    expected = embedding + norms + 2 * (attention + mlp)
    assert count_parameters(str(tiny_model(tmp_path / "tied"))) == expected
    assert count_parameters(str(tiny_model(tmp_path / "untied", tied=False))) == expected + embedding
    assert count_parameters("Qwen/Qwen3-4B-Instruct-2507") is None


@pytest.mark.parametrize(("gpus", "found"), [(8, "cuda"), (0, "cpu")])
def test_auto_is_decided_by_the_cluster_not_by_this_machine(monkeypatch, gpus, found):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus == 0)
    decided = decide_devices(config("generator.device=auto", "learner.device=auto"), replace(PLENTY, gpus=gpus))
    assert (decided.generator.device, decided.learner.device) == (found, found)
    chosen = decide_devices(config("generator.device=cpu", "learner.device=cuda"), replace(PLENTY, gpus=gpus))
    assert (chosen.generator.device, chosen.learner.device) == ("cpu", "cuda")


def test_engines_over_several_gpus_need_some():
    wide = config("generator.device=auto", "generator.tensor_parallel=2")
    with pytest.raises(PlacementError, match=r"generator\.tensor_parallel=2 needs GPUs, and there is none"):
        decide_devices(wide, replace(PLENTY, gpus=0))
    assert decide_devices(wide, PLENTY).generator.device == "cuda"


def test_local_resources():
    assert local_resources(config("cluster.num_cpus=7")).cpus == 7
    found = local_resources(config())
    assert found.cpus >= 1
    assert found.free_gib is not None and found.free_gib > 0


def test_the_plan_has_room_for_all_the_evaluators_there_may_be():
    parts = by_role("evaluator.min_actors=1", "evaluator.max_actors=3")
    assert parts["evaluator"].count == 3


def test_a_local_cluster_declares_places_for_evaluators_itself():
    assert local_evaluators(config("cluster.num_cpus=4", "evaluator.cpus=1.5")) == 2
    assert local_evaluators(config("cluster.num_cpus=4", "evaluator.cpus=1.5", "evaluator.max_actors=3")) == 3
    assert local_evaluators(config("cluster.num_cpus=4", "evaluator.cpus=0", "evaluator.max_actors=2")) == 2


def test_a_running_cluster_must_have_places_for_evaluators():
    settings = config("evaluator.min_actors=2", "evaluator.max_actors=4")
    assert missing_evaluator_resources(settings, {"CPU": 64.0, "evaluator": 2.0}, "10.0.0.1:6379") == []
    (sentence,) = missing_evaluator_resources(settings, {"CPU": 64.0}, "10.0.0.1:6379")
    assert sentence == (
        "the nodes of the cluster declare 0 of the resource `evaluator`, evaluator.min_actors=2 are asked for: start "
        "CPU nodes with room for N of them by  ray start --address=10.0.0.1:6379 --resources='{\"evaluator\": N}'"
    )
    assert missing_evaluator_resources(settings, {"evaluator": 1.0}, "10.0.0.1:6379")
