"""Reservation of a run's resources on the cluster, before any engine or learner rank starts.

One Ray placement group holds a bundle for every engine and learner rank, packed onto as few nodes as possible: ranks on
one node communicate over its links, and engines on the same node receive weights through its memory. Evaluators are not
reserved; they use what is left on any node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import ray
from ray._private.state import available_resources_per_node  # no public API returns the free resources of each node
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.waiting import DeadlineExceeded, gather
from launch.cluster.placement import GENERATOR, LEARNER_RANK, PlacementError, RolePlan


@dataclass(frozen=True)
class Bundle:
    """Ray resources by name (CPU, GPU) that the actor named ``actor`` needs on one node."""

    actor: str
    resources: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """Node of the cluster, with its total and free Ray resources by name."""

    id: str
    address: str
    total: Mapping[str, float]
    free: Mapping[str, float]

    @property
    def name(self) -> str:
        """Address and shortened id, as Ray's dashboard shows it; nodes may share an address."""
        return f"{self.address} ({self.id[:8]})"


@dataclass(frozen=True)
class Reservation:
    """Reserved resources of the actors in ``bundles``, held until ``release`` or the end of the driver."""

    group: PlacementGroup
    bundles: Sequence[Bundle]

    @property
    def generator_strategies(self) -> list[PlacementGroupSchedulingStrategy]:
        """Scheduling strategy of each generator; it also applies when a generator is restarted."""
        return self._strategies(GENERATOR)

    @property
    def rank_strategies(self) -> list[PlacementGroupSchedulingStrategy]:
        """Scheduling strategy of each learner rank."""
        return self._strategies(LEARNER_RANK)

    def nodes_by_actor(self) -> dict[str, str]:
        """Return the id of the node that each actor is placed on, by the actor's name."""
        node_ids = placement_group_table(self.group)["bundles_to_node_id"]
        return {bundle.actor: node_ids[index] for index, bundle in enumerate(self.bundles)}

    def release(self) -> None:
        """Release the resources. Ray ends an actor that still uses them."""
        remove_placement_group(self.group)

    def _strategies(self, role: str) -> list[PlacementGroupSchedulingStrategy]:
        return [
            PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=index)
            for index, bundle in enumerate(self.bundles)
            if bundle.actor.startswith(role)
        ]


async def reserve(roles: Sequence[RolePlan], deadline_s: float) -> Reservation:
    """Reserve the resources of all engines and learner ranks of ``roles``, or of none.

    Raises:
        PlacementError: there was no room within ``deadline_s``; the message names the missing resources and each node's
            free ones.
    """
    bundles = plan_bundles(roles)
    group = placement_group([dict(bundle.resources) for bundle in bundles], strategy="PACK")
    with ExitStack() as undo:
        undo.callback(remove_placement_group, group)
        try:
            await gather({"engines and learner ranks": group.ready()}, "reserving room on the cluster", deadline_s)
        except DeadlineExceeded:
            raise PlacementError(describe_shortage(bundles, list_nodes(), deadline_s)) from None
        undo.pop_all()
    return Reservation(group, bundles)


def plan_bundles(roles: Sequence[RolePlan]) -> list[Bundle]:
    """Return a bundle for every engine and learner rank. Evaluators are not reserved."""
    return [
        Bundle(f"{role.name} {index}", {"CPU": role.cpus} | ({"GPU": role.gpus} if role.gpus else {}))
        for role in roles
        if role.name in (GENERATOR, LEARNER_RANK)
        for index in range(role.count)
    ]


def list_nodes() -> list[Node]:
    """Return the nodes that are alive."""
    free = available_resources_per_node()
    return [
        Node(
            id=node["NodeID"],
            address=node["NodeManagerAddress"],
            total=node["Resources"],
            free=free.get(node["NodeID"], {}),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def describe_shortage(bundles: Sequence[Bundle], nodes: Sequence[Node], deadline_s: float) -> str:
    """Return the error message for ``bundles`` that do not fit on ``nodes``: what is missing, and what each node has.

    Args:
        bundles: what was to be reserved.
        nodes: nodes of the cluster with their free resources.
        deadline_s: seconds that were waited for room.
    """
    names = sorted({name for bundle in bundles for name in bundle.resources})
    reasons = [reason for name in names if (reason := _describe_missing(name, bundles, nodes))]
    if not reasons:
        reasons = [f"there is enough {' and '.join(names)} in total, but not together on the same nodes"]
    return (
        f"no room for {_describe_bundles(bundles)} within cluster.placement_deadline_s={deadline_s:g}. "
        f"Missing: {'; '.join(reasons)}. Nodes: {'; '.join(_describe_node(node, names) for node in nodes)}. "
        "Wait for other jobs to end, add nodes, or lower generator.actors, generator.tensor_parallel, "
        "learner.ranks, generator.cpus or learner.cpus"
    )


def _describe_missing(name: str, bundles: Sequence[Bundle], nodes: Sequence[Node]) -> str | None:
    """Describe the shortage of the resource ``name``, in total or on a single node; return None if there is none."""
    needed = sum(bundle.resources.get(name, 0) for bundle in bundles)
    free = sum(node.free.get(name, 0) for node in nodes)
    if needed > free:
        return f"{name}: {needed:g} needed, {free:g} free"
    largest = max(bundles, key=lambda bundle: bundle.resources.get(name, 0))
    most_free = max(node.free.get(name, 0) for node in nodes)
    if largest.resources.get(name, 0) > most_free:
        return (
            f"{name}: {largest.actor} takes {largest.resources[name]:g} on one node, no node has more than "
            f"{most_free:g} free"
        )
    return None


def _describe_bundles(bundles: Sequence[Bundle]) -> str:
    roles: dict[str, list[Bundle]] = {}
    for bundle in bundles:
        roles.setdefault(bundle.actor.rsplit(" ", 1)[0], []).append(bundle)
    return " and ".join(
        f"{len(group)} x {role} ({', '.join(f'{amount:g} {name}' for name, amount in group[0].resources.items())})"
        for role, group in roles.items()
    )


def _describe_node(node: Node, names: Sequence[str]) -> str:
    amounts = (f"{name} {node.free.get(name, 0):g} of {node.total.get(name, 0):g} free" for name in names)
    return f"{node.name}: {', '.join(amounts)}"
