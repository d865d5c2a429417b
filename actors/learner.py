"""The learner role: one FSDP2 rank in a Ray actor."""

from __future__ import annotations

import collections
import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import ray
import torch
import torch.distributed as dist

from actors.weights.layout import WeightLayout, tensor_digest
from actors.weights.links import ReceiverGroup, SenderInfo, SendResult
from actors.weights.nccl import NcclSender
from actors.weights.sender import SenderSettings, WeightSender, open_send_buffers
from learner.checkpoint import load_checkpoint, save_checkpoint
from learner.learner import DTYPES, Learner, LearnerSettings, UpdateMetrics
from learner.policy import iterate_parameters, publication_order
from learner.rollout import TrainBatch, TrainSequence


class LearnerActor:
    """One rank. Every method but the address is collective: the driver calls it on all ranks at once."""

    def __init__(self, rank: int, ranks: int, threads: int) -> None:
        self.rank = rank
        self.ranks = ranks
        self.sender: WeightSender | NcclSender | None = None  # on rank 0, once `open_sender` was called
        self.sent_version = -1
        self.updated = False
        torch.set_num_threads(threads)

    def address(self) -> str:
        """``host:port`` free on this node, for the ranks to meet at."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

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

    def prepare(self, sequences: Sequence[TrainSequence]) -> float:
        """Old log-probs of a step's completions, for its update; the seconds they took."""
        return self.learner.prepare(sequences)

    def update(self, batch: TrainBatch) -> UpdateMetrics:
        """One training step."""
        self.updated = True
        return self.learner.update(batch)

    def logprobs(self, sequences: Sequence[TrainSequence]) -> list[np.ndarray]:
        """Log-probs [R_i] float32 of the sequences' response tokens under the present policy."""
        return [values.numpy() for values in self.learner.logprobs(sequences).logprobs]

    def node(self) -> tuple[str, str]:
        """Id and address of this actor's node."""
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def open_sender(self, settings: SenderSettings) -> SenderInfo:
        """On rank 0: create the sender if there is none; returns what it sends and where receivers connect."""
        if self.sender is None:
            parameters = publication_order(self.learner.policy)
            layout = WeightLayout(
                tuple(name for name, _ in parameters),
                tuple(tuple(parameter.shape) for _, parameter in parameters),
                DTYPES[settings.dtype],
            )
            host = ray.util.get_node_ip_address()
            if settings.backend == "nccl":
                self.sender = NcclSender(layout, settings, host)
            else:
                self.sender = WeightSender(layout, settings, open_send_buffers(settings, host))
        return SenderInfo(self.sender.layout, self.sender.endpoint)

    def check_version(self, version: int) -> None:
        """Raise ValueError if ``version`` was published and the learner has been updated since."""
        if version == self.sent_version and self.updated:
            raise ValueError(
                f"weights version {version} is gone, the learner has been updated since: publish its next version"
            )

    def send_weights(self, version: int, to: Sequence[ReceiverGroup], connected: Sequence[ReceiverGroup]) -> SendResult:
        """Gather the model, tensor by tensor; rank 0, which has the sender, sends it ``to`` these receivers."""
        parameters = iterate_parameters(self.learner.policy)
        if self.sender is not None:
            result = self.sender.send(parameters, version, to, connected)
        else:
            collections.deque(parameters, maxlen=0)
            result = SendResult(bytes=0, seconds=0.0, failed={})
        self.sent_version = version
        self.updated = False
        return result

    def weight_digests(self, dtype: str) -> dict[str, str]:
        """A digest of every tensor as it is sent."""
        weights = iterate_parameters(self.learner.policy)
        # Copied, because NumPy's view of a tensor forbids FSDP to free it afterwards.
        return {name: tensor_digest(value.to("cpu", DTYPES[dtype], copy=True)) for name, value in weights}

    def close_weights(self) -> None:
        """Free the sender's buffers."""
        if self.sender is not None:
            self.sender.close()
            self.sender = None

    def save(self, path: str, driver_files: Mapping[str, bytes]) -> None:
        """Write a checkpoint (see ``learner.checkpoint``)."""
        save_checkpoint(self.learner, Path(path), driver_files)

    def processes(self) -> list[int]:
        """Process id of this rank."""
        return [os.getpid()]

    def stop(self) -> None:
        """Leave the group."""
        dist.destroy_process_group()
