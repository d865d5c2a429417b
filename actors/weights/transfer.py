"""Weights from the learner to every generator.

Three verbs: ``connect`` (generators join, also later and one by one), ``publish(version)``, ``close``. The learner's
first rank sends the model in buckets, over shared memory, gloo or NCCL; every generator loads them in place as they
come and echoes the version it then serves. A generator that does not is dropped, and serves nothing until it has been
connected again and has acknowledged the current version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayTaskError

from actors.lifecycle import ACTOR_ERRORS, STOP_DEADLINE_S, one_line
from actors.waiting import gather
from actors.weights.links import Backend, ReceiverGroup, SenderInfo, SendResult
from actors.weights.receiver import Connection
from actors.weights.sender import SenderSettings
from evaluator.errors import RunFailed

T = TypeVar("T")
MARGIN_S = 5.0


class WeightTransferError(RunFailed, RuntimeError):
    """No generator took the weights it was given, or one could not be connected."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Outcome and cost of one publication.

    ``bytes`` of weights; seconds until the learner had sent its last bucket, seconds from then until the last generator
    served them; ``dropped``: the generators that do not serve this version, each with the reason.
    """

    version: int
    bytes: int
    write_seconds: float
    load_seconds: float
    dropped: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """``dtype``: of the weights sent; ``compare``: compare a digest of every tensor, for tests."""

    dtype: str
    bucket_mb: int
    checksum: bool
    deadline_s: float
    compare: bool = False


@dataclass(frozen=True)
class _Failure:
    """Why a call to a generator failed; ``answered``: the generator raised it, so it is alive."""

    reason: str
    answered: bool = False


def choose_backend(
    asked: Literal["auto", "shared_memory", "gloo", "nccl"], devices: Collection[str], nodes: Collection[str]
) -> Backend:
    """The transport between actors on ``devices`` (``cpu``, ``cuda``) of ``nodes``.

    ``auto``: NCCL between GPUs, shared memory on the CPU of one node, else gloo.
    """
    if asked != "auto":
        return asked
    if set(devices) == {"cuda"}:
        return "nccl"
    return "shared_memory" if set(devices) == {"cpu"} and len(set(nodes)) == 1 else "gloo"


class WeightTransfer:
    """Connects one learner group with generators."""

    def __init__(self, ranks: Sequence[ActorHandle], backend: Backend, settings: TransferSettings) -> None:
        self.ranks: Sequence[Any] = ranks
        self.backend = backend
        self.settings = settings
        self.generators: dict[str, Any] = {}
        self.receiver_groups: dict[str, ReceiverGroup] = {}
        self.connections = 0
        self.publishing = asyncio.Lock()

    async def connect(self, generators: Mapping[str, ActorHandle]) -> None:
        """Let ``generators`` join, or join again: they take part from the next publication on.

        Raises WeightTransferError naming who did not join in time; the others have.
        """
        opening: Awaitable[SenderInfo] = self.ranks[0].open_sender.remote(self._sender_settings)
        sender = await self._from_rank_0("opening the sender of weights", opening)
        joins = {name: self._join(name, actor, sender) for name, actor in generators.items()}
        outcomes = await _outcomes(joins, "joining the transfer of weights", self.settings.deadline_s)
        failed = {}
        for name, outcome in outcomes.items():
            if isinstance(outcome, _Failure):
                failed[name] = outcome.reason
            else:
                self.generators[name] = generators[name]
                self.receiver_groups[name] = outcome
        if failed:
            raise WeightTransferError(f"not connected to the learner's weights: {_format_reasons(failed)}")

    async def publish(self, version: int, to: Collection[str] | None = None) -> Publication:
        """Give the generators named in ``to``, or all that are connected, the learner's present weights as ``version``.

        The current version may be published again, to generators that were connected since, as long as the learner has
        not been updated: else ValueError. Who does not take it is disconnected. Raises WeightTransferError when nobody
        took it, DeadlineExceeded when the learner did not answer: generators are not touched while it is busy.
        """
        async with self.publishing:
            names = list(self.receiver_groups if to is None else to)
            if unknown := [name for name in names if name not in self.receiver_groups]:
                raise WeightTransferError(f"not connected: {', '.join(unknown)}")
            checking: Awaitable[None] = self.ranks[0].check_version.remote(version)
            await self._from_rank_0(f"the learner's version {version}", checking)
            started = time.monotonic()
            loads: dict[str, Awaitable[int]] = {
                name: self.generators[name].load_weights.remote(version) for name in names
            }
            result = await self._send(version, names)
            dropped = {
                name: result.failed[receiver]
                for name in names
                for receiver in self.receiver_groups[name].names
                if receiver in result.failed
            }
            # The sender saw only that they left; they report the reason themselves, unless they hang.
            reasons = await _outcomes({name: loads[name] for name in dropped}, "the reason", MARGIN_S)
            dropped |= {
                name: outcome.reason
                for name, outcome in reasons.items()
                if isinstance(outcome, _Failure) and outcome.answered
            }
            waits = {name: load for name, load in loads.items() if name not in dropped}
            outcomes = await _outcomes(waits, f"loading weights version {version}", self.settings.deadline_s)
            dropped |= {
                name: reason for name, outcome in outcomes.items() if (reason := _version_mismatch(outcome, version))
            }
            if self.settings.compare:
                dropped |= await self._compare([name for name in names if name not in dropped])
            for name in dropped:
                self._forget(name)
            if len(dropped) == len(names):
                raise WeightTransferError(
                    f"nobody serves weights version {version}: {_format_reasons(dropped) or 'none is connected'}"
                )
            return Publication(
                version=version,
                bytes=result.bytes,
                write_seconds=result.seconds,
                load_seconds=time.monotonic() - started - result.seconds,
                dropped=dropped,
            )

    async def disconnect(self, name: str) -> None:
        """Publish no more to ``name``, which may be gone already."""
        async with self.publishing:
            self._forget(name)

    def close(self) -> None:
        """Free the buffers on both sides."""
        leaving = [actor.disconnect_weights.remote() for actor in self.generators.values()]
        leaving.append(self.ranks[0].close_weights.remote())
        ray.wait(leaving, num_returns=len(leaving), timeout=STOP_DEADLINE_S)

    @property
    def _sender_settings(self) -> SenderSettings:
        settings = self.settings
        return SenderSettings(
            backend=self.backend,
            dtype=settings.dtype,
            bucket_bytes=settings.bucket_mb * 2**20,
            checksum=settings.checksum,
            deadline_s=settings.deadline_s,
        )

    async def _join(self, name: str, actor: Any, sender: SenderInfo) -> ReceiverGroup:
        _, host = await actor.node.remote()
        # A new name each time: the sender must not take this connection for one that has failed.
        self.connections += 1
        endpoint = sender.endpoint
        if endpoint.backend == "nccl":  # a group of its own, which meets at a port of its own
            address: str = await self.ranks[0].address.remote()
            endpoint = replace(endpoint, port=int(address.rpartition(":")[2]))
        connection = Connection(
            endpoint=endpoint,
            receiver=f"{name} #{self.connections}",
            host=host,
            layout=sender.layout,
            capacity=self._sender_settings.bucket_bytes,
            deadline_s=self.settings.deadline_s,
            compare=self.settings.compare,
        )
        receivers: list[str] = await actor.connect_weights.remote(connection)
        return ReceiverGroup(endpoint, tuple(receivers))

    async def _send(self, version: int, names: Sequence[str]) -> SendResult:
        to = [self.receiver_groups[name] for name in names]
        connected = list(self.receiver_groups.values())
        sends: dict[str, Awaitable[SendResult]] = {
            f"learner rank {index}": rank.send_weights.remote(version, to, connected)
            for index, rank in enumerate(self.ranks)
        }
        # The sender itself gives up on receivers at the deadline; it is allowed the same time to gather the model.
        return (await gather(sends, f"sending weights version {version}", 2 * self.settings.deadline_s + MARGIN_S))[0]

    async def _compare(self, names: Sequence[str]) -> dict[str, str]:
        """Return those of ``names`` whose received tensors differ from the learner's, each with the first that does."""
        asked: dict[str, Awaitable[dict[str, str]]] = {
            f"learner rank {index}": rank.weight_digests.remote(self.settings.dtype)
            for index, rank in enumerate(self.ranks)
        }
        expected = (await gather(asked, "digests of the learner's weights", self.settings.deadline_s))[0]
        digests = {name: self.generators[name].weight_digests.remote() for name in names}
        received = await _outcomes(digests, "digests of received weights", self.settings.deadline_s)
        return {name: reason for name, result in received.items() if (reason := _digest_mismatch(result, expected))}

    async def _from_rank_0(self, what: str, call: Awaitable[T]) -> T:
        return (await gather({"learner rank 0": call}, what, self.settings.deadline_s))[0]

    def _forget(self, name: str) -> None:
        self.generators.pop(name, None)
        self.receiver_groups.pop(name, None)


