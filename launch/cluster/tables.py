"""Tables of a dry run: the placement plan, the nodes of a running cluster, and the reservation on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from launch.cluster.placement import RolePlan
from launch.cluster.reservation import Node

SHOWN = ("CPU", "GPU", "evaluator")
"""Ray resources that the tables show."""


def build_placement_table(roles: Sequence[RolePlan]) -> Table:
    """Build the table of the placement plan, one row per role."""
    table = Table(title="Placement", title_justify="left")
    for heading in ("actor", "count", "device", "CPUs each", "GPUs each", "memory each (GiB; on cuda: of a GPU)"):
        table.add_column(heading)
    for role in roles:
        parts = "".join(f"\n{size:6.2f} {name}" for name, size in role.memory)
        cells = (role.name, str(role.count), role.device, f"{role.cpus:g}", f"{role.gpus:g}")
        table.add_row(*cells, f"{role.memory_gib:6.2f} in all{parts}")
    return table


def build_nodes_table(nodes: Sequence[Node]) -> Table:
    """Build the table of the free resources of each node."""
    names = sorted({name for node in nodes for name in node.total if name in SHOWN})
    table = Table(title="Nodes", title_justify="left")
    for heading in ("node", *(f"{name} free" for name in names)):
        table.add_column(heading)
    for node in nodes:
        amounts = (f"{node.free.get(name, 0):g} of {node.total.get(name, 0):g}" for name in names)
        table.add_row(node.name, *amounts)
    return table


def build_reservation_table(nodes_by_actor: Mapping[str, str], nodes: Sequence[Node]) -> Table:
    """Build the table of the actors placed on each node; ``nodes_by_actor`` maps an actor's name to a node id."""
    table = Table(title="Reservation", title_justify="left")
    for heading in ("node", "actors"):
        table.add_column(heading)
    for node in nodes:
        table.add_row(node.name, ", ".join(actor for actor, id in nodes_by_actor.items() if id == node.id))
    return table
