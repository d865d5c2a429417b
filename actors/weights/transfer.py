"""Weight transfer from the learner to every generator.

    driver ──► connect(generators) ──► rank 0: open_sender     generators: connect_weights
           ──► publish(version) ─────► all ranks: send_weights ──buckets──► generators: load_weights
           ──► close() ──────────────► rank 0: close_weights   generators: disconnect_weights

``connect`` may be called again for generators that join later. In ``publish`` the ranks gather the model tensor by
tensor; rank 0 fills buckets and sends them over shared memory, gloo or NCCL, directly to the engines' workers, which
load them in place as they arrive.

Who waits for whom: the sender waits until every receiver has released a bucket's slot, a generator waits for the next
bucket, and the driver waits until each generator has returned the version that it now serves. All waits are bounded:
that of the sender by ``deadline_s`` (over NCCL the driver ends it), the others by small multiples of it.

Covered: generators that die, fail to load, hang, or load something else than what was sent. One that fails while rank
0 sends is reported to it at once (``drop_receivers``), so that it does not wait. They are dropped from the publication
and disconnected; they must not serve until they have been connected again and have acknowledged the current version.
Not covered: a learner rank that dies or hangs, which ends ``publish`` with an error.
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

from actors.lifecycle import ACTOR_ERRORS, STOP_DEADLINE_S, summarize_error
from actors.waiting import gather
from actors.weights.links import Backend, ReceiverGroup, SenderInfo, SendResult
from actors.weights.receiver import Connection
from actors.weights.sender import SenderSettings
from evaluator.errors import RunFailed

T = TypeVar("T")
MARGIN_S = 5.0
"""Added to a deadline that others enforce themselves, so that their error, which has more details, comes first."""


class WeightTransferError(RunFailed, RuntimeError):
    """No generator loaded the published weights, or a generator could not be connected."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Result and cost of one publication.

    Attributes:
        version: version of the weights.
        bytes: size of the weights in bytes.
        write_seconds: seconds from the start of the publication until the learner had sent the last bucket.
        load_seconds: seconds from then until the last generator served the version.
        dropped: generators that do not serve the version, by name, each with the reason.
    """

    version: int
    bytes: int
    write_seconds: float
    load_seconds: float
    dropped: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """Settings of the weight transfer.

    Attributes:
        dtype: dtype in which weights are sent.
        bucket_mb: capacity of a bucket in MiB.
        checksum: verify a checksum of every bucket.
        deadline_s: seconds that each step of a publication may take.
        compare: compare a digest of every tensor that was loaded with the learner's, for tests.
    """

    dtype: str
    bucket_mb: int
    checksum: bool
    deadline_s: float
    compare: bool = False


@dataclass(frozen=True)
class _Failure:
    """Failure of a call to a generator. ``raised_by_actor``: the generator itself raised the error, so it is alive."""

    reason: str
    raised_by_actor: bool = False


def choose_backend(requested: Backend | Literal["auto"], devices: Collection[str], nodes: Collection[str]) -> Backend:
    """Choose the transport between the learner and the generators.

    Args:
        requested: transport to use, or ``auto``: NCCL between GPUs, shared memory on the CPU of one node, else gloo.
        devices: devices of the learner and the generators, ``cpu`` or ``cuda``.
        nodes: ids of the nodes of all ranks and generators.
    """
    if requested != "auto":
        return requested
    if set(devices) == {"cuda"}:
        return "nccl"
    return "shared_memory" if set(devices) == {"cpu"} and len(set(nodes)) == 1 else "gloo"


class WeightTransfer:
    """Weight transfer between the ranks of one learner and its generators."""

    def __init__(self, ranks: Sequence[ActorHandle], backend: Backend, settings: TransferSettings) -> None:
        self.ranks: Sequence[Any] = ranks
        self.backend = backend
        self.settings = settings
        self.generators: dict[str, Any] = {}
        self.receiver_groups: dict[str, ReceiverGroup] = {}
        self.connection_count = 0
        self.publishing = asyncio.Lock()

    async def connect(self, generators: Mapping[str, ActorHandle]) -> None:
        """Connect ``generators``, for the first time or again; they take part from the next publication on.

        Raises WeightTransferError, naming the generators that did not connect in time. The others are connected then.
        """
        opening: Awaitable[SenderInfo] = self.ranks[0].open_sender.remote(self._sender_settings)
        sender = await self._await_rank_0("opening the weight sender", opening)
        connecting = {name: self._connect_generator(name, actor, sender) for name, actor in generators.items()}
        results = await _gather_results(connecting, "connecting to the weight sender", self.settings.deadline_s)
        failed = {}
        for name, result in results.items():
            if isinstance(result, _Failure):
                failed[name] = result.reason
            else:
                self.generators[name] = generators[name]
                self.receiver_groups[name] = result
        if failed:
            raise WeightTransferError(
                f"generators not connected to the weight sender: {_format_reasons(failed)}; raise "
                "weight_transfer.deadline_s if they were too slow"
            )

    async def publish(self, version: int, to: Collection[str] | None = None) -> Publication:
        """Publish the learner's current weights as ``version``.

        A version may be published again, to generators that were connected later, until the learner's next update.
        Generators that do not load it are disconnected. No generator is touched before the learner is ready to send.

        Args:
            version: version of the weights.
            to: names of the generators that get them; None for all that are connected.

        Raises:
            WeightTransferError: no generator loaded the version, or one in ``to`` is not connected.
            DeadlineExceeded: the learner did not answer in time.
            ValueError: ``version`` was published before and the learner has been updated since.
        """
        async with self.publishing:
            names = list(self.receiver_groups if to is None else to)
            if unknown := [name for name in names if name not in self.receiver_groups]:
                raise WeightTransferError(f"not connected: {', '.join(unknown)}")
            checking: Awaitable[None] = self.ranks[0].check_version.remote(version)
            await self._await_rank_0(f"checking that the learner can send version {version}", checking)
            started = time.monotonic()
            loads: dict[str, asyncio.Future[int]] = {
                name: asyncio.ensure_future(self.generators[name].load_weights.remote(version)) for name in names
            }
            result, raised = await self._send_until_loads_fail(version, names, loads)
            dropped = {
                name: result.failed[receiver]
                for name in names
                for receiver in self.receiver_groups[name].names
                if receiver in result.failed
            }
            # The sender only noticed that their links closed; the generators raise the cause, unless they hang.
            unknown_causes = {name: loads[name] for name in dropped.keys() - raised.keys()}
            causes = await _gather_results(unknown_causes, "the cause", MARGIN_S)
            dropped |= {
                name: cause.reason
                for name, cause in causes.items()
                if isinstance(cause, _Failure) and cause.raised_by_actor
            }
            dropped |= raised
            pending = {name: load for name, load in loads.items() if name not in dropped}
            echoed = await _gather_results(pending, f"loading weights version {version}", self.settings.deadline_s)
            dropped |= {
                name: reason for name, result in echoed.items() if (reason := _version_mismatch(result, version))
            }
            if self.settings.compare:
                dropped |= await self._compare_tensors([name for name in names if name not in dropped])
            for name in dropped:
                self._remove_generator(name)
            if len(dropped) == len(names):
                reasons = _format_reasons(dropped) or "none is connected"
                raise WeightTransferError(f"no generator serves weights version {version}: {reasons}")
            return Publication(
                version=version,
                bytes=result.bytes,
                write_seconds=result.seconds,
                load_seconds=time.monotonic() - started - result.seconds,
                dropped=dropped,
            )

    async def disconnect(self, name: str) -> None:
        """Stop publishing to the generator called ``name``. No effect if it is not connected."""
        async with self.publishing:
            self._remove_generator(name)

    def close(self) -> None:
        """Close the transfer and free the buffers on both sides."""
        closing = [actor.disconnect_weights.remote() for actor in self.generators.values()]
        closing.append(self.ranks[0].close_weights.remote())
        ray.wait(closing, num_returns=len(closing), timeout=STOP_DEADLINE_S)

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

    async def _connect_generator(self, name: str, actor: Any, sender: SenderInfo) -> ReceiverGroup:
        _, host = await actor.locate.remote()
        # Each connection has a new receiver name, so that the sender does not mistake it for one that failed before.
        self.connection_count += 1
        endpoint = sender.endpoint
        if endpoint.backend == "nccl":  # each generator has its own NCCL group, which initializes at its own port
            address: str = await self.ranks[0].find_free_address.remote()
            endpoint = replace(endpoint, port=int(address.rpartition(":")[2]))
        connection = Connection(
            endpoint=endpoint,
            receiver=f"{name} #{self.connection_count}",
            host=host,
            layout=sender.layout,
            capacity=self._sender_settings.bucket_bytes,
            deadline_s=self.settings.deadline_s,
            keep_digests=self.settings.compare,
        )
        receivers: list[str] = await actor.connect_weights.remote(connection)
        return ReceiverGroup(endpoint, tuple(receivers))

    async def _send(self, version: int, names: Sequence[str]) -> SendResult:
        recipients = [self.receiver_groups[name] for name in names]
        connected = list(self.receiver_groups.values())
        sends: dict[str, Awaitable[SendResult]] = {
            f"learner rank {index}": rank.send_weights.remote(version, self.settings.dtype, recipients, connected)
            for index, rank in enumerate(self.ranks)
        }
        # The sender drops slow receivers at the deadline by itself; gathering the model may take as long again.
        return (await gather(sends, f"sending weights version {version}", 2 * self.settings.deadline_s + MARGIN_S))[0]

    async def _send_until_loads_fail(
        self, version: int, names: Sequence[str], loads: Mapping[str, asyncio.Future[int]]
    ) -> tuple[SendResult, dict[str, str]]:
        """Send, and tell the sender at once about each generator whose load fails meanwhile: it would wait for it.

        Returns:
            The result, and the reason for each generator whose load failed, by name.
        """
        sending = asyncio.ensure_future(self._send(version, names))
        failed: dict[str, str] = {}
        deadline = time.monotonic() + self.settings.deadline_s
        try:
            while not sending.done():
                waiting: set[asyncio.Future[Any]] = {sending, *(load for load in loads.values() if not load.done())}
                # Only the sender over NCCL does not notice by itself that a receiver hangs.
                ends_here = self.backend == "nccl" and waiting != {sending}
                left_s = max(0.0, deadline - time.monotonic()) if ends_here else None
                done, _ = await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                for name, load in loads.items():
                    reason = _find_load_failure(load, hangs=not done)
                    if name not in failed and reason:
                        failed[name] = reason
                        await self._drop_receivers(name)
                if not done:
                    break
            return await sending, failed
        except ACTOR_ERRORS as error:
            if not failed:
                raise
            raise WeightTransferError(f"{summarize_error(error)}; {_format_reasons(failed)}") from error
        finally:
            sending.cancel()

    async def _drop_receivers(self, name: str) -> None:
        """Close both ends of the links to the generator called ``name``, which may be dead or only failed to load."""
        dropping = {
            "learner rank 0": self.ranks[0].drop_receivers.remote(self.receiver_groups[name].names),
            name: self.generators[name].disconnect_weights.remote(),
        }
        await _gather_results(dropping, f"disconnecting {name}", MARGIN_S)

    async def _compare_tensors(self, names: Sequence[str]) -> dict[str, str]:
        """Return the generators among ``names`` whose tensors differ from the learner's, each with an error message."""
        learner_digests: dict[str, Awaitable[dict[str, str]]] = {
            f"learner rank {index}": rank.weight_digests.remote(self.settings.dtype)
            for index, rank in enumerate(self.ranks)
        }
        expected = (await gather(learner_digests, "digests of the learner's weights", self.settings.deadline_s))[0]
        digests = {name: self.generators[name].weight_digests.remote() for name in names}
        received = await _gather_results(digests, "digests of received weights", self.settings.deadline_s)
        return {name: reason for name, result in received.items() if (reason := _digest_mismatch(result, expected))}

    async def _await_rank_0(self, operation: str, call: Awaitable[T]) -> T:
        return (await gather({"learner rank 0": call}, operation, self.settings.deadline_s))[0]

    def _remove_generator(self, name: str) -> None:
        self.generators.pop(name, None)
        self.receiver_groups.pop(name, None)


