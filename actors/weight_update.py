"""Runs inside vLLM's worker processes: replaces the model's weights in place.

vLLM mixes ``WeightUpdateExtension`` into its worker class (``worker_extension_cls``); the generator actor calls these
methods through ``collective_rpc``. Only plain values cross that call (tensors nested in its arguments do not arrive),
so weights come as a file in shared memory.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

if TYPE_CHECKING:
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

POLL_S = 1.0


class WeightUpdateExtension:
    """Methods added to every vLLM worker."""

    model_runner: GPUModelRunner

    def watch_parent(self) -> int:
        """End this worker when its parent dies: a killed driver must not leave engines behind. Returns the pid."""
        threading.Thread(target=_exit_with, args=(os.getppid(),), daemon=True, name="watch-parent").start()
        return os.getpid()

    def load_published(self, path: str) -> int:
        """Load the safetensors file at ``path``; returns the version written in it."""
        with safe_open(path, framework="pt") as file:
            version = int(file.metadata()["version"])
            names = list(file.keys())
            self.model_runner.reload_weights(weights_iterator=((name, file.get_tensor(name)) for name in names))
        retie(self.model_runner.get_model())
        return version


def retie(model: Any) -> None:
    """Make a tied output embedding follow the input embedding again, on CPU.

    vLLM's CPU linear layers compute with a packed copy of their weight. Reloading repacks the layers it loads, but a
    tied lm_head is not loaded: it would silently keep serving the old weights.
    """
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
    from vllm.platforms import current_platform

    if not current_platform.is_cpu() or not model.config.tie_word_embeddings:
        return
    model.lm_head.weight = model.model.embed_tokens.weight
    dispatch_cpu_unquantized_gemm(model.lm_head, remove_weight=False)


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
