"""Generator actor's part in the weight transfer: connect the engine's workers and load published weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray

from actors.weights.nccl import NcclReceiver
from actors.weights.receiver import Connection

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


class WeightLoadingMixin:
    """Mixin of the generator actor: joins the weight transfer and replaces the engine's weights in place."""

    engine: AsyncLLM
    version: int
    nccl: NcclReceiver | None = None

    def locate(self) -> tuple[str, str]:
        """Return the id and the IP address of this actor's node."""
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    async def connect_weights(self, connection: Connection) -> list[str]:
        """Connect every worker to the sender; return their receiver names. Raises LinkError if it is unreachable."""
        if connection.endpoint.backend != "nccl":
            return list(await self.engine.collective_rpc("connect_weights", args=(connection.to_dict(),)))
        ranks = await self.engine.collective_rpc("prepare_nccl")
        self.nccl = NcclReceiver(self.engine, connection, len(ranks))
        return [f"{connection.receiver}/{rank}" for rank in ranks]

    async def load_weights(self, version: int) -> int:
        """Replace the weights in place with those being published as ``version``.

        Running requests are paused meanwhile and continue with the new weights. If loading fails before any layer was
        changed, the engine continues with the old weights. If some layers were changed, requests stay paused, because
        their answers would belong to no version.

        Returns:
            The version that the engine now serves.

        Raises:
            RuntimeError: the weights did not arrive as they were sent. The generator must then be connected again.
        """
        # Clears the prefix cache: prefixes computed with the old weights must not be used with the new ones.
        # Not pause_generation, which also sleeps 20 ms so that callers get their outputs in an intuitive order.
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
            if all(consistent for _, consistent, _ in results):
                await self.engine.resume_generation()
            raise RuntimeError(f"weights version {version} was not loaded: {'; '.join(errors)}")
        (loaded_version,) = {loaded for loaded, _, _ in results}
        await self.engine.update_weight_version(str(loaded_version))

    async def weight_digests(self) -> list[dict[str, str]]:
        """Return each worker's tensor digests of the last publication, empty without ``Connection.keep_digests``."""
        return list(await self.engine.collective_rpc("weight_digests"))

    async def disconnect_weights(self) -> None:
        """Leave the weight transfer; the engine keeps its current weights."""
        if self.nccl is not None:
            await self.engine.shutdown_weight_transfer_engine()
            self.nccl = None
        await self.engine.collective_rpc("disconnect_weights")
