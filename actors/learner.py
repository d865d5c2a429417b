"""The learner role: one FSDP2 rank in a Ray actor."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from learner.checkpoint import load_checkpoint, save_checkpoint
from learner.learner import DTYPES, Learner, LearnerSettings, UpdateMetrics
from learner.policy import full_parameters
from learner.rollout import TrainBatch, TrainSequence


class LearnerActor:
    """One rank. Every method but the address is collective: the driver calls it on all ranks at once."""

    def __init__(self, rank: int, ranks: int, threads: int) -> None:
        self.rank, self.ranks = rank, ranks
        torch.set_num_threads(threads)

    def address(self) -> str:
        """``host:port`` free on this node, for the ranks to meet at."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{socket.gethostbyname(socket.gethostname())}:{free.getsockname()[1]}"

    def start(self, settings: LearnerSettings, address: str, deadline_s: float, checkpoint: str | None) -> float:
        """Join the group, load the model, and go on from ``checkpoint`` if given; returns the seconds it took."""
        started = time.monotonic()
        if settings.device == "cuda":
            torch.cuda.set_device(0)  # Ray shows each rank only its own GPU
        dist.init_process_group(
            "nccl" if settings.device == "cuda" else "gloo",
            init_method=f"tcp://{address}",
            rank=self.rank,
            world_size=self.ranks,
            timeout=timedelta(seconds=deadline_s),
        )
        self.learner = Learner(settings)
        if checkpoint is not None:
            load_checkpoint(self.learner, Path(checkpoint))
        return time.monotonic() - started

    def update(self, batch: TrainBatch) -> UpdateMetrics:
        """One training step."""
        return self.learner.update(batch)

    def logprobs(self, sequences: Sequence[TrainSequence]) -> list[np.ndarray]:
        """Log-probs [R_i] float32 of the sequences' response tokens under the present policy."""
        return [values.numpy() for values in self.learner.logprobs(sequences).logprobs]

    def write_weights(self, path: str, version: int, dtype: str) -> int:
        """Gather the whole model; rank 0 writes it to ``path`` as safetensors. Returns its bytes."""
        whole = {name: value.to(DTYPES[dtype]) for name, value in full_parameters(self.learner.policy).items()}
        if self.rank == 0:
            save_file(whole, path, metadata={"version": str(version)})
        return sum(value.numel() * value.element_size() for value in whole.values())

    def save(self, path: str, driver_files: Mapping[str, bytes]) -> None:
        """Write a checkpoint (see ``learner.checkpoint``)."""
        save_checkpoint(self.learner, Path(path), driver_files)

    def processes(self) -> list[int]:
        """Process id of this rank."""
        return [os.getpid()]

    def stop(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()
