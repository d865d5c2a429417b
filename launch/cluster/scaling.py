"""Scaling the evaluators of a running run from another process.

launch.scale ──► cluster.json: address of the mailbox
     │ requested size                                   driver
     └──────────────► ScalingMailbox (Ray actor) ◄────── EvaluatorPool takes the size, reports its own
                            │ report
     launch.scale ◄─────────┘ polls until the pool has the requested size, or its deadline ends
"""

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
from ray._raylet import Config  # type: ignore[attr-defined] # no public API makes Ray read its environment again

from actors.evaluators.actor import EVALUATOR_RESOURCE
from actors.evaluators.pool import EvaluatorPool
from actors.evaluators.scaling_mailbox import PoolReport, ScalingMailbox
from actors.waiting import DeadlineExceeded
from conf.schema import ScaleConfig
from launch.cluster.placement import PlacementError
from launch.cluster.ray_cluster import ray_session
from launch.records.run_directory import write_text_atomically
from launch.records.run_path import RunDirectoryError

CLUSTER_FILE = "cluster.json"
AUTH_MODE_VARIABLE = "RAY_AUTH_MODE"
CONNECT_TIMEOUT_S = 20.0
REPLY_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class MailboxAddress:
    """Address of a running run's mailbox, written to ``cluster.json``.

    Attributes:
        address: address of the Ray cluster, HOST:PORT.
        namespace: Ray namespace of the mailbox actor.
        name: name of the mailbox actor.
        auth_mode: how the driver authenticates to the cluster (``RAY_AUTH_MODE``).
    """

    address: str
    namespace: str
    name: str
    auth_mode: str


@contextlib.contextmanager
def accept_scaling_requests(directory: Path, evaluators: EvaluatorPool) -> Iterator[None]:
    """Let ``launch.scale`` change the pool of this run as long as the context is open (used by the driver).

    Args:
        directory: run directory, in which ``cluster.json`` is written.
        evaluators: pool, already started.
    """
    context = ray.get_runtime_context()
    # The name is random: two drivers may have runs of the same name, and the mailbox of a killed run may still exist
    # when the run is resumed.
    mailbox_address = MailboxAddress(
        address=context.gcs_address,
        namespace=directory.name,
        name=f"scaling-{uuid.uuid4().hex[:12]}",
        auth_mode=_read_auth_mode(),
    )
    actor_class: Any = ray.remote(ScalingMailbox).options(
        name=mailbox_address.name, namespace=mailbox_address.namespace, num_cpus=0
    )
    mailbox = actor_class.remote()
    path = directory / CLUSTER_FILE
    write_text_atomically(path, json.dumps(vars(mailbox_address), indent=2))
    evaluators.follow(mailbox)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        ray.kill(mailbox)


def read_mailbox_address(path: Path) -> MailboxAddress:
    """Read the mailbox address that the driver wrote. Raises RunDirectoryError if the run has ended."""
    try:
        return MailboxAddress(**json.loads((path / CLUSTER_FILE).read_text()))
    except FileNotFoundError:
        raise RunDirectoryError(f"run={path}: it has ended, or its evaluators have not started yet") from None


def find_mailbox(path: Path, mailbox_address: MailboxAddress) -> Any:
    """Connect to the run's cluster and return the handle of the mailbox.

    The mailbox is the actor through which ``launch.scale`` sends requests to the driver.

    Args:
        path: run directory, for error messages.
        mailbox_address: address that the driver wrote.

    Raises:
        RunDirectoryError: the run has ended, or its cluster cannot be reached.
    """
    host, _, port = mailbox_address.address.rpartition(":")
    try:
        # Checked first because Ray itself would try for minutes.
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        # Ray sends its token to an explicit address only in mode "token", and reads the mode only at import.
        if mailbox_address.auth_mode != _read_auth_mode():
            os.environ[AUTH_MODE_VARIABLE] = mailbox_address.auth_mode
            Config.initialize("")
        ray.init(address=mailbox_address.address, log_to_driver=False, logging_level=logging.ERROR)
        return ray.get_actor(mailbox_address.name, mailbox_address.namespace)
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"run={path}: it has ended, or its Ray cluster at {mailbox_address.address} cannot be reached from this "
            f"machine: {error}"
        ) from error


def _read_auth_mode() -> str:
    return os.environ.get(AUTH_MODE_VARIABLE, "disabled")


def scale_evaluators(path: Path, settings: ScaleConfig) -> int:
    """Change the number of evaluators of the run in ``path``, and wait until all run; return the previous number.

    Raises:
        RunDirectoryError: the run has ended.
        PlacementError: the cluster has no room for the requested number.
        DeadlineExceeded: the number was not reached in time.
    """
    mailbox_address = read_mailbox_address(path)
    with ray_session():
        mailbox = find_mailbox(path, mailbox_address)
        before = wait_for_report(mailbox)
        most = before.actors + count_fitting_evaluators(ray.available_resources(), before.cpus)
        if settings.evaluators > max(most, before.actors):
            raise PlacementError(
                f"evaluators={settings.evaluators}: {before.actors} run, and the cluster has room for {most} in all: "
                f"each takes {before.cpus:g} CPUs and 1 of the resource `{EVALUATOR_RESOURCE}`. Start nodes by  ray "
                f"start --address={mailbox_address.address} --resources='{{\"{EVALUATOR_RESOURCE}\": N}}'"
            )
        ray.get(mailbox.request.remote(settings.evaluators), timeout=REPLY_TIMEOUT_S)
        wait_for_size(mailbox, settings)
        return before.actors


def wait_for_report(mailbox: Any) -> PoolReport:
    """Wait for the pool's report of its size. Raises DeadlineExceeded."""
    deadline = time.monotonic() + REPLY_TIMEOUT_S
    while time.monotonic() < deadline:
        report: PoolReport | None = ray.get(mailbox.report.remote(), timeout=REPLY_TIMEOUT_S)
        if report is not None:
            return report
        time.sleep(POLL_INTERVAL_S)
    raise DeadlineExceeded(f"the run's evaluator pool has not reported within {REPLY_TIMEOUT_S:g} s")


def count_fitting_evaluators(free: Mapping[str, float], cpus: float) -> int:
    """Return how many more evaluators the free resources allow, summed over the whole cluster.

    Args:
        free: Ray's free resources by name.
        cpus: CPUs per evaluator.
    """
    by_cpus = free.get("CPU", 0.0) / cpus if cpus else float("inf")
    return int(min(free.get(EVALUATOR_RESOURCE, 0.0), by_cpus) + 1e-6)  # Ray rounds resources to 0.0001


def wait_for_size(mailbox: Any, settings: ScaleConfig) -> None:
    """Wait until the pool has the requested number of evaluators. Raises DeadlineExceeded."""
    deadline = time.monotonic() + settings.deadline_s
    while (report := wait_for_report(mailbox)).actors != settings.evaluators:
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"evaluators={settings.evaluators} was not reached within {settings.deadline_s:g} s: "
                f"{report.actors} are running; the driver keeps trying"
            )
        time.sleep(POLL_INTERVAL_S)
