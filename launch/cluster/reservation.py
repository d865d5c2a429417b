"""The room of a run on the cluster: every engine and learner rank is reserved before one of them starts.

One Ray placement group holds a bundle for each, packed into as few nodes as will do: ranks that share a node talk over
its links, and engines beside them get weights from its memory. Evaluators take what is left, on any node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import ray
from ray._private.state import available_resources_per_node  # nothing public says what each node has free
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.waiting import DeadlineExceeded, gather
from launch.cluster.placement import GENERATOR, LEARNER_RANK, Part, PlacementError


@dataclass(frozen=True)
class Bundle:
    """What one actor takes on one node: Ray's resources by name."""

    actor: str
    takes: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A node of the cluster: its id, the address it is known by, and Ray's resources by name."""

    id: str
    address: str
    total: Mapping[str, float]
    free: Mapping[str, float]

    @property
    def name(self) -> str:
        """The address, and the beginning of the id as Ray's dashboard shows it: nodes may share an address."""
        return f"{self.address} ({self.id[:8]})"


@dataclass(frozen=True)
class Reservation:
    """Room for the actors named in ``bundles``, until it is released or the driver ends."""

    group: PlacementGroup
    bundles: Sequence[Bundle]

    @property
    def engines(self) -> list[PlacementGroupSchedulingStrategy]:
        """Where each engine goes, also when it is started again."""
        return self._of(GENERATOR)

    @property
    def ranks(self) -> list[PlacementGroupSchedulingStrategy]:
        """Where each learner rank goes."""
        return self._of(LEARNER_RANK)

    def nodes(self) -> dict[str, str]:
        """Node ids by the names of the actors that go there."""
        by_index = placement_group_table(self.group)["bundles_to_node_id"]
        return {bundle.actor: by_index[index] for index, bundle in enumerate(self.bundles)}

    def release(self) -> None:
        """Give the room back; an actor that is still in it ends."""
        remove_placement_group(self.group)

    def _of(self, role: str) -> list[PlacementGroupSchedulingStrategy]:
        return [
            PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=index)
            for index, bundle in enumerate(self.bundles)
            if bundle.actor.startswith(role)
        ]


async def reserve(parts: Sequence[Part], deadline_s: float) -> Reservation:
    """Reserve room for the engines and ranks of ``parts``, all or nothing.

    Raises PlacementError that names what is lacking, and where, when the cluster has no room within ``deadline_s``.
    """
    wanted = bundles(parts)
    group = placement_group([dict(bundle.takes) for bundle in wanted], strategy="PACK")
    with ExitStack() as undo:
        undo.callback(remove_placement_group, group)
        try:
            await gather({"engines and learner ranks": group.ready()}, "reserving room on the cluster", deadline_s)
        except DeadlineExceeded:
            raise PlacementError(shortage(wanted, cluster_nodes(), deadline_s)) from None
        undo.pop_all()
    return Reservation(group, wanted)


def bundles(parts: Sequence[Part]) -> list[Bundle]:
    """One for every engine and rank; evaluators are not reserved."""
    return [
        Bundle(f"{part.role} {index}", {"CPU": part.cpus} | ({"GPU": part.gpus} if part.gpus else {}))
        for part in parts
        if part.role in (GENERATOR, LEARNER_RANK)
        for index in range(part.count)
    ]


def cluster_nodes() -> list[Node]:
    """The nodes that are alive."""
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


def shortage(wanted: Sequence[Bundle], nodes: Sequence[Node], deadline_s: float) -> str:
    """Why ``wanted`` found no room on ``nodes``: what is lacking, and what each node has."""
    names = sorted({name for bundle in wanted for name in bundle.takes})
    reasons = [reason for name in names if (reason := _lacking(name, wanted, nodes))]
    if not reasons:
        reasons = [f"{' and '.join(names)} are free in all, but not in such pieces"]
    return (
        f"no room for {_list(wanted)} within cluster.placement_deadline_s={deadline_s:g}. "
        f"Lacking: {'; '.join(reasons)}. Nodes: {'; '.join(_describe(node, names) for node in nodes)}. "
        "Wait for what else runs there, add nodes, or lower generator.actors, generator.tensor_parallel, "
        "learner.ranks, generator.cpus or learner.cpus"
    )


def _lacking(name: str, wanted: Sequence[Bundle], nodes: Sequence[Node]) -> str | None:
    """How much of one resource is asked for in all and at once on a node, where that is more than is free."""
    asked = sum(bundle.takes.get(name, 0) for bundle in wanted)
    free = sum(node.free.get(name, 0) for node in nodes)
    if asked > free:
        return f"{name}: {asked:g} asked for, {free:g} free"
    largest = max(wanted, key=lambda bundle: bundle.takes.get(name, 0))
    most = max(node.free.get(name, 0) for node in nodes)
    if largest.takes.get(name, 0) > most:
        return f"{name}: {largest.actor} takes {largest.takes[name]:g} on one node, no node has more than {most:g} free"
    return None


def _list(wanted: Sequence[Bundle]) -> str:
    roles: dict[str, list[Bundle]] = {}
    for bundle in wanted:
        roles.setdefault(bundle.actor.rsplit(" ", 1)[0], []).append(bundle)
    return " and ".join(
        f"{len(group)} x {role} ({', '.join(f'{amount:g} {name}' for name, amount in group[0].takes.items())})"
        for role, group in roles.items()
    )


def _describe(node: Node, names: Sequence[str]) -> str:
    amounts = (f"{name} {node.free.get(name, 0):g} of {node.total.get(name, 0):g} free" for name in names)
    return f"{node.name}: {', '.join(amounts)}"
