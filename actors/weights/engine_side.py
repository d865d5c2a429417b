"""What a generator actor does with published weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray

from actors.weights.nccl import NcclReceiver
from actors.weights.receiver import Connection

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


class WeightLoading:
    """Part of the generator actor: joins the transfer of weights and replaces the engine's weights in place."""

    engine: AsyncLLM
    version: int
    nccl: NcclReceiver | None = None

    def node(self) -> tuple[str, str]:
        """Id and address of this actor's node."""
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    async def connect_weights(self, connection: Connection) -> list[str]:
        """Let every worker find the sender; returns their names there. Raises LinkError when it is not there."""
        if connection.endpoint.backend != "nccl":
            return list(await self.engine.collective_rpc("connect_weights", args=(connection.to_plain(),)))
        ranks = await self.engine.collective_rpc("prepare_nccl")
        self.nccl = NcclReceiver(self.engine, connection, len(ranks))
        return [f"{connection.receiver}/{rank}" for rank in ranks]

    async def load_weights(self, version: int) -> int:
        """Replace the weights in place with those being published as ``version``; returns the version now served.

        Running requests are frozen meanwhile and go on with the new weights. Raises RuntimeError when the weights did
        not arrive as they were sent; the generator then must be connected again. Where nothing had been loaded yet,
        it goes on with the old weights; where some layers had been, requests stay frozen, for their answers would
        be of no version.
        """
        # Drops the cache: a prefix computed with the old weights must not be served under the new ones.
        # Not pause_generation, which sleeps 20 ms after this so that callers get their outputs in an intuitive order.
        await self.engine.engine_core.pause_scheduler_async(mode="keep", clear_cache=True)
        if self.nccl is not None:
            await self.nccl.load(version)
        else:
            await self._load_buckets(version)
        self.version = version
        await self.engine.resume_generation()
        return int(await self.engine.get_weight_version())

    async def _load_buckets(self, version: int) -> None:
        results = await self.engine.collective_rpc("receive_weights", args=(version,))
        errors = [error for _, _, error in results if error]
        if errors:
            if all(whole for _, whole, _ in results):
                await self.engine.resume_generation()
            raise RuntimeError(f"weights version {version} not loaded: {'; '.join(errors)}")
        (loaded,) = {found for found, _, _ in results}
        await self.engine.update_weight_version(str(loaded))

    async def weight_digests(self) -> list[dict[str, str]]:
        """Digests of all tensors of the last publication, of every worker (``Connection.compare``)."""
        return list(await self.engine.collective_rpc("weight_digests"))

    async def disconnect_weights(self) -> None:
        """Leave the transfer; the present weights stay."""
        if self.nccl is not None:
            await self.engine.shutdown_weight_transfer_engine()
            self.nccl = None
        await self.engine.collective_rpc("disconnect_weights")
