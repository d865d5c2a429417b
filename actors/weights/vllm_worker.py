"""Methods that run inside vLLM's worker processes: replace the model's weights in place, seed the sampler.

vLLM mixes ``WorkerExtension`` into its worker class (``worker_extension_cls``); the generator actor calls these
methods through ``collective_rpc``. Only plain values cross that call (tensors nested in its arguments do not arrive),
so weights come through a link of their own, straight from the learner.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
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

    def watch_parent(self) -> int:
        """End this worker when its parent dies: a killed driver must not leave engines behind. Returns the pid."""
        threading.Thread(target=_exit_with, args=(os.getppid(),), daemon=True, name="watch-parent").start()
        return os.getpid()

    def seed(self, seed: int) -> None:
        """Set the random state that the sampler draws from, on every device of this worker."""
        torch.manual_seed(seed)

    def connect_weights(self, plain: Mapping[str, Any]) -> str:
        """Find the sender of weights, as ``Connection.to_plain`` says; returns the name to which it may send.

        Raises LinkError when it is not there.
        """
        self.disconnect_weights()
        receiver = f"{plain['receiver']}/{self.rank}"
        connection = Connection.from_plain({**plain, "receiver": receiver})
        self.weight_receiver = WeightReceiver(connection, open_link(connection))
        return receiver

    def disconnect_weights(self) -> None:
        """Leave the sender, if there is one."""
        if self.weight_receiver is not None:
            self.weight_receiver.close()
            self.weight_receiver = None

    def receive_weights(self, version: int) -> tuple[int, bool, str]:
        """Load weights ``version`` as they come; returns the version loaded, whether the weights are whole, the error.

        (version, True, ""): loaded. (-1, True, error): nothing was touched, the old weights are served. (-1, False,
        error): some layers are new and some are not. After an error the worker is no longer connected.
        """
        if self.weight_receiver is None:
            return -1, True, "not connected"
        whole = True
        try:
            tensors = self.weight_receiver.tensors(version)
            first = next(tensors)  # before anything is touched
            whole = False
            self.model_runner.reload_weights(weights_iterator=itertools.chain([first], tensors))
            del first
            retie(self.model_runner.get_model())
        except Exception as error:  # noqa: BLE001 - whatever the loader raises, the caller must know what is left
            self.disconnect_weights()
            if not whole:
                self._end_reload()
            return -1, whole, f"{type(error).__name__}: {error}"
        return version, True, ""

    def prepare_nccl(self) -> str:
        """Give this worker vLLM's own NCCL weight transfer, as its engine arguments would; returns its rank."""
        from vllm.config import WeightTransferConfig
        from vllm.distributed.weight_transfer import WeightTransferEngineFactory

        if self.weight_transfer_engine is not None:
            self.weight_transfer_engine.shutdown()
        self.weight_transfer_engine = WeightTransferEngineFactory.create_engine(
            WeightTransferConfig(backend="nccl"), self.vllm_config, self.device, self.model_runner.get_model()
        )
        return str(self.rank)

    def weight_digests(self) -> dict[str, str]:
        """A digest of every tensor of the last publication, where the connection asks for them."""
        return {} if self.weight_receiver is None else self.weight_receiver.digests

    def _end_reload(self) -> None:
        """Let vLLM forget a reload that was cut short: the next one would go on from it."""
        from vllm.config import set_current_vllm_config
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        with set_current_vllm_config(self.vllm_config):
            finalize_layerwise_reload(self.model_runner.get_model(), self.vllm_config.model_config)


def retie(model: Any) -> None:
    """Make a tied output embedding follow the input embedding again, on CPU.

    vLLM's CPU layers compute with a packed copy of their weight. Reloading packs the layers it loads anew, but a tied
    lm_head is not loaded: it would silently keep serving the old weights. The embedding's copy is the one it needs.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu() or not model.config.tie_word_embeddings:
        return
    model.lm_head.weight = model.model.embed_tokens.weight
    model.lm_head.cpu_linear = model.model.embed_tokens.cpu_linear


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
