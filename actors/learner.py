"""Learner role: one FSDP2 rank in a Ray actor."""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import ray
import torch
import torch.distributed as dist

from actors.free_address import find_free_address
from actors.log_files import redirect_output
from actors.weights.layout import WeightLayout, tensor_digest
from actors.weights.links import ReceiverGroup, SenderInfo, SendResult
from actors.weights.nccl import NcclSender
from actors.weights.sender import SenderSettings, WeightSender
from actors.weights.transports import TRANSPORTS
from learner.checkpoint import load_checkpoint, save_checkpoint
from learner.learner import DTYPES, Learner, LearnerSettings, UpdateResult
from learner.policy import iterate_parameters, list_published_parameters
from learner.rollout import TrainBatch, TrainSequence

CONTROL = "control"
"""Ray concurrency group of calls that must not wait for a collective one."""


class LearnerActor:
    """FSDP2 rank ``rank`` of ``world_size``, with ``threads`` PyTorch threads, whose output goes to ``log_path``.

    These methods are collective, so the driver must call them on all ranks at once: ``start``, ``prepare``, ``update``,
    ``logprobs``, ``send_weights``, ``weight_digests``, ``save`` and ``stop``.
    """

    def __init__(self, rank: int, world_size: int, threads: int, log_path: Path | None = None) -> None:
        redirect_output(log_path)
        self.rank = rank
        self.world_size = world_size
        self.sender: WeightSender | NcclSender | None = None  # only on rank 0, after `open_sender`
        self.sent_version = -1
        self.updated = False
        torch.set_num_threads(threads)

    def find_free_address(self) -> str:
        """Return a free ``host:port`` on this node, at which a process group can initialize."""
        return find_free_address()

    def start(self, settings: LearnerSettings, address: str, deadline_s: float, checkpoint: str | None) -> float:
        """Join the process group and load the model; return the seconds it took.

        Args:
            settings: settings of the learner.
            address: ``host:port`` of rank 0, for the initialization of the process group.
            deadline_s: timeout of every collective operation.
            checkpoint: checkpoint directory to resume from, or None.
        """
        started = time.monotonic()
        if settings.device == "cuda":
            torch.cuda.set_device(0)  # Ray makes only the rank's own GPU visible
        dist.init_process_group(
            "nccl" if settings.device == "cuda" else "gloo",
            init_method=f"tcp://{address}",
            rank=self.rank,
            world_size=self.world_size,
            timeout=timedelta(seconds=deadline_s),
            device_id=torch.device("cuda", 0) if settings.device == "cuda" else None,
        )
        self.learner = Learner(settings)
        if checkpoint is not None:
            load_checkpoint(self.learner, Path(checkpoint))
        return time.monotonic() - started

    def prepare(self, sequences: Sequence[TrainSequence]) -> float:
        """Compute and cache the old log-probs of a step's completions; return the seconds it took."""
        return self.learner.prepare(sequences)

    def update(self, batch: TrainBatch) -> UpdateResult:
        """Run one training step; return its metrics and, on rank 0, the old log-probs."""
        self.updated = True
        return self.learner.update(batch)

    def compute_logprobs(self, sequences: Sequence[TrainSequence]) -> list[np.ndarray]:
        """Return the log-probs [R_i] float32 of each sequence's response tokens under the current policy."""
        return [values.numpy() for values in self.learner.compute_logprobs(sequences).logprobs]

    def locate(self) -> tuple[str, str]:
        """Return the id and the IP address of this actor's node."""
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def open_sender(self, settings: SenderSettings) -> SenderInfo:
        """Create the weight sender if there is none; return its layout and endpoint. Call it on rank 0 only."""
        if self.sender is None:
            parameters = list_published_parameters(self.learner.policy)
            layout = WeightLayout(
                tuple(name for name, _ in parameters),
                tuple(tuple(parameter.shape) for _, parameter in parameters),
                DTYPES[settings.dtype],
            )
            host = ray.util.get_node_ip_address()
            if settings.backend == "nccl":
                self.sender = NcclSender(layout, settings, host)
            else:
                send_buffers = TRANSPORTS[settings.backend].open_send_buffers(settings.bucket_bytes, host)
                self.sender = WeightSender(layout, settings, send_buffers)
        return SenderInfo(self.sender.layout, self.sender.endpoint)

    def check_version(self, version: int) -> None:
        """Raise ValueError if ``version`` was published before and the learner has been updated since."""
        if version == self.sent_version and self.updated:
            raise ValueError(
                f"weights version {version} cannot be published again, the learner has been updated since: "
                "publish the next version instead"
            )

    def send_weights(
        self, version: int, dtype: str, recipients: Sequence[ReceiverGroup], connected: Sequence[ReceiverGroup]
    ) -> SendResult:
        """Gather the model tensor by tensor on all ranks; rank 0, which has the sender, sends it.

        Args:
            version: version number of the weights.
            dtype: dtype in which they are sent.
            recipients: receivers that get the weights.
            connected: all connected receivers; the sender closes its links to any others.
        """
        parameters = iterate_parameters(self.learner.policy, DTYPES[dtype])
        result = SendResult(bytes=0, seconds=0.0, failed={})
        try:
            if self.sender is not None:
                result = self.sender.send(parameters, version, recipients, connected)
        finally:
            # Gathering is collective: if the sender stops early, the other ranks would wait for this one.
            collections.deque(parameters, maxlen=0)
        self.sent_version = version
        self.updated = False
        return result

    @ray.method(concurrency_group=CONTROL)
    def drop_receivers(self, receivers: Sequence[str]) -> None:
        """Stop sending to receivers that failed, while ``send_weights`` runs. Call it on rank 0 only."""
        if self.sender is not None:
            self.sender.drop(receivers)

    def weight_digests(self, dtype: str) -> dict[str, str]:
        """Return a digest of every tensor in the dtype in which it is sent, by parameter name."""
        weights = iterate_parameters(self.learner.policy, DTYPES[dtype])
        # The copy is needed: a NumPy view of the tensor would prevent FSDP from freeing it.
        return {name: tensor_digest(value.to("cpu", copy=True)) for name, value in weights}

    def close_weights(self) -> None:
        """Close the weight sender and free its buffers."""
        if self.sender is not None:
            self.sender.close()
            self.sender = None

    def save(self, path: str, driver_files: Mapping[str, bytes]) -> None:
        """Write a checkpoint that includes ``driver_files`` (see ``learner.checkpoint``)."""
        save_checkpoint(self.learner, Path(path), driver_files)

    def process_ids(self) -> list[int]:
        """Return this rank's process id, in a list as for all roles."""
        return [os.getpid()]

    def stop(self) -> None:
        """Leave the process group."""

        dist.destroy_process_group()
