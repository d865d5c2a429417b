"""Start a Ray cluster of two nodes on this machine with ``ray start``, and end exactly its processes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray
from ray._private.authentication.authentication_token_setup import enable_token_auth_by_default
from ray.job_submission import JobSubmissionClient

from launch.cluster.ray_cluster import join_cluster
from launch.cluster.reservation import list_nodes

DEADLINE_S = 600.0
START_ATTEMPTS = 3
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class RayNodes:
    """A head node with one CPU, and a worker node with four CPUs and two fake GPUs.

    The GPUs only exist in Ray's accounting: nothing may compute on them.

    Attributes:
        address: address of the cluster, for ``cluster.address``.
        dashboard: URL of the dashboard, for ``ray job``.
        processes: the ``ray start`` processes of head and worker.
    """

    address: str
    dashboard: str
    processes: tuple[psutil.Process, psutil.Process]

    def descendants(self) -> set[psutil.Process]:
        """Return all processes that the nodes have started, directly or indirectly."""
        descendants: set[psutil.Process] = set()
        for node in self.processes:
            descendants |= set(node.children(recursive=True))
        return descendants


class NodeExited(RuntimeError):
    """A node ended while the cluster was starting."""


@contextlib.contextmanager
def start_two_nodes() -> Iterator[RayNodes]:
    """Start the nodes and connect this process to them; end them on exit.

    They use the authentication token that Ray stores for this user, which is created if there is none.
    """
    ray.shutdown()  # disconnect from the cluster of other tests
    run_ray_command("get-auth-token", "--generate")
    with contextlib.ExitStack() as stack:
        yield _start_with_retries(stack)


def _start_with_retries(stack: contextlib.ExitStack) -> RayNodes:
    """Start the nodes, again if another process took a port that was free: Ray offers no way to reserve one."""
    for _ in range(START_ATTEMPTS - 1):
        with contextlib.suppress(NodeExited):
            return stack.enter_context(_start_two_nodes_once())
    return stack.enter_context(_start_two_nodes_once())


@contextlib.contextmanager
def _start_two_nodes_once() -> Iterator[RayNodes]:
    port, dashboard, client = (find_free_port() for _ in range(3))
    address = f"{socket.gethostbyname(socket.gethostname())}:{port}"
    url = f"http://127.0.0.1:{dashboard}"
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # not pytest's folder: paths of sockets must be short
    started: list[subprocess.Popen[bytes]] = []
    try:
        options = ("--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}")
        started.append(start_node(temporary, *options, "--num-cpus=1", "--num-gpus=0"))
        wait_until(lambda: is_running(started) and is_listening(port), "the start of the head node")
        options = (f"--address={address}", "--num-cpus=4", "--num-gpus=2", '--resources={"evaluator": 4}')
        started.append(start_node(temporary, *options))
        enable_token_auth_by_default()
        join_cluster(address)
        wait_until(lambda: is_running(started) and len(list_nodes()) == 2, "the start of the second node")
        wait_until(
            lambda: is_running(started) and JobSubmissionClient(url).list_jobs() is not None,
            "the start of the dashboard",
        )
        head, worker = (psutil.Process(node.pid) for node in started)
        yield RayNodes(address, url, (head, worker))
    finally:
        ray.shutdown()
        for node in reversed(started):  # each node ends the processes that it has started
            node.terminate()
        for node in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait(30)
        shutil.rmtree(temporary, ignore_errors=True)


def start_node(temporary: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Run ``ray start`` with ``arguments`` in a new process group, on free ports; ``temporary`` is Ray's folder."""
    ports = ("--min-worker-port=0", "--max-worker-port=0", f"--dashboard-agent-listen-port={find_free_port()}")
    options = ("--block", "--disable-usage-stats", "--object-store-memory=200000000", f"--temp-dir={temporary}")
    return subprocess.Popen(
        [executable_path("ray"), "start", *options, *ports, *arguments],
        env=command_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def is_running(nodes: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Return True if all nodes run. Raises NodeExited if one has ended."""
    for node in nodes:
        if node.poll() is not None:
            raise NodeExited(f"`ray start` ended with exit status {node.returncode}")
    return True


def wait_until(condition: Callable[[], bool], event: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until ``condition()`` is true; a ConnectionError counts as false.

    Args:
        condition: what to wait for.
        event: description of ``condition`` for the error message.
        deadline_s: time limit in seconds.

    Raises:
        TimeoutError: ``condition()`` was not true within ``deadline_s`` seconds.
    """
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError):
            if condition():
                return
        time.sleep(0.25)
    raise TimeoutError(f"timed out waiting for {event} after {deadline_s:g} s")


def is_listening(port: int) -> bool:
    """Return True if a process accepts connections at ``port``. Raises ConnectionError if none does."""
    with socket.create_connection((socket.gethostbyname(socket.gethostname()), port), 5):
        return True


def run_ray_command(
    *arguments: str, check: bool = True, timeout: float = DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Run ``ray`` with ``arguments`` in the root of the repository."""
    return subprocess.run(
        [executable_path("ray"), *arguments],
        cwd=ROOT,
        env=command_environment(),
        capture_output=True,
        text=True,
        check=check,
        timeout=timeout,
    )


def executable_path(name: str) -> str:
    """Return the path of a command of this Python environment."""
    return str(Path(sys.executable).parent / name)


def command_environment() -> dict[str, str]:
    """Return environment variables for Ray's commands.

    This environment's ``python`` comes first in PATH, so that the command of a job finds it.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Without RAY_AUTH_MODE, only some of Ray's commands read the token.
    return os.environ | {"PATH": path, "RAY_AUTH_MODE": "token"}


def find_free_port() -> int:
    """Return a port that nothing listens on, below the kernel's range of ephemeral ports.

    Ephemeral ports may be taken at any moment, by Ray's other processes or another run of the tests, and `ray start
    --block` ends the whole node when one of its processes finds its port taken.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("", port))
            return port
