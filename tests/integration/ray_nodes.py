"""A Ray cluster as a person starts it, with ``ray start``: two nodes on this machine, ended by their ids."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 90.0
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class RayNodes:
    """A head of one CPU, and a node of four CPUs and two GPUs that nobody may compute on: they are only counted."""

    address: str
    dashboard: str


@contextlib.contextmanager
def two_nodes() -> Iterator[RayNodes]:
    """With the token that Ray keeps for this user, which it makes where there is none."""
    ray("get-auth-token", "--generate")
    port, dashboard, client = (free_port() for _ in range(3))
    address, url = f"{socket.gethostbyname(socket.gethostname())}:{port}", f"http://127.0.0.1:{dashboard}"
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # not pytest's: the paths of sockets must be short
    started: list[subprocess.Popen[bytes]] = []
    try:
        head = ("--head", f"--port={port}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}")
        started.append(start_node(temporary, *head, "--num-cpus=1", "--num-gpus=0"))
        wait_until_nodes_are(1, address, url, started)
        started.append(
            start_node(
                temporary, f"--address={address}", "--num-cpus=4", "--num-gpus=2", '--resources={"evaluator": 4}'
            )
        )
        wait_until_nodes_are(2, address, url, started)
        yield RayNodes(address, url)
    finally:
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


def wait_until_nodes_are(count: int, address: str, url: str, started: list[subprocess.Popen[bytes]]) -> None:
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends:
        assert all(node.poll() is None for node in started), "a node has ended"
        listed = ray("list", "nodes", "--address", url, "--format", "json", check=False)
        if listed.returncode == 0 and listed.stdout.count('"ALIVE"') == count:
            return
        time.sleep(0.5)
    raise TimeoutError(f"{count} nodes at {address} were not there within {DEADLINE_S:g} s: {listed.stderr}")


def ray(*arguments: str, check: bool = True, timeout: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
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
    """With this environment's ``python`` first: a job's is that of the node it is on."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])
