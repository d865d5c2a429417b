"""Checks of a run's needs against the facts about its nodes, each with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actors.failure_causes import find_cause
from conf.schema import Config
from evaluator.sandbox import describe_missing_fences
from launch.cluster.doctor.facts import NodeFacts
from launch.cluster.memory_plan import GIB
from launch.cluster.model_shape import ModelShape
from launch.cluster.placement import ENGINE_GIB, GENERATOR, LEARNER_RANK, PROCESS_GIB, RolePlan

OLDEST_DRIVER = {"12": (525, 60), "13": (580, 0)}
"""Oldest NVIDIA driver that runs each major version of CUDA (docs.nvidia.com, CUDA toolkit release notes, table 2)."""
LOCKED_MIB = 1024.0
"""Memory that NCCL must be able to lock for InfiniBand."""
FREE_SHARE = 0.95
"""Least share of a GPU's memory that must be free: more would be used by another process."""

State = Literal["ok", "missing", "note"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Result of a check.

    Attributes:
        node: host name, or "all nodes".
        subject: what was checked.
        state: "ok"; "missing" if the run cannot work; "note" if it works with a restriction.
        detail: what was found.
        remedy: what to do; empty if the state is "ok", or if ``detail`` contains it.
    """

    node: str
    subject: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """Needs of a run that its nodes must meet.

    Attributes:
        on_gpus: engines or learner ranks run on GPUs.
        gpu_gib: planned use of a GPU by the larger of both, in GiB.
        host_gib: host memory of a node's share of engines and ranks, and of the copy of the model that a checkpoint is
            written from, in GiB.
        shared_memory_gib: free space in /dev/shm, in GiB.
        between_nodes: learner ranks and engines communicate between nodes.
        compiles: something is compiled at run time: Triton's kernels on GPUs, or the learner's layers.
        strict_sandbox: a sandbox that lacks an isolation mechanism is an error.
    """

    on_gpus: bool
    gpu_gib: float
    host_gib: float
    shared_memory_gib: float
    between_nodes: bool
    compiles: bool
    strict_sandbox: bool


def find_needs(config: Config, roles: Sequence[RolePlan], model: ModelShape, nodes: int) -> Needs:
    """Return what the run of ``config`` needs of its nodes.

    Args:
        config: configuration without ``device: auto``.
        roles: placement plan.
        model: shape of the model.
        nodes: number of nodes of the cluster.
    """
    gpu_roles = [role for role in roles if role.device == "cuda"]
    copy_gib = model.parameters * (4 if config.model.dtype == "float32" else 2) / GIB
    counts = {role.name: role.count for role in roles}
    processes_gib = counts.get(GENERATOR, 0) * ENGINE_GIB + counts.get(LEARNER_RANK, 0) * PROCESS_GIB
    host_gib = processes_gib / nodes + (copy_gib if LEARNER_RANK in counts else 0.0)
    return Needs(
        on_gpus=bool(gpu_roles),
        gpu_gib=max((role.memory_gib for role in gpu_roles), default=0.0),
        host_gib=host_gib,
        shared_memory_gib=1.0 + (config.cluster.object_store_mb / 1024 if config.cluster.address is None else 0.0),
        between_nodes=nodes > 1,
        compiles=bool(gpu_roles) or config.learner.compile,
        strict_sandbox=config.evaluator.strict,
    )


def check_node(facts: NodeFacts, needs: Needs) -> list[Check]:
    """Check one node. Nodes without a GPU are checked as nodes of evaluators, if the run uses GPUs at all."""
    checks = []
    if facts.gpus or not needs.on_gpus:
        checks += [check_machine(facts), check_compiler(facts, needs), check_host_memory(facts, needs)]
        checks += check_paths(facts)
    if needs.on_gpus:
        checks += check_driver(facts)
        checks += check_gpus(facts, needs)
    checks += [check_shared_memory(facts, needs), *check_locked_memory(facts, needs), *check_sandbox(facts, needs)]
    return checks


def check_machine(facts: NodeFacts) -> Check:
    """Check the instruction set: the lock files have packages for x86-64 only."""
    if facts.machine == "x86_64":
        return Check(node=facts.name, subject="machine", state="ok", detail=facts.machine)
    remedy = "use x86-64 nodes, or resolve a lock file for this machine"
    return Check(node=facts.name, subject="machine", state="missing", detail=facts.machine, remedy=remedy)


def check_driver(facts: NodeFacts) -> list[Check]:
    """Check that the driver runs the CUDA that torch was built for; no check on a node without a driver."""
    if facts.driver is None:
        return []
    node = facts.name
    if facts.cuda is None:
        return [
            Check(
                node=node,
                subject="driver",
                state="missing",
                detail=f"driver {facts.driver}, but torch was built without CUDA",
                remedy="use the environment of make venv-gpu on this node",
            )
        ]
    needed = OLDEST_DRIVER.get(facts.cuda.split(".")[0], (0, 0))
    numbers = tuple(int(part) for part in facts.driver.split(".")[:2] if part.isdigit())
    detail = f"driver {facts.driver}, CUDA {facts.cuda}"
    if numbers and numbers < needed:
        remedy = f"update the driver to {needed[0]} or later, or build the environment for an older CUDA"
        return [Check(node=node, subject="driver", state="missing", detail=detail, remedy=remedy)]
    return [Check(node=node, subject="driver", state="ok", detail=detail)]


def check_gpus(facts: NodeFacts, needs: Needs) -> list[Check]:
    """Check that each GPU computes, is free, and is large enough."""
    checks = []
    if facts.reserved_gpus and not facts.gpus:
        detail = f"{facts.reserved_gpus} GPUs are reserved by other jobs, so they were not examined"
        checks.append(Check(node=facts.name, subject="GPUs", state="note", detail=detail, remedy="wait for these jobs"))
    elif facts.driver is not None and facts.cuda is not None and not facts.gpus:
        remedy = "check nvidia-smi on this node, and CUDA_VISIBLE_DEVICES of the process that started Ray"
        detail = "there is a driver, but torch sees no GPU"
        checks.append(Check(node=facts.name, subject="GPUs", state="missing", detail=detail, remedy=remedy))
    for index, gpu in enumerate(facts.gpus):
        subject = f"GPU {index}"
        detail = f"{gpu.name}, {gpu.free_gib:.1f} of {gpu.total_gib:.1f} GiB free"
        if gpu.error:
            remedy = find_cause(gpu.error) or "run nvidia-smi -q on this node and look for errors of this GPU"
            detail = f"{detail}: {gpu.error}"
        elif gpu.free_gib < FREE_SHARE * gpu.total_gib:
            remedy = "end the process that uses it (nvidia-smi lists it)"
        elif gpu.total_gib < needs.gpu_gib:
            detail = f"{detail}, {needs.gpu_gib:.0f} GiB planned"
            remedy = "set cluster.gpu_memory_gib to what it has, and follow the plan's advice (dry_run=true)"
        else:
            checks.append(
                Check(node=facts.name, subject=subject, state="ok", detail=f"{detail}, matrix product correct")
            )
            continue
        checks.append(Check(node=facts.name, subject=subject, state="missing", detail=detail, remedy=remedy))
    return checks


def check_compiler(facts: NodeFacts, needs: Needs) -> Check:
    """Check the compiler and Python's headers, with which Triton and torch.compile build kernels at run time."""
    found = facts.compiler or "no C compiler"
    headers = "with Python.h" if facts.has_python_headers else "without Python.h"
    detail = f"{found}, {headers}"
    if not needs.compiles or (facts.compiler and facts.has_python_headers):
        return Check(node=facts.name, subject="compiler", state="ok", detail=detail)
    remedy = "install gcc, g++ and Python's headers (Debian: python3.11-dev)"
    return Check(node=facts.name, subject="compiler", state="missing", detail=detail, remedy=remedy)


def check_host_memory(facts: NodeFacts, needs: Needs) -> Check:
    """Check the free host memory."""
    detail = f"{facts.free_gib:.1f} GiB free, {needs.host_gib:.1f} needed for engines and learner ranks"
    if facts.free_gib >= needs.host_gib:
        return Check(node=facts.name, subject="host memory", state="ok", detail=detail)
    remedy = "end other processes, or use a larger node or a smaller model"
    return Check(node=facts.name, subject="host memory", state="missing", detail=detail, remedy=remedy)


def check_shared_memory(facts: NodeFacts, needs: Needs) -> Check:
    """Check the free space in /dev/shm, which Ray's object store, NCCL and torch use."""
    detail = f"{facts.shared_memory_gib:.1f} GiB free, {needs.shared_memory_gib:.1f} needed"
    if facts.shared_memory_gib >= needs.shared_memory_gib:
        return Check(node=facts.name, subject="/dev/shm", state="ok", detail=detail)
    remedy = "remove what earlier runs left in /dev/shm, or give the container more (docker run --shm-size=16g)"
    return Check(node=facts.name, subject="/dev/shm", state="missing", detail=detail, remedy=remedy)


def check_locked_memory(facts: NodeFacts, needs: Needs) -> list[Check]:
    """Check the limit on locked memory, which InfiniBand needs; no check for a run on one node."""
    if not (needs.between_nodes and needs.on_gpus and facts.gpus):
        return []
    if facts.locked_memory_mib is None or facts.locked_memory_mib >= LOCKED_MIB:
        limit = "unlimited" if facts.locked_memory_mib is None else f"{facts.locked_memory_mib:.0f} MiB"
        return [Check(node=facts.name, subject="memlock", state="ok", detail=limit)]
    detail = f"{facts.locked_memory_mib:.0f} MiB; NCCL falls back from InfiniBand to TCP, or fails"
    remedy = "ulimit -l unlimited where Ray is started (docker run --ulimit memlock=-1)"
    return [Check(node=facts.name, subject="memlock", state="note", detail=detail, remedy=remedy)]


def check_paths(facts: NodeFacts) -> list[Check]:
    """Check that the node can access the model and the run directory."""
    if not facts.path_errors:
        return [
            Check(
                node=facts.name,
                subject="paths",
                state="ok",
                detail="model and run directory can be used, if they exist",
            )
        ]
    return [Check(node=facts.name, subject="paths", state="missing", detail=error) for error in facts.path_errors]


def check_sandbox(facts: NodeFacts, needs: Needs) -> list[Check]:
    """Check the isolation of the sandbox; no check on a node without evaluators."""
    if facts.sandbox_error:
        remedy = "see docs/evaluator.md for what a sandbox needs of its host"
        return [Check(node=facts.name, subject="sandbox", state="missing", detail=facts.sandbox_error, remedy=remedy)]
    if facts.missing_fences is None:
        return []
    if not facts.missing_fences:
        return [Check(node=facts.name, subject="sandbox", state="ok", detail="all isolation mechanisms work")]
    detail = describe_missing_fences(facts.missing_fences)
    remedy = "use a newer kernel, or a container runtime that permits them"
    if needs.strict_sandbox:
        remedy += "; or set evaluator.strict=false"
    state: State = "missing" if needs.strict_sandbox else "note"
    return [Check(node=facts.name, subject="sandbox", state=state, detail=detail, remedy=remedy)]


def check_any_gpu(nodes: Sequence[NodeFacts], needs: Needs) -> list[Check]:
    """Check that at least one node has a GPU, for a run that uses GPUs."""
    if not needs.on_gpus or any(facts.gpus or facts.reserved_gpus for facts in nodes):
        return []
    drivers = "a driver, but no GPU that torch can use" if any(facts.driver for facts in nodes) else "no NVIDIA driver"
    remedy = "run it where GPUs are, or set generator.device=cpu learner.device=cpu"
    return [Check(node="all nodes", subject="GPUs", state="missing", detail=f"there is {drivers}", remedy=remedy)]


def check_versions(nodes: Sequence[NodeFacts]) -> list[Check]:
    """Check that Python and the packages have the same version on all nodes."""
    subject = "versions"
    first = nodes[0]
    differing = []
    for facts in nodes[1:]:
        names = sorted({*first.packages, *facts.packages})
        differing += [
            f"{name} {first.packages.get(name, 'absent')} on {first.name}, {facts.packages.get(name, 'absent')} on "
            f"{facts.name}"
            for name in names
            if first.packages.get(name) != facts.packages.get(name)
        ]
        if first.python != facts.python:
            differing.append(f"Python {first.python} on {first.name}, {facts.python} on {facts.name}")
    if differing:
        remedy = "install the same environment on all nodes"
        return [
            Check(node="all nodes", subject=subject, state="missing", detail=detail, remedy=remedy)
            for detail in differing
        ]
    packages = ", ".join(f"{name} {version}" for name, version in first.packages.items())
    return [Check(node="all nodes", subject=subject, state="ok", detail=f"Python {first.python}, {packages}")]
