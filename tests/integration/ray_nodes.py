"""A Ray cluster as a person starts it, with ``ray start``: two nodes on this machine, ended by their ids."""

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray
from ray._private.authentication.authentication_token_setup import enable_token_auth_by_default
from ray.job_submission import JobSubmissionClient

from launch.cluster.ray_cluster import join_cluster
from launch.cluster.reservation import cluster_nodes

DEADLINE_S = 300.0
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class RayNodes:
    """A head of one CPU, and a node of four CPUs and two GPUs that nobody may compute on: they are only counted."""

    address: str
    dashboard: str
    processes: tuple[psutil.Process, psutil.Process]

    def descendants(self) -> set[psutil.Process]:
        """The processes that the nodes have started, and theirs."""
        found: set[psutil.Process] = set()
        for node in self.processes:
            found |= set(node.children(recursive=True))
        return found


@contextlib.contextmanager
def two_nodes() -> Iterator[RayNodes]:
    """This process joins them. The token is the one that Ray keeps for this user; it makes one where there is none."""
    ray.shutdown()  # of a cluster that other tests have left
    ray_command("get-auth-token", "--generate")
    port, dashboard, client = (free_port() for _ in range(3))
    address = f"{socket.gethostbyname(socket.gethostname())}:{port}"
    url = f"http://127.0.0.1:{dashboard}"
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # not pytest's: the paths of sockets must be short
    started: list[subprocess.Popen[bytes]] = []
    try:
        options = ("--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}")
        started.append(start_node(temporary, *options, "--num-cpus=1", "--num-gpus=0"))
        wait_until(lambda: listens(port), "the head's start")
        options = (f"--address={address}", "--num-cpus=4", "--num-gpus=2", '--resources={"evaluator": 4}')
        started.append(start_node(temporary, *options))
        enable_token_auth_by_default()
        join_cluster(address)
        wait_until(lambda: len(cluster_nodes()) == 2, "the second node's start")
        wait_until(lambda: JobSubmissionClient(url).list_jobs() is not None, "the dashboard's start")
        head, worker = (psutil.Process(node.pid) for node in started)
        yield RayNodes(address, url, (head, worker))
    finally:
        ray.shutdown()
        for node in reversed(started):  # each ends the processes it has started
            node.terminate()
        for node in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait(30)
        shutil.rmtree(temporary, ignore_errors=True)


def start_node(temporary: str, *arguments: str) -> subprocess.Popen[bytes]:
    """In a process group of its own, on ports that are free."""
    ports = ("--min-worker-port=0", "--max-worker-port=0", f"--dashboard-agent-listen-port={free_port()}")
    options = ("--block", "--disable-usage-stats", "--object-store-memory=200000000", f"--temp-dir={temporary}")
    return subprocess.Popen(
        [script("ray"), "start", *options, *ports, *arguments],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Raises TimeoutError when ``condition`` does not come true; a refused connection counts as not yet."""
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        with contextlib.suppress(ConnectionError):
            if condition():
                return
        time.sleep(0.25)
    raise TimeoutError(f"{what} did not happen within {deadline_s:g} s")


def listens(port: int) -> bool:
    """Does anything accept connections at ``port``?"""
    with socket.create_connection((socket.gethostbyname(socket.gethostname()), port), 5):
        return True


def ray_command(*arguments: str, check: bool = True, timeout: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
    """Ray's command line, from the root of the repository."""
    return subprocess.run(
        [script("ray"), *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=check,
        timeout=timeout,
    )


def script(name: str) -> str:
    """A command of this environment."""
    return str(Path(sys.executable).parent / name)


def environment() -> dict[str, str]:
    """With this environment's ``python`` first, which is what a job's command finds."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "RAY_AUTH_MODE": "token"}  # of its commands, Ray reads the token for some only


def free_port() -> int:
    """A port that nothing listens on, below those that the kernel hands out.

    Ray's other processes, and another copy of the tests, take one of those at any moment; `ray start --block` ends the
    whole node when one of its processes finds its port taken.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("", port))
            return port
