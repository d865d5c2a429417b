"""An engine that can also reload weights that its worker holds: what loading costs without any transfer."""

from __future__ import annotations

import time

import torch
from safetensors.torch import load_file

from actors.generators import actor
from actors.generators.actor import GeneratorActor
from actors.weights.vllm_worker import WorkerExtension, retie


class ReloadExtension(WorkerExtension):
    """In vLLM's worker."""

    held: dict[str, torch.Tensor]

    def hold_weights(self, path: str) -> int:
        """Keep the tensors of a safetensors file in memory; returns their number."""
        self.held = {name: tensor.clone() for name, tensor in load_file(path).items()}
        return len(self.held)

    def reload_held(self) -> float:
        """Load them as a publication is loaded; returns the seconds it took."""
        started = time.perf_counter()
        self.model_runner.reload_weights(weights_iterator=iter(self.held.items()))
        retie(self.model_runner.get_model())
        return time.perf_counter() - started


class ReloadingGenerator(GeneratorActor):
    """The generator actor with ``ReloadExtension`` in its workers."""

    def __init__(self) -> None:
        actor.EXTENSION = f"{ReloadExtension.__module__}.{ReloadExtension.__qualname__}"

    async def hold_weights(self, path: str) -> list[int]:
        """See ``ReloadExtension``."""
        return list(await self.engine.collective_rpc("hold_weights", args=(path,)))

    async def reload_held(self) -> float:
        """See ``ReloadExtension``."""
        return max(await self.engine.collective_rpc("reload_held"))
