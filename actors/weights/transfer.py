"""Weights from the learner to every generator.

Three verbs: ``connect`` (generators join, also later and one by one), ``publish(version)``, ``close``. The learner's
first rank sends the model in buckets, over shared memory, gloo or NCCL; every generator loads them in place as they
come and echoes the version it then serves. A generator that does not is left out, and serves nothing until it has been
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
from ray.exceptions import RayError, RayTaskError

from actors.shutdown import STOP_DEADLINE_S
from actors.waiting import DeadlineExceeded, gather
from actors.weights.links import Backend, Offer, Peer, Sent
from actors.weights.receiver import Connection
from actors.weights.sender import SenderSettings

T = TypeVar("T")
MARGIN_S = 5.0


class WeightTransferError(RuntimeError):
    """No generator took the weights it was given, or one could not be connected."""


@dataclass(frozen=True)
class Publication:
    """What one publication did and cost.

    ``bytes`` of weights; seconds until the learner had sent its last bucket, seconds from then until the last generator
    served them; ``left_out``: the generators that do not serve this version, each with the reason.
    """

    version: int
    bytes: int
    write_seconds: float
    load_seconds: float
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class TransferSettings:
    """``dtype``: of the weights sent; ``compare``: compare a digest of every tensor, for tests."""

    dtype: str
    bucket_mb: int
    checksum: bool
    deadline_s: float
    compare: bool = False


@dataclass(frozen=True)
class _Failure:
    """Why a generator did not answer as it should; ``answered``: it says so itself."""

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
        self.backend, self.settings = backend, settings
        self.generators: dict[str, Any] = {}
        self.peers: dict[str, Peer] = {}
        self.connections = 0
        self.publishing = asyncio.Lock()

    async def connect(self, generators: Mapping[str, ActorHandle]) -> None:
        """Let ``generators`` join, or join again: they take part from the next publication on.

        Raises WeightTransferError naming who did not join in time; the others have.
        """
        offering: Awaitable[Offer] = self.ranks[0].offer_weights.remote(self._sender)
        offer = await self._of_rank_0("the offer of weights", offering)
        joins = {name: self._join(name, actor, offer) for name, actor in generators.items()}
        failed = {}
        for name, peer in (await _outcomes(joins, "joining the transfer of weights", self.settings.deadline_s)).items():
            if isinstance(peer, _Failure):
                failed[name] = peer.reason
            else:
                self.generators[name], self.peers[name] = generators[name], peer
        if failed:
            raise WeightTransferError(f"not connected to the learner's weights: {_told(failed)}")

    async def publish(self, version: int, to: Collection[str] | None = None) -> Publication:
        """Give the generators named in ``to``, or all that are connected, the learner's present weights as ``version``.

        The current version may be published again, to generators that were connected since, as long as the learner has
        not been updated: else ValueError. Who does not take it is disconnected. Raises WeightTransferError when nobody
        took it, DeadlineExceeded when the learner did not answer: generators are not touched while it is busy.
        """
        async with self.publishing:
            names = list(self.peers if to is None else to)
            if unknown := [name for name in names if name not in self.peers]:
                raise WeightTransferError(f"not connected: {', '.join(unknown)}")
            checking: Awaitable[None] = self.ranks[0].check_version.remote(version)
            await self._of_rank_0(f"the learner's version {version}", checking)
            started = time.monotonic()
            loads: dict[str, Awaitable[int]] = {
                name: self.generators[name].load_weights.remote(version) for name in names
            }
            sent = await self._send(version, names)
            left_out = {
                name: sent.failed[receiver]
                for name in names
                for receiver in self.peers[name].receivers
                if receiver in sent.failed
            }
            # The sender saw only that they left; why, they say themselves, unless they hang.
            told = await _outcomes({name: loads[name] for name in left_out}, "the reason", MARGIN_S)
            left_out |= {
                name: result.reason for name, result in told.items() if isinstance(result, _Failure) and result.answered
            }
            waits = {name: load for name, load in loads.items() if name not in left_out}
            outcomes = await _outcomes(waits, f"loading weights version {version}", self.settings.deadline_s)
            left_out |= {name: reason for name, result in outcomes.items() if (reason := _wrong(result, version))}
            if self.settings.compare:
                left_out |= await self._compare([name for name in names if name not in left_out])
            for name in left_out:
                self._forget(name)
            if len(left_out) == len(names):
                raise WeightTransferError(
                    f"nobody serves weights version {version}: {_told(left_out) or 'none is connected'}"
                )
            return Publication(version, sent.bytes, sent.seconds, time.monotonic() - started - sent.seconds, left_out)

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
    def _sender(self) -> SenderSettings:
        settings = self.settings
        size = settings.bucket_mb * 2**20
        return SenderSettings(self.backend, settings.dtype, size, settings.checksum, settings.deadline_s)

    async def _join(self, name: str, actor: Any, offer: Offer) -> Peer:
        _, host = await actor.node.remote()
        # A new name each time: the sender must not take this connection for one that has failed.
        self.connections += 1
        endpoint = offer.endpoint
        if endpoint.backend == "nccl":  # a group of its own, which meets at a port of its own
            address: str = await self.ranks[0].address.remote()
            endpoint = replace(endpoint, port=int(address.rpartition(":")[2]))
        receiver, size = f"{name} #{self.connections}", self._sender.bucket_bytes
        connection = Connection(
            endpoint, receiver, host, offer.model, size, self.settings.deadline_s, self.settings.compare
        )
        receivers: list[str] = await actor.connect_weights.remote(connection)
        return Peer(endpoint, tuple(receivers))

    async def _send(self, version: int, names: Sequence[str]) -> Sent:
        to, connected = [self.peers[name] for name in names], list(self.peers.values())
        sends: dict[str, Awaitable[Sent]] = {
            f"learner rank {index}": rank.send_weights.remote(version, to, connected)
            for index, rank in enumerate(self.ranks)
        }
        # The sender itself gives up on receivers at the deadline; it is allowed the same time to gather the model.
        return (await gather(sends, f"sending weights version {version}", 2 * self.settings.deadline_s + MARGIN_S))[0]

    async def _compare(self, names: Sequence[str]) -> dict[str, str]:
        """Of ``names``, those that have received another tensor than the learner has, each with the first such."""
        asked: dict[str, Awaitable[dict[str, str]]] = {
            f"learner rank {index}": rank.weight_digests.remote(self.settings.dtype)
            for index, rank in enumerate(self.ranks)
        }
        expected = (await gather(asked, "digests of the learner's weights", self.settings.deadline_s))[0]
        digests = {name: self.generators[name].weight_digests.remote() for name in names}
        received = await _outcomes(digests, "digests of received weights", self.settings.deadline_s)
        return {name: reason for name, result in received.items() if (reason := _differing(result, expected))}

    async def _of_rank_0(self, what: str, call: Awaitable[T]) -> T:
        return (await gather({"learner rank 0": call}, what, self.settings.deadline_s))[0]

    def _forget(self, name: str) -> None:
        self.generators.pop(name, None)
        self.peers.pop(name, None)


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
    """What each of ``waits`` gave, or why it gave nothing within the deadline: one does not fail the others."""

    async def outcome(name: str, wait: Awaitable[T]) -> T | _Failure:
        try:
            return (await gather({name: wait}, what, deadline_s))[0]
        except (RayError, DeadlineExceeded) as error:
            return _Failure(_last_line(error), isinstance(error, RayTaskError))

    alone = {name: outcome(name, wait) for name, wait in waits.items()}
    return dict(zip(waits, await gather(alone, what, deadline_s + MARGIN_S), strict=True))


def _wrong(echoed: int | _Failure, version: int) -> str:
    """Why what a generator said of its version does not do; empty where it does."""
    if isinstance(echoed, _Failure):
        return echoed.reason
    return "" if echoed == version else f"it serves version {echoed}"


def _differing(received: Sequence[Mapping[str, str]] | _Failure, expected: Mapping[str, str]) -> str:
    """The first tensor of any worker that is not as the learner has it; empty where all are."""
    if isinstance(received, _Failure):
        return received.reason
    for digests in received:
        wrong = [name for name in expected.keys() | digests.keys() if expected.get(name) != digests.get(name)]
        if wrong:
            return f"{len(wrong)} tensors differ from the learner's, among them {min(wrong)}"
    return ""


def _told(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def _last_line(error: Exception) -> str:
    """Of a Ray error, whose other lines are a traceback; never empty."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
