"""Runs inside vLLM's worker processes: what the generator actor asks of them through ``collective_rpc``."""

from __future__ import annotations

import torch

from actors.weights.vllm_worker import WeightUpdateExtension


class EngineWorker(WeightUpdateExtension):
    """Methods added to every vLLM worker (``worker_extension_cls``)."""

    def seed(self, seed: int) -> None:
        """Set the random state that the sampler draws from, on every device of this worker."""
        torch.manual_seed(seed)
