"""What is reserved, and what is said when there is no room; tests/integration/test_cluster.py does it on a cluster."""

from launch.cluster.placement import plan
from launch.cluster.reservation import Bundle, Node, bundles, shortage
from tests.factories import config


def node(name, free, total=None):
    return Node(id=f"{name}" * 12, address=f"10.0.0.{name}", total=total or free, free=free)


def test_a_bundle_for_every_engine_and_rank_and_none_for_evaluators():
    found = bundles(plan(config("generator.tensor_parallel=2", experiment="lcb_v6"), 2**28))
    assert [bundle.actor for bundle in found] == [
        f"{role} {i}" for role in ("generator", "learner rank") for i in range(4)
    ]
    assert [dict(bundle.takes) for bundle in found] == [{"CPU": 2, "GPU": 2}] * 4 + [{"CPU": 2, "GPU": 1}] * 4


def test_a_bundle_without_gpus_asks_for_none():
    assert [dict(bundle.takes) for bundle in bundles(plan(config(), 2**28))] == [{"CPU": 0.5}, {"CPU": 0.5}]


def test_too_little_in_all():
    wanted = [Bundle("generator 0", {"CPU": 1, "GPU": 2}), Bundle("learner rank 0", {"CPU": 1, "GPU": 1})]
    told = shortage(wanted, [node(1, {"CPU": 8}), node(2, {"CPU": 3, "GPU": 1}, {"CPU": 8, "GPU": 4})], 5.0)
    assert told.startswith(
        "no room for 1 x generator (1 CPU, 2 GPU) and 1 x learner rank (1 CPU, 1 GPU) within "
        "cluster.placement_deadline_s=5. Lacking: GPU: 3 asked for, 1 free. Nodes: 10.0.0.1 (11111111): "
        "CPU 8 of 8 free, GPU 0 of 0 free; 10.0.0.2 (22222222): CPU 3 of 8 free, GPU 1 of 4 free. "
    )


def test_enough_in_all_but_not_on_one_node():
    told = shortage([Bundle("generator 0", {"CPU": 6})], [node(1, {"CPU": 4}), node(2, {"CPU": 4})], 5.0)
    assert "Lacking: CPU: generator 0 takes 6 on one node, no node has more than 4 free. " in told


def test_each_is_somewhere_but_not_together():
    told = shortage([Bundle("generator 0", {"CPU": 2, "GPU": 1})], [node(1, {"CPU": 4}), node(2, {"GPU": 1})], 5.0)
    assert "Lacking: CPU and GPU are free in all, but not in such pieces. " in told