async def open_transfer(
    ranks: Sequence[ActorHandle],
    generators: Mapping[str, ActorHandle],
    requested: Backend | Literal["auto"],
    devices: Collection[str],
    settings: TransferSettings,
) -> WeightTransfer:
    """Choose the transport and connect ``generators`` to the learner.

    Args:
        ranks: actor handles of the learner's ranks.
        generators: actor handles of the generators, by name.
        requested: transport to use, or ``auto`` (see ``choose_backend``).
        devices: devices of the learner and the generators, ``cpu`` or ``cuda``.
        settings: settings of the transfer.

    Raises:
        WeightTransferError: a generator could not be connected.
        DeadlineExceeded: an actor did not answer in time.
    """
    locations: dict[str, Awaitable[tuple[str, str]]] = {
        f"learner rank {index}": rank.locate.remote() for index, rank in enumerate(ranks)
    }
    locations |= {name: actor.locate.remote() for name, actor in generators.items()}
    nodes = await gather(locations, "finding the actors' nodes", settings.deadline_s)
    backend = choose_backend(requested, devices, [node for node, _ in nodes])
    transfer = WeightTransfer(ranks, backend, settings)
    await transfer.connect(generators)
    return transfer


async def _gather_results(
    calls: Mapping[str, Awaitable[T]], operation: str, deadline_s: float
) -> dict[str, T | _Failure]:
    """Await ``calls`` concurrently; return the result of each, or its failure, which does not affect the others."""

    async def result_or_failure(name: str, call: Awaitable[T]) -> T | _Failure:
        try:
            return (await gather({name: call}, operation, deadline_s))[0]
        except ACTOR_ERRORS as error:
            return _Failure(summarize_error(error), raised_by_actor=isinstance(error, RayTaskError))

    guarded = {name: result_or_failure(name, call) for name, call in calls.items()}
    return dict(zip(calls, await gather(guarded, operation, deadline_s + MARGIN_S), strict=True))


def _find_load_failure(load: asyncio.Future[int], hangs: bool) -> str:
    """Return why a generator's load failed; an empty string if it did not, or is in progress and not said to hang."""
    if not load.done():
        return "it did not load the weights before the deadline" if hangs else ""
    error = load.exception()
    return "" if error is None else summarize_error(error)


def _version_mismatch(echoed: int | _Failure, version: int) -> str:
    """Return an error message if the generator did not echo ``version``, else an empty string."""
    if isinstance(echoed, _Failure):
        return echoed.reason
    return "" if echoed == version else f"it serves version {echoed}"


def _digest_mismatch(received: Sequence[Mapping[str, str]] | _Failure, expected: Mapping[str, str]) -> str:
    """Return an error message if tensors of a worker differ from the learner's, else an empty string.

    ``received`` has the digests of each worker's tensors by name, ``expected`` those of the learner's.
    """
    if isinstance(received, _Failure):
        return received.reason
    for digests in received:
        differing = [name for name in expected.keys() | digests.keys() if expected.get(name) != digests.get(name)]
        if differing:
            return f"{len(differing)} tensors differ from the learner's, among them {min(differing)}"
    return ""


def _format_reasons(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
