"""How another process finds the evaluator pool of a live run: the driver's side and the side of ``launch.scale``."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._raylet import Config  # type: ignore[attr-defined] # nothing public makes Ray read its environment again

from actors.evaluators.actor import RESOURCE
from actors.evaluators.pool import EvaluatorPool
from actors.evaluators.scaling_mailbox import PoolReport, ScalingMailbox
from actors.waiting import DeadlineExceeded
from conf.schema import ScaleConfig
from launch.cluster.placement import PlacementError
from launch.cluster.ray_cluster import ray_session
from launch.records.run_directory import write_text
from launch.records.run_path import RunDirectoryError

CLUSTER = "cluster.json"
AUTH_MODE = "RAY_AUTH_MODE"
CONNECT_S = 20.0
ANSWER_S = 20.0
POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class MailboxAddress:
    """Where a live run's mailbox is: Ray's ``address`` (host:port), and the actor's ``namespace`` and ``name``.

    ``auth_mode``: how the driver proves itself to the cluster (``RAY_AUTH_MODE``).
    """

    address: str
    namespace: str
    name: str
    auth_mode: str


@contextlib.contextmanager
def open_to_scaling(directory: Path, evaluators: EvaluatorPool) -> Iterator[None]:
    """For the driver: inside the ``with``, ``launch.scale`` finds this run and changes its pool, which has started."""
    context = ray.get_runtime_context()
    # Two drivers may have runs of one name, and one that was killed may still be there when its successor starts.
    where = MailboxAddress(
        address=context.gcs_address,
        namespace=directory.name,
        name=f"scaling-{uuid.uuid4().hex[:12]}",
        auth_mode=_auth_mode(),
    )
    role: Any = ray.remote(ScalingMailbox).options(name=where.name, namespace=where.namespace, num_cpus=0)
    mailbox = role.remote()
    path = directory / CLUSTER
    write_text(path, json.dumps(vars(where), indent=2))
    evaluators.follow(mailbox)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        ray.kill(mailbox)


def read_address(path: Path) -> MailboxAddress:
    """What the run's driver wrote. Raises RunDirectoryError when it is not there (any more)."""
    try:
        return MailboxAddress(**json.loads((path / CLUSTER).read_text()))
    except FileNotFoundError:
        raise RunDirectoryError(f"run={path}: it has ended, or its evaluators have not started yet") from None


def find_mailbox(path: Path, where: MailboxAddress) -> Any:
    """Connect to the run's cluster, and find its mailbox there. Raises RunDirectoryError."""
    host, _, port = where.address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()  # Ray tries for minutes
        if where.auth_mode != _auth_mode():  # Ray sends its token to no address by itself, and reads the mode at import
            os.environ[AUTH_MODE] = where.auth_mode
            Config.initialize("")
        ray.init(address=where.address, log_to_driver=False, logging_level=logging.ERROR)
        return ray.get_actor(where.name, where.namespace)
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"run={path}: it has ended, or its Ray cluster at {where.address} is not to be reached from here: {error}"
        ) from error


def _auth_mode() -> str:
    return os.environ.get(AUTH_MODE, "disabled")


def scale(path: Path, settings: ScaleConfig) -> int:
    """Ask the run in ``path`` for the new size and wait until it has it; returns the size before.

    Raises RunDirectoryError when it has ended, PlacementError when the cluster has no room for so many,
    DeadlineExceeded when they do not run in time.
    """
    where = read_address(path)
    with ray_session():
        mailbox = find_mailbox(path, where)
        before = first_report(mailbox)
        most = before.actors + room(ray.available_resources(), before.cpus)
        if settings.evaluators > max(most, before.actors):
            raise PlacementError(
                f"evaluators={settings.evaluators}: {before.actors} run, and the cluster has room for {most} in all: "
                f"each takes {before.cpus:g} CPUs and 1 of the resource `{RESOURCE}`. Start nodes by  ray start "
                f"--address={where.address} --resources='{{\"{RESOURCE}\": N}}'"
            )
        ray.get(mailbox.request.remote(settings.evaluators), timeout=ANSWER_S)
        wait_for(mailbox, settings)
        return before.actors


def first_report(mailbox: Any) -> PoolReport:
    """What the pool says. Raises DeadlineExceeded."""
    ends = time.monotonic() + ANSWER_S
    while time.monotonic() < ends:
        report: PoolReport | None = ray.get(mailbox.report.remote(), timeout=ANSWER_S)
        if report is not None:
            return report
        time.sleep(POLL_S)
    raise DeadlineExceeded(f"the run's evaluator pool has not reported within {ANSWER_S:g} s")


def room(free: Mapping[str, float], cpus: float) -> int:
    """How many more evaluators of ``cpus`` CPUs each the free resources hold, wherever in the cluster they are."""
    by_cpus = free.get("CPU", 0.0) / cpus if cpus else float("inf")
    return int(min(free.get(RESOURCE, 0.0), by_cpus) + 1e-6)  # Ray counts in ten-thousandths


def wait_for(mailbox: Any, settings: ScaleConfig) -> None:
    """Until so many run. Raises DeadlineExceeded."""
    ends = time.monotonic() + settings.deadline_s
    while (report := first_report(mailbox)).actors != settings.evaluators:
        if time.monotonic() >= ends:
            raise DeadlineExceeded(
                f"evaluators={settings.evaluators} did not all run within {settings.deadline_s:g} s: "
                f"{report.actors} do; the run goes on trying"
            )
        time.sleep(POLL_S)
