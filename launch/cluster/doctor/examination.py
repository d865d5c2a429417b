"""Examination of all nodes of a run: collect the facts on each, and check them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.evaluators.actor import EVALUATOR_RESOURCE
from actors.lifecycle import summarize_error
from actors.waiting import DeadlineExceeded, gather
from conf.schema import Config
from launch.cluster.doctor.checks import Check, check_any_gpu, check_node, check_versions, find_needs
from launch.cluster.doctor.facts import Examination, NodeFacts, collect_facts
from launch.cluster.doctor.gpus import TorchGpus
from launch.cluster.model_shape import ModelShape
from launch.cluster.placement import RolePlan
from launch.cluster.reservation import Node, list_nodes
from launch.cluster.shared_files import create_probe_file
from launch.models.model_path import STARTER

DEADLINE_S = 180.0
"""Seconds for a process to start on every node, use its GPUs and start a sandbox."""


def examine_nodes(config: Config, roles: Sequence[RolePlan], model: ModelShape) -> list[Check]:
    """Examine this machine, or all nodes of the running cluster that this process has joined.

    Args:
        config: configuration without ``device: auto``.
        roles: placement plan.
        model: shape of the model.
    """
    root = Path(config.run.root)
    path = Path(config.model.path)
    with create_probe_file(root if root.is_dir() else None) as probe:
        examination = Examination(model=path.absolute() if path.is_dir() else None, probe=probe, with_sandbox=True)
        answers: Sequence[NodeFacts | Check] = (
            [collect_facts(examination, TorchGpus())]
            if config.cluster.address is None
            else asyncio.run(_ask_nodes(list_nodes(), examination))
        )
    nodes = [answer for answer in answers if isinstance(answer, NodeFacts)]
    needs = find_needs(config, roles, model, len(nodes))
    return [
        *(check for facts in nodes for check in check_node(facts, needs)),
        *check_any_gpu(nodes, needs),
        *(check_versions(nodes) if nodes else []),
        *(answer for answer in answers if isinstance(answer, Check)),
        *_note_unchecked_paths(config),
    ]


def _note_unchecked_paths(config: Config) -> list[Check]:
    """Return a note for each path that does not exist yet, so that no node could be asked for it."""
    notes = []
    if config.model.path != STARTER and not Path(config.model.path).is_dir():
        detail = f"{config.model.path} is not on this machine: the driver downloads it from the hub"
        remedy = "with several nodes, put the hub's cache (HF_HOME) on a file system that all nodes share"
        notes.append(Check(node="all nodes", subject="model", state="note", detail=detail, remedy=remedy))
    if config.cluster.address is not None and not Path(config.run.root).is_dir():
        detail = f"{config.run.root} does not exist yet: access to it was not checked"
        remedy = "create it on a file system that all nodes share"
        notes.append(Check(node="all nodes", subject="run directory", state="note", detail=detail, remedy=remedy))
    return notes


async def _ask_nodes(nodes: Sequence[Node], examination: Examination) -> Sequence[NodeFacts | Check]:
    """Collect the facts on each node, with all GPUs that are free there; a node that fails is a check instead."""
    return await asyncio.gather(*(_ask_node(node, examination) for node in nodes))


async def _ask_node(node: Node, examination: Examination) -> NodeFacts | Check:
    free_gpus = int(node.free.get("GPU", 0))
    on_node = Examination(
        model=examination.model,
        probe=examination.probe,
        with_sandbox=node.total.get(EVALUATOR_RESOURCE, 0.0) > 0,
        reserved_gpus=int(node.total.get("GPU", 0)) - free_gpus,
    )
    task: Any = ray.remote(_collect_on_node)
    asking = task.options(
        num_cpus=0, num_gpus=free_gpus, scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
    ).remote(on_node)
    try:
        facts: list[NodeFacts] = await gather({node.name: asking}, f"examining {node.name}", DEADLINE_S)
    except (RayError, DeadlineExceeded) as error:
        remedy = "check that this project's environment is on the node, and Ray's logs there"
        return Check(node=node.name, subject="node", state="missing", detail=summarize_error(error), remedy=remedy)
    return facts[0]


def _collect_on_node(examination: Examination) -> NodeFacts:
    return collect_facts(examination, TorchGpus())