async def open_transfer(
    ranks: Sequence[ActorHandle],
    generators: Mapping[str, ActorHandle],
    asked: Literal["auto", "shared_memory", "gloo", "nccl"],
    devices: Collection[str],
    settings: TransferSettings,
) -> WeightTransfer:
    """Choose the transport by where the actors are, and connect ``generators``.

    Raises WeightTransferError when one does not join, DeadlineExceeded when one does not say where it is.
    """
    asks: dict[str, Awaitable[tuple[str, str]]] = {
        f"learner rank {index}": rank.node.remote() for index, rank in enumerate(ranks)
    }
    asks |= {name: actor.node.remote() for name, actor in generators.items()}
    nodes = await gather(asks, "the actors' nodes", settings.deadline_s)
    backend = choose_backend(asked, devices, [node for node, _ in nodes])
    transfer = WeightTransfer(ranks, backend, settings)
    await transfer.connect(generators)
    return transfer


async def _outcomes(waits: Mapping[str, Awaitable[T]], what: str, deadline_s: float) -> dict[str, T | _Failure]:
    """Result of each of ``waits``, or why it has none within the deadline: one does not fail the others."""

    async def outcome(name: str, wait: Awaitable[T]) -> T | _Failure:
        try:
            return (await gather({name: wait}, what, deadline_s))[0]
        except ACTOR_ERRORS as error:
            return _Failure(one_line(error), isinstance(error, RayTaskError))

    alone = {name: outcome(name, wait) for name, wait in waits.items()}
    return dict(zip(waits, await gather(alone, what, deadline_s + MARGIN_S), strict=True))


def _version_mismatch(echoed: int | _Failure, version: int) -> str:
    """Error if the generator did not echo ``version``, else an empty string."""
    if isinstance(echoed, _Failure):
        return echoed.reason
    return "" if echoed == version else f"it serves version {echoed}"


def _digest_mismatch(received: Sequence[Mapping[str, str]] | _Failure, expected: Mapping[str, str]) -> str:
    """Error that names the first tensor of any worker that differs from the learner's, else an empty string."""
    if isinstance(received, _Failure):
        return received.reason
    for digests in received:
        wrong = [name for name in expected.keys() | digests.keys() if expected.get(name) != digests.get(name)]
        if wrong:
            return f"{len(wrong)} tensors differ from the learner's, among them {min(wrong)}"
    return ""


def _format_reasons(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
