"""Weight transfer between GPUs over NCCL: vLLM's weight-transfer API in engines, its packed broadcast in the learner.

Each engine has its own NCCL group with the learner's rank 0, so one engine can be restarted without the others. There
are no headers or checksums here: NCCL checks its own transfers, and the version is passed with the load call. This
module has not been run so far, because no GPU was available (docs/gpu.md).
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from actors.weights.layout import WeightLayout
from actors.weights.links import Endpoint, ReceiverGroup, SendResult
from actors.weights.receiver import Connection
from actors.weights.sender import SenderSettings

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


POLL_S = 0.05
FAILED = "failed while its weights were sent"


class NcclSender:
    """Sender on the learner's rank 0 and its GPU."""

    def __init__(self, layout: WeightLayout, settings: SenderSettings, host: str) -> None:
        self.layout = layout
        self.settings = settings
        self.endpoint = Endpoint("nccl", host, 0)  # the port is chosen for each generator when it connects
        self.groups: dict[ReceiverGroup, Any] = {}
        self.dropped: dict[str, str] = {}  # reasons by receiver

    def send(
        self,
        tensors: Iterator[tuple[str, Tensor]],
        version: int,
        recipients: Collection[ReceiverGroup],
        connected: Collection[ReceiverGroup],
    ) -> SendResult:
        """Broadcast the model to every group of ``recipients``.

        Args:
            tensors: names and full tensors of the model, on this GPU, in the order of the layout.
            version: version of the weights. It is not sent: the driver passes it to ``NcclReceiver.load``.
            recipients: receivers that get the weights. A NCCL group is created when it is first used.
            connected: all connected receivers; the NCCL groups of any others are destroyed.

        A receiver that fails meanwhile blocks the broadcast until ``drop`` is called.
        """
        from vllm.distributed.weight_transfer.packed_tensor import packed_nccl_broadcast_producer

        started = time.monotonic()
        # vLLM reads the parameters on streams of its own, which do not wait for the optimizer's step on this one.
        # Without the wait, an engine could get weights that the step has not written yet.
        torch.cuda.current_stream().synchronize()
        for disconnected in self.groups.keys() - set(connected):
            self.groups.pop(disconnected).destroy()
        groups = {receivers: group for receivers in recipients if (group := self._nccl_group(receivers)) is not None}
        packed_nccl_broadcast_producer(
            iterator=iter(tensors),
            group=_LiveGroups(groups, self.dropped),
            src=0,
            post_iter_func=lambda item: item[1].to(self.layout.dtype),
            buffer_size_bytes=self.settings.bucket_bytes,
        )
        failed = {name: self.dropped[name] for group in recipients for name in group.names if name in self.dropped}
        return SendResult(bytes=sum(self.layout.sizes), seconds=time.monotonic() - started, failed=failed)

    def drop(self, receivers: Collection[str]) -> None:
        """Abort the NCCL groups of receivers that failed. Called by another thread while ``send`` runs.

        They are marked first: while vLLM aborts a group, nothing may be broadcast to it.
        """
        self.dropped.update(dict.fromkeys(receivers, FAILED))
        for key, group in list(self.groups.items()):
            if set(receivers).intersection(key.names):
                group.destroy()

    def close(self) -> None:
        """Destroy all NCCL groups."""
        for group in self.groups.values():
            group.destroy()

    def _nccl_group(self, receivers: ReceiverGroup) -> Any | None:
        """Return the NCCL group of an engine, created when it is first used; None if the engine was dropped before.

        The group is created in a thread of its own, which waits without limit for an engine that never joins.
        """
        if self.dropped.keys() & set(receivers.names):
            return None
        if receivers not in self.groups:
            creating: concurrent.futures.Future[Any] = concurrent.futures.Future()
            thread = threading.Thread(target=_create_group, args=(receivers, creating), daemon=True, name="nccl-group")
            thread.start()
            while not concurrent.futures.wait([creating], POLL_S).done:
                if self.dropped.keys() & set(receivers.names):
                    return None
            if (error := creating.exception()) is not None:
                self.dropped.update(dict.fromkeys(receivers.names, f"no NCCL group with it: {error}"))
                return None
            self.groups[receivers] = creating.result()
            if self.dropped.keys() & set(receivers.names):  # dropped after the last look, so nobody has aborted it
                self.groups[receivers].destroy()
                return None
        return self.groups[receivers]


def _create_group(receivers: ReceiverGroup, creating: concurrent.futures.Future[Any]) -> None:
    """Create the NCCL group of rank 0 and the workers of one engine, and set it as the result of ``creating``."""
    from vllm.distributed.weight_transfer.nccl_common import trainer_init

    endpoint = receivers.endpoint
    size = 1 + len(receivers.names)
    rendezvous = {"master_address": endpoint.address, "master_port": endpoint.port, "world_size": size}
    try:
        creating.set_result(trainer_init(rendezvous))
    except Exception as error:  # noqa: BLE001 - raised where the result is used
        creating.set_exception(error)


class _LiveGroups:
    """NCCL groups behind the interface of one: broadcasts each tensor to those whose receivers were not dropped."""

    def __init__(self, groups: Mapping[ReceiverGroup, Any], dropped: Mapping[str, str]) -> None:
        self.groups = groups
        self.dropped = dropped

    def broadcast(self, tensor: Tensor, src: int) -> None:
        for receivers, group in self.groups.items():
            if not self.dropped.keys() & set(receivers.names):
                group.broadcast(tensor, src=src)


class NcclReceiver:
    """Receiver in the generator actor, for an engine with ``workers`` workers."""

    def __init__(self, engine: AsyncLLM, connection: Connection, workers: int) -> None:
        self.engine = engine
        self.connection = connection
        self.workers = workers
        self.joined = False

    async def load(self, version: int) -> None:
        """Receive and load one publication, and set the engine's version. Raises vLLM's errors."""
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest

        endpoint = self.connection.endpoint
        layout = self.connection.layout
        if not self.joined:
            init_info = {
                "master_address": endpoint.address,
                "master_port": endpoint.port,
                "rank_offset": 1,
                "world_size": 1 + self.workers,
                "packed": True,
                "packed_buffer_size_bytes": self.connection.capacity,
            }
            await self.engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info=init_info))
            self.joined = True
        update_info = {
            "names": list(layout.names),
            "dtype_names": [str(layout.dtype).removeprefix("torch.")] * len(layout.names),
            "shapes": [list(shape) for shape in layout.shapes],
        }
        await self.engine.start_weight_update()
        await self.engine.update_weights(WeightTransferUpdateRequest(update_info=update_info))
        await self.engine.finish_weight_update(weight_version=str(version))
