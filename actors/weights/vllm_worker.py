"""Methods that run inside vLLM's worker processes: they replace the model's weights in place and seed the sampler.

vLLM mixes ``WorkerExtension`` into its worker class (``worker_extension_cls``), and the generator actor calls these
methods through ``collective_rpc``. That call transports only plain values (tensors nested in its arguments do not
arrive), so weights take a separate link, directly from the learner.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from actors.weights.receiver import Connection, WeightReceiver, open_link

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.distributed.weight_transfer import WeightTransferEngine
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

POLL_S = 1.0


class WorkerExtension:
    """Methods added to every vLLM worker."""

    model_runner: GPUModelRunner
    vllm_config: VllmConfig
    rank: int
    device: torch.device
    weight_transfer_engine: WeightTransferEngine | None
    weight_receiver: WeightReceiver | None = None

    def watch_actor(self, actor: int) -> int:
        """End this worker and the engine when the process ``actor`` ends, so that nothing outlives a killed actor.

        A single worker is a thread of the engine, whose parent is the actor. Several workers are children of the
        engine's process, which does not watch its own parent: they end it too. Returns the pid of the worker.
        """
        watch_processes(actor, os.getppid())
        return os.getpid()

    def seed_sampler(self, seed: int) -> None:
        """Seed every random state that a sampler of vLLM draws from.

        The runner on CPU draws from torch, the one on CUDA from NumPy: there a request without a seed gets one.
        """
        from vllm.utils.torch_utils import set_random_seed

        set_random_seed(seed)

    def connect_weights(self, plain: Mapping[str, Any]) -> str:
        """Connect to the weight sender; return the receiver name under which the sender knows this worker.

        ``plain`` is the result of ``Connection.to_dict``. Raises LinkError if the sender cannot be reached.
        """
        self.disconnect_weights()
        receiver = f"{plain['receiver']}/{self.rank}"
        connection = Connection.from_dict({**plain, "receiver": receiver})
        self.weight_receiver = WeightReceiver(connection, open_link(connection))
        return receiver

    def disconnect_weights(self) -> None:
        """Close the link to the weight sender, if there is one."""
        if self.weight_receiver is not None:
            self.weight_receiver.close()
            self.weight_receiver = None

    def receive_weights(self, version: int) -> tuple[int, bool, str]:
        """Load weights ``version`` as they arrive.

        Returns:
            (loaded version, the layers are consistent, error), which is one of:
            (``version``, True, ""): loaded.
            (-1, True, error): no layer was changed, so the old weights are still served.
            (-1, False, error): some layers have new weights and some do not.
            After an error the worker is no longer connected.
        """
        if self.weight_receiver is None:
            return -1, True, "not connected to the weight sender"
        consistent = True
        try:
            tensors = self.weight_receiver.receive_tensors(version)
            first = next(tensors)  # fails before any layer is changed
            consistent = False
            self.model_runner.reload_weights(weights_iterator=itertools.chain([first], tensors))
            del first
            retie_embeddings(self.model_runner.get_model())
        except Exception as error:  # noqa: BLE001 - whatever the loader raises, the caller must know the model's state
            self.disconnect_weights()
            if not consistent:
                self._end_reload()
            return -1, consistent, f"{type(error).__name__}: {error}"
        return version, True, ""

    def prepare_nccl(self) -> str:
        """Create vLLM's NCCL weight-transfer engine and return this worker's rank.

        The engine is the one that vLLM would create if NCCL were set in its engine arguments.
        """
        from vllm.config import WeightTransferConfig
        from vllm.distributed.weight_transfer import WeightTransferEngineFactory

        if self.weight_transfer_engine is not None:
            self.weight_transfer_engine.shutdown()
        self.weight_transfer_engine = WeightTransferEngineFactory.create_engine(
            WeightTransferConfig(backend="nccl"), self.vllm_config, self.device, self.model_runner.get_model()
        )
        return str(self.rank)

    def weight_digests(self) -> dict[str, str]:
        """Return digests of all tensors of the last publication by name, empty without ``Connection.keep_digests``."""
        return {} if self.weight_receiver is None else self.weight_receiver.digests

    def _end_reload(self) -> None:
        """Finish an aborted reload in vLLM, because otherwise the next reload would continue it."""
        from vllm.config import set_current_vllm_config
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        with set_current_vllm_config(self.vllm_config):
            finalize_layerwise_reload(self.model_runner.get_model(), self.vllm_config.model_config)


def retie_embeddings(model: Any) -> None:
    """Tie the output embedding to the reloaded input embedding again, on CPU.

    vLLM's CPU layers compute with a packed copy of their weight. A reload packs the layers that it loads again, but a
    tied lm_head is not loaded: it would silently keep serving the old weights. It needs the embedding's packed copy.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu() or not model.config.tie_word_embeddings:
        return
    model.lm_head.weight = model.model.embed_tokens.weight
    model.lm_head.cpu_linear = model.model.embed_tokens.cpu_linear


def watch_processes(actor: int, parent: int) -> None:
    """Start a thread that ends this process and ``parent`` when ``actor`` or ``parent`` has ended."""
    watched = {pid: os.pidfd_open(pid) for pid in {actor, parent}}  # a pid may be used again, its descriptor is not
    threading.Thread(target=_end_with, args=(watched, actor, parent), daemon=True, name="watch-actor").start()


def _end_with(watched: Mapping[int, int], actor: int, parent: int) -> None:
    ended = select.poll()
    for descriptor in watched.values():
        ended.register(descriptor, select.POLLIN)
    while not ended.poll(POLL_S * 1000):
        pass
    if parent != actor:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watched[parent], signal.SIGKILL)
    os._exit(1)
