"""A generator actor that can reload weights from its worker's memory, to measure loading without a transfer."""

from __future__ import annotations

import time

import torch
from safetensors.torch import load_file

from actors.generators import actor
from actors.generators.actor import GeneratorActor
from actors.weights.vllm_worker import WorkerExtension, retie_embeddings


class ReloadExtension(WorkerExtension):
    """Extension of vLLM's worker that keeps weights in memory and reloads them."""

    held: dict[str, torch.Tensor]

    def hold_weights(self, path: str) -> int:
        """Keep the tensors of a safetensors file in memory and return their number."""
        self.held = {name: tensor.clone() for name, tensor in load_file(path).items()}
        return len(self.held)

    def reload_held_weights(self) -> float:
        """Load the kept tensors as a publication is loaded, and return the seconds that it took."""
        started = time.perf_counter()
        self.model_runner.reload_weights(weights_iterator=iter(self.held.items()))
        retie_embeddings(self.model_runner.get_model())
        return time.perf_counter() - started


class ReloadingGenerator(GeneratorActor):
    """Generator actor with ``ReloadExtension`` in its workers."""

    def __init__(self) -> None:
        actor.WORKER_EXTENSION = f"{ReloadExtension.__module__}.{ReloadExtension.__qualname__}"

    async def hold_weights(self, path: str) -> list[int]:
        """Keep the tensors of a safetensors file in every worker's memory, and return their numbers."""
        return list(await self.engine.collective_rpc("hold_weights", args=(path,)))

    async def reload_held_weights(self) -> float:
        """Load the kept tensors in all workers, and return the seconds that the slowest took."""
        return max(await self.engine.collective_rpc("reload_held_weights"))
