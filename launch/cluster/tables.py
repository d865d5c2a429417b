"""Tables of a placement plan, of the nodes of a running cluster, and of what is reserved on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from launch.cluster.placement import Part
from launch.cluster.reservation import Node

SHOWN = ("CPU", "GPU", "evaluator")
"""Ray's resources that a run asks for."""


def placement_table(parts: Sequence[Part]) -> Table:
    """The placement plan."""
    table = Table(title="Placement", title_justify="left")
    for heading in ("actor", "count", "device", "CPUs each", "GPUs each", "memory each (GiB)"):
        table.add_column(heading)
    for part in parts:
        memory = ", ".join(f"{name} {size:.2f}" for name, size in part.memory)
        table.add_row(
            part.role, str(part.count), part.device, f"{part.cpus:g}", f"{part.gpus:g}", f"{part.gib:.2f}: {memory}"
        )
    return table


def nodes_table(nodes: Sequence[Node]) -> Table:
    """The running cluster: what each node has free."""
    names = sorted({name for node in nodes for name in node.total if name in SHOWN})
    table = Table(title="Nodes", title_justify="left")
    for heading in ("node", *(f"{name} free" for name in names)):
        table.add_column(heading)
    for node in nodes:
        amounts = (f"{node.free.get(name, 0):g} of {node.total.get(name, 0):g}" for name in names)
        table.add_row(node.name, *amounts)
    return table


def reservation_table(where: Mapping[str, str], nodes: Sequence[Node]) -> Table:
    """Which actors would go to which node; ``where`` has node ids by the actors' names."""
    table = Table(title="Room", title_justify="left")
    for heading in ("node", "actors"):
        table.add_column(heading)
    for node in nodes:
        table.add_row(node.name, ", ".join(actor for actor, id in where.items() if id == node.id))
    return table
