"""The Ray cluster of a command: a local one that ends with this process, or a running one that is joined."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import ray
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR as JOB  # set for a job's driver only
from ray._private.services import canonicalize_bootstrap_address  # what ``auto`` stands for
from ray.exceptions import AuthenticationError, RayError, RayTaskError

from actors.evaluators.actor import RESOURCE
from conf.schema import Config
from evaluator.errors import RunFailed, UserError
from launch.cluster.placement import PlacementError, Resources, local_evaluators, local_resources, raise_if_any

CONNECT_S = 5.0
"""For a head to accept a connection."""


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """Disconnect from Ray at the end; Ray's errors come out as ``unwrapped_ray_errors`` makes them."""
    try:
        with unwrapped_ray_errors():
            yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def unwrapped_ray_errors() -> Iterator[None]:
    """Turn Ray's errors into RunFailed: with the message alone, where an actor raised one that is meant for a person.

    Ray's error of a call is an instance of its cause's class, but its text is the traceback of the actor's process.
    That is kept for every other cause, which is a bug.
    """
    try:
        yield
    except RayTaskError as error:
        meant_for_a_person = isinstance(error.cause, (UserError, RunFailed))
        raise RunFailed(str(error.cause if meant_for_a_person else error)) from error
    except RayError as error:
        raise RunFailed(str(error)) from error


def find_resources(config: Config) -> Resources:
    """What this machine has for a local cluster, or what the running one at ``cluster.address`` has, which is joined.

    Raises PlacementError when there is no cluster to join, or it lets nobody in with this token.
    """
    raise_if_any(job_problems(config) if JOB in os.environ else [])
    if config.cluster.address is None:
        return local_resources(config)
    join_cluster(config.cluster.address)
    total = ray.cluster_resources()
    return Resources(total.get("CPU", 0), total.get("GPU", 0), None)


def job_problems(config: Config) -> list[str]:
    """What a job that Ray started on a cluster must not be told."""
    found = []
    if config.cluster.address is None:
        found.append("cluster.address is null inside a Ray job, which has a cluster: set cluster.address=auto")
    if not Path(config.run.root).is_absolute():
        found.append(
            f"run.root={config.run.root} is relative inside a Ray job, whose working directory is deleted after it: "
            "give an absolute path"
        )
    return found


def join_cluster(address: str) -> None:
    """Connect to the running cluster at ``address``. Raises PlacementError that says what to do."""
    if address.startswith("ray://"):
        raise PlacementError(f"cluster.address={address}: Ray Client is not supported; submit a job (docs/cluster.md)")
    try:
        # Ray itself would look for two minutes for a cluster that is gone.
        host, port = str(canonicalize_bootstrap_address(address)).rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_S):
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
            f"cluster.address={address}: something answers there, but does not let this driver in ({reason}). Its "
            "token must be the cluster's: copy the head's ~/.ray/auth_token here, or set RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH, with RAY_AUTH_MODE=token, without which Ray sends it to no address that is given as "
            "HOST:PORT"
        ) from None


def start_ray(config: Config) -> None:
    """A local cluster that ends with this process; nothing where a running one was joined."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning of Ray's
    cluster = config.cluster
    if cluster.address is None:
        ray.init(
            address="local",  # also where another cluster runs on this machine
            num_cpus=cluster.num_cpus,
            resources={RESOURCE: local_evaluators(config)},
            object_store_memory=cluster.object_store_mb * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
