"""Weights between GPUs: vLLM's own weight-transfer API on the engine's side, its packed broadcast on the learner's.

Each engine has a NCCL group of its own with the learner's first rank, so one can be restarted without the others. NCCL
checks what it carries; the version goes with the call. Not run so far: there was no GPU (docs/gpu.md).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from actors.weights.layout import WeightLayout
from actors.weights.links import Endpoint, ReceiverGroup, SendResult
from actors.weights.receiver import Connection
from actors.weights.sender import SenderSettings

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


class NcclSender:
    """The sender in the learner's first rank, on its GPU."""

    def __init__(self, layout: WeightLayout, settings: SenderSettings, host: str) -> None:
        self.layout = layout
        self.settings = settings
        self.endpoint = Endpoint("nccl", host, 0)  # each generator is given a port of its own
        self.groups: dict[ReceiverGroup, Any] = {}

    def send(
        self,
        tensors: Iterator[tuple[str, Tensor]],
        version: int,
        to: Collection[ReceiverGroup],
        connected: Collection[ReceiverGroup],
    ) -> SendResult:
        """Broadcast the model's whole ``tensors``, which are on this GPU, to every group of ``to``.

        A group begins when it is first used, and ends when its engine is no longer ``connected``.
        """
        from vllm.distributed.weight_transfer.packed_tensor import packed_nccl_broadcast_producer

        started = time.monotonic()
        for gone in self.groups.keys() - set(connected):
            self.groups.pop(gone).destroy()
        packed_nccl_broadcast_producer(
            iterator=iter(tensors),
            group=_Broadcast([self._nccl_group(receivers) for receivers in to]),
            src=0,
            post_iter_func=lambda item: item[1].to(self.layout.dtype),
            buffer_size_bytes=self.settings.bucket_bytes,
        )
        return SendResult(bytes=sum(self.layout.sizes), seconds=time.monotonic() - started, failed={})

    def close(self) -> None:
        """End all groups."""
        for group in self.groups.values():
            group.destroy()

    def _nccl_group(self, receivers: ReceiverGroup) -> Any:
        from vllm.distributed.weight_transfer.nccl_common import trainer_init

        if receivers not in self.groups:
            endpoint = receivers.endpoint
            size = 1 + len(receivers.names)
            meeting = {"master_address": endpoint.address, "master_port": endpoint.port, "world_size": size}
            self.groups[receivers] = trainer_init(meeting)
        return self.groups[receivers]


class _Broadcast:
    """Broadcasts the same tensors to several groups."""

    def __init__(self, groups: list[Any]) -> None:
        self.groups = groups

    def broadcast(self, tensor: Tensor, src: int) -> None:
        for group in self.groups:
            group.broadcast(tensor, src=src)


class NcclReceiver:
    """The engine's side, in the generator actor; ``workers``: of the engine."""

    def __init__(self, engine: AsyncLLM, connection: Connection, workers: int) -> None:
        self.engine = engine
        self.connection = connection
        self.workers = workers
        self.joined = False

    async def load(self, version: int) -> None:
        """Receive and load one publication, and set the engine's version. Raises what vLLM raises."""
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest, WeightTransferUpdateRequest

        endpoint = self.connection.endpoint
        layout = self.connection.layout
        if not self.joined:
            join = {
                "master_address": endpoint.address,
                "master_port": endpoint.port,
                "rank_offset": 1,
                "world_size": 1 + self.workers,
                "packed": True,
                "packed_buffer_size_bytes": self.connection.capacity,
            }
            await self.engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info=join))
            self.joined = True
        update = {
            "names": list(layout.names),
            "dtype_names": [str(layout.dtype).removeprefix("torch.")] * len(layout.names),
            "shapes": [list(shape) for shape in layout.shapes],
        }
        await self.engine.start_weight_update()
        await self.engine.update_weights(WeightTransferUpdateRequest(update_info=update))
        await self.engine.finish_weight_update(weight_version=str(version))
