"""Known causes of failures of engines and learner ranks: what their libraries print, and what the user can do."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownCause:
    """Cause of a failure.

    Attributes:
        pattern: regular expression that finds the cause in an error's text or in a log.
        sentence: the cause, and which key or package to change.
    """

    pattern: str
    sentence: str


KNOWN_CAUSES = (
    KnownCause(
        pattern=r"NVIDIA driver on your system is too old|CUDA driver version is insufficient",
        sentence="the NVIDIA driver of this node is too old for the CUDA of requirements/gpu.lock: update the driver "
        "(580 or later for CUDA 13), or build the environment for the CUDA that the driver supports",
    ),
    KnownCause(
        pattern=r"No CUDA GPUs are available|no CUDA-capable device is detected|Found no NVIDIA driver"
        r"|Torch not compiled with CUDA enabled|Failed to infer device type",
        sentence="this node has no GPU that torch can use: check nvidia-smi there and that the environment has the "
        "CUDA builds (make venv-gpu), or set generator.device=cpu learner.device=cpu",
    ),
    KnownCause(
        pattern=r"CUDA-capable device\(s\) is/are busy or unavailable|is less than desired GPU memory utilization",
        sentence="another process uses this GPU: end it (nvidia-smi lists it), or lower generator.gpu_memory_fraction",
    ),
    KnownCause(
        pattern=r"Python\.h: No such file",
        sentence="Triton compiles code and found no Python headers on this node: install python3.11-dev",
    ),
    KnownCause(
        pattern=r"Failed to find C compiler|InvalidCxxCompiler|No working C\+\+ compiler found",
        sentence="this node has no C compiler: install gcc and g++, or set learner.compile=false if the learner failed",
    ),
    KnownCause(
        pattern=r"unable to (open|resize|allocate) shared memory|Bus error|/dev/shm[^\n]*No space left"
        r"|No space left on device[^\n]*/dev/shm|Error while creating shared memory segment",
        sentence="shared memory (/dev/shm) of this node is full or too small: give the container more (docker run "
        "--shm-size=16g), or remove what earlier runs left there",
    ),
    KnownCause(
        pattern=r"To serve at least one request with the model's max seq len|No available memory for the cache blocks",
        sentence="the engine has too little memory for the KV cache of one request: raise "
        "generator.gpu_memory_fraction (generator.kv_cache_gib on CPU) or generator.tensor_parallel, or lower "
        "generator.max_prompt_tokens, generator.max_response_tokens or evaluation.max_response_tokens",
    ),
    KnownCause(
        pattern=r"CUDA out of memory|CUDA error: out of memory|torch\.OutOfMemoryError",
        sentence="the GPU's memory is full. For a learner rank: lower learner.micro_batch_tokens, set "
        "learner.activation_checkpointing=true, or raise learner.ranks. For a generator: lower "
        "generator.gpu_memory_fraction or generator.max_sequences, or raise generator.tensor_parallel",
    ),
    KnownCause(
        pattern=r"unhandled system error[^\n]*NCCL|NCCL[^\n]*unhandled system error",
        sentence="NCCL cannot communicate between this run's GPUs: run python -m launch.doctor with the same "
        "arguments, and set NCCL_DEBUG=WARN for its reason",
    ),
    KnownCause(
        pattern=r"exit_type: NODE_OUT_OF_MEMORY|was killed due to the node running low on memory",
        sentence="the node ran out of memory and Ray killed the process: choose a smaller model or a larger node, or "
        "lower evaluator.workers x evaluator.memory_mb or generator.kv_cache_gib",
    ),
)
"""Looked for in this order: a full GPU comes after the causes that make an engine report one."""


def find_cause(text: str) -> str | None:
    """Return the sentence of the first known cause in ``text``; None if there is none."""
    return next((cause.sentence for cause in KNOWN_CAUSES if re.search(cause.pattern, text)), None)
