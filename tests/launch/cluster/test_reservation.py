"""Bundles of a reservation, and the error message when there is no room.

tests/integration/test_job.py tests the reservation on a cluster.
"""

from launch.cluster.model_shape import estimate_shape
from launch.cluster.placement import plan_roles
from launch.cluster.reservation import Bundle, Node, describe_shortage, plan_bundles
from tests.factories import make_config


def make_node(number, free, total=None):
    return Node(id=f"{number}" * 12, address=f"10.0.0.{number}", total=total or free, free=free)


def test_every_engine_and_rank_has_a_bundle_but_evaluators_have_none():
    bundles = plan_bundles(
        plan_roles(make_config("generator.tensor_parallel=2", experiment="lcb_v6"), estimate_shape(2**28), 80.0)
    )
    assert [bundle.actor for bundle in bundles] == [
        f"{role} {i}" for role in ("generator", "learner rank") for i in range(4)
    ]
    assert [dict(bundle.resources) for bundle in bundles] == [{"CPU": 2, "GPU": 2}] * 4 + [{"CPU": 2, "GPU": 1}] * 4


def test_bundle_on_cpu_contains_no_gpus():
    bundles = plan_bundles(plan_roles(make_config(), estimate_shape(2**28), 80.0))
    assert [dict(bundle.resources) for bundle in bundles] == [{"CPU": 0.5}, {"CPU": 0.5}]


def test_shortage_in_total_is_described():
    bundles = [Bundle("generator 0", {"CPU": 1, "GPU": 2}), Bundle("learner rank 0", {"CPU": 1, "GPU": 1})]
    nodes = [make_node(1, {"CPU": 8}), make_node(2, {"CPU": 3, "GPU": 1}, {"CPU": 8, "GPU": 4})]
    assert describe_shortage(bundles, nodes, 5.0).startswith(
        "no room for 1 x generator (1 CPU, 2 GPU) and 1 x learner rank (1 CPU, 1 GPU) within "
        "cluster.placement_deadline_s=5. Missing: GPU: 3 needed, 1 free. Nodes: 10.0.0.1 (11111111): "
        "CPU 8 of 8 free, GPU 0 of 0 free; 10.0.0.2 (22222222): CPU 3 of 8 free, GPU 1 of 4 free. "
    )


def test_shortage_on_each_node_is_described():
    nodes = [make_node(1, {"CPU": 4}), make_node(2, {"CPU": 4})]
    message = describe_shortage([Bundle("generator 0", {"CPU": 6})], nodes, 5.0)
    assert "Missing: CPU: generator 0 takes 6 on one node, no node has more than 4 free. " in message


def test_shortage_of_a_combination_on_one_node_is_described():
    nodes = [make_node(1, {"CPU": 4}), make_node(2, {"GPU": 1})]
    message = describe_shortage([Bundle("generator 0", {"CPU": 2, "GPU": 1})], nodes, 5.0)
    assert "Missing: there is enough CPU and GPU in total, but not together on the same nodes. " in message
