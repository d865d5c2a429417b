"""Connection of a command to Ray: a local cluster that ends with the process, or a running cluster that it joins."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil
import ray
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR  # set only in the driver of a Ray job
from ray._private.services import canonicalize_bootstrap_address  # resolves the address ``auto``
from ray.exceptions import AuthenticationError, RayError, RayTaskError

from actors.evaluators.actor import EVALUATOR_RESOURCE
from conf.schema import Config
from evaluator.errors import RunFailed, UserError
from launch.cluster.placement import (
    PlacementError,
    Resources,
    count_local_evaluator_slots,
    measure_local_resources,
    raise_placement_errors,
)

CONNECT_TIMEOUT_S = 5.0
"""Seconds that a head node may take to accept a connection."""

LOCAL_START_ATTEMPTS = 3

START_TIMED_OUT = "timed out during startup"
"""Part of the message of the exception that ``ray.init`` raises if its processes start too slowly."""


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """Disconnect from Ray at the end, and convert Ray's errors as ``unwrap_ray_errors`` does."""
    try:
        with unwrap_ray_errors():
            yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def unwrap_ray_errors() -> Iterator[None]:
    """Convert Ray's errors into RunFailed.

    A UserError or RunFailed from an actor keeps only its message. Any other exception of an actor is a bug, so Ray's
    text, which contains the actor's traceback, is kept.
    """
    try:
        yield
    except RayTaskError as error:
        is_expected = isinstance(error.cause, (UserError, RunFailed))
        raise RunFailed(str(error.cause if is_expected else error)) from error
    except RayError as error:
        raise RunFailed(str(error)) from error


def find_resources(config: Config) -> Resources:
    """Return the resources of this machine, or join the cluster at ``cluster.address`` and return its resources.

    Raises:
        PlacementError: there is no cluster at the address, or it rejects this driver's token.
    """
    raise_placement_errors(find_job_config_errors(config) if is_ray_job() else [])
    if config.cluster.address is None:
        return measure_local_resources(config)
    join_cluster(config.cluster.address)
    total = ray.cluster_resources()
    return Resources(cpus=total.get("CPU", 0), gpus=total.get("GPU", 0), free_gib=None)


def is_ray_job() -> bool:
    """Return True if this process is the driver of a Ray job."""
    return RAY_JOB_CONFIG_JSON_ENV_VAR in os.environ


def find_job_config_errors(config: Config) -> list[str]:
    """Return the errors of a configuration that runs as a Ray job."""
    errors = []
    if config.cluster.address is None:
        errors.append("cluster.address is null inside a Ray job, which has a cluster: set cluster.address=auto")
    if not Path(config.run.root).is_absolute():
        errors.append(
            f"run.root={config.run.root} is relative inside a Ray job, whose working directory is deleted after it: "
            "give an absolute path"
        )
    return errors


def join_cluster(address: str) -> None:
    """Connect to the running cluster at ``address``. Raises PlacementError."""
    if address.startswith("ray://"):
        raise PlacementError(f"cluster.address={address}: Ray Client is not supported; submit a job (docs/cluster.md)")
    try:
        # Checked first because Ray itself would search for two minutes for a cluster that is gone.
        host, port = str(canonicalize_bootstrap_address(address)).rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S):
            pass
    except (OSError, ValueError) as error:
        raise PlacementError(
            f"cluster.address={address}: no Ray cluster answers there ({error}): start one with `ray start --head`, "
            "give HOST:PORT of its head as that command prints it, or set cluster.address=null for a local one"
        ) from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (AuthenticationError, ConnectionError) as error:
        reason = str(error).split(". ")[0]
        raise PlacementError(
            f"cluster.address={address}: something answers there, but does not let this driver in ({reason}). The "
            "driver needs the cluster's token: copy ~/.ray/auth_token of the head node to this machine, or set "
            "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH. Also set RAY_AUTH_MODE=token: without it Ray sends no token to an "
            "address of the form HOST:PORT"
        ) from None


def start_ray(config: Config) -> None:
    """Start a local cluster that ends with this process; do nothing if a running cluster was joined."""
    cluster = config.cluster
    if cluster.address is None:
        start_local_cluster(
            num_cpus=cluster.num_cpus,
            evaluator_slots=count_local_evaluator_slots(config),
            object_store_bytes=cluster.object_store_mb * 2**20,
        )


def start_local_cluster(*, num_cpus: int | None, evaluator_slots: int, object_store_bytes: int) -> None:
    """Start a cluster on this machine that ends with this process, even if another one runs on the machine.

    Ray waits 30 seconds for its own processes, which no setting changes. On a machine that is busy reading a new
    environment from disk, that is too short: then they are ended and started again.

    Args:
        num_cpus: CPUs in Ray's accounting; all of the machine if None.
        evaluator_slots: units of the resource that evaluators take.
        object_store_bytes: size of Ray's object store.

    Raises:
        RunFailed: Ray's processes did not start in time, LOCAL_START_ATTEMPTS times.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning of Ray
    for _ in range(LOCAL_START_ATTEMPTS):
        before = psutil.Process().children(recursive=True)
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                resources={EVALUATOR_RESOURCE: evaluator_slots},
                object_store_memory=object_store_bytes,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray raises no more specific one
            if START_TIMED_OUT not in str(error):
                raise
            end_processes(set(psutil.Process().children(recursive=True)).difference(before))
        else:
            return
    raise RunFailed(
        f"Ray's processes did not start within 30 s, {LOCAL_START_ATTEMPTS} times: this machine is overloaded. Start "
        "again when it has free processors and memory; Ray's logs are in /tmp/ray/session_latest/logs"
    )


def end_processes(processes: Collection[psutil.Process]) -> None:
    """Kill ``processes`` and wait up to 10 seconds for their end."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)
