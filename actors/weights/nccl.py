"""Weight transfer between GPUs over NCCL: vLLM's weight-transfer API in engines, its packed broadcast in the learner.

Each engine has its own NCCL group with the learner's rank 0, so one engine can be restarted without the others. There
are no headers or checksums here: NCCL checks its own transfers, and the version is passed with the load call. This
module has not been run so far, because no GPU was available (docs/gpu.md).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from actors.weights.layout import WeightLayout
from actors.weights.links import Endpoint, ReceiverGroup, SendResult
from actors.weights.receiver import Connection
from actors.weights.sender import SenderSettings

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


class NcclSender:
    """Sender on the learner's rank 0 and its GPU."""

    def __init__(self, layout: WeightLayout, settings: SenderSettings, host: str) -> None:
        self.layout = layout
        self.settings = settings
        self.endpoint = Endpoint("nccl", host, 0)  # the port is chosen for each generator when it connects
        self.groups: dict[ReceiverGroup, Any] = {}

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
        """
        from vllm.distributed.weight_transfer.packed_tensor import packed_nccl_broadcast_producer

        started = time.monotonic()
        # vLLM reads the parameters on streams of its own, which do not wait for the optimizer's step on this one.
        # Without the wait, an engine could get weights that the step has not written yet.
        torch.cuda.current_stream().synchronize()
        for disconnected in self.groups.keys() - set(connected):
            self.groups.pop(disconnected).destroy()
        packed_nccl_broadcast_producer(
            iterator=iter(tensors),
            group=_MultiGroup([self._nccl_group(receivers) for receivers in recipients]),
            src=0,
            post_iter_func=lambda item: item[1].to(self.layout.dtype),
            buffer_size_bytes=self.settings.bucket_bytes,
        )
        return SendResult(bytes=sum(self.layout.sizes), seconds=time.monotonic() - started, failed={})

    def close(self) -> None:
        """Destroy all NCCL groups."""
        for group in self.groups.values():
            group.destroy()

    def _nccl_group(self, receivers: ReceiverGroup) -> Any:
        from vllm.distributed.weight_transfer.nccl_common import trainer_init

        if receivers not in self.groups:
            endpoint = receivers.endpoint
            size = 1 + len(receivers.names)
            rendezvous = {"master_address": endpoint.address, "master_port": endpoint.port, "world_size": size}
            # Without a stream to use, vLLM would replace this process's current one for good, and the memory that is
            # cached for the old one could not be used again.
            with torch.cuda.stream(torch.cuda.Stream()):
                self.groups[receivers] = trainer_init(rendezvous)
        return self.groups[receivers]


class _MultiGroup:
    """Several NCCL groups behind the interface of one: broadcasts each tensor to all of them."""

    def __init__(self, groups: list[Any]) -> None:
        self.groups = groups

    def broadcast(self, tensor: Tensor, src: int) -> None:
        for group in self.groups:
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
