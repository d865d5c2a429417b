"""Memory of a learner rank and of an engine on a GPU, by part.

All figures are estimates from the model's shape: what each part must hold, with the sizes of the code that holds it.
None of them has been compared with a run. What a GPU really has left is measured by ``launch.doctor``.
"""

from __future__ import annotations

from conf.schema import Config
from launch.cluster.model_shape import ModelShape
from learner.token_logprobs import CHUNK_ELEMENTS

GIB = 2**30
CUDA_GIB = 1.5
"""CUDA context, NCCL's buffers and what libraries keep, per process."""
ENGINE_WORKSPACE_GIB = 4.0
"""CUDA graphs and activations of an engine."""
ASSUMED_GPU_GIB = 80.0
"""Memory of a GPU if it is neither configured nor measured."""

Parts = tuple[tuple[str, float], ...]
"""Parts of a memory plan: (purpose, GiB)."""


def plan_rank_memory(model: ModelShape, config: Config) -> Parts:
    """Plan the GPU memory of a learner rank."""
    learner = config.learner
    width = 4 if config.model.dtype == "float32" else 2
    shard = model.parameters / learner.ranks
    gradients = shard if learner.sync_every_micro_batch else model.parameters
    # The root's parameters stay gathered; of the layers, the current and the next one are. The largest unit's gradient
    # exists in the dtype of the computation and, for its reduction, in float32.
    gathered = width * (model.embeddings + 2 * model.layer_parameters)
    gathered += (width + 4) * max(model.embeddings, model.layer_parameters)
    bytes_ = {
        "float32 weights": 4 * shard,
        "gradients": 4 * gradients,
        "AdamW moments": 8 * shard,
        "float32 reference": 4 * shard if config.algorithm.kl_weight > 0 else 0.0,
        "gathered layers": gathered,
        "activations": activation_bytes(model, learner.micro_batch_tokens, width, learner.activation_checkpointing),
        # Logits, their exponentials or gradients in float32 and in the dtype of the computation; the sum of the head's
        # gradients over chunks and the next summand, both float32.
        "logits chunk": CHUNK_ELEMENTS["cuda"] * (8 + width) + 8 * model.vocabulary * model.hidden,
        "buckets to publish": 3 * config.weight_transfer.bucket_mb * 2**20 + width * model.vocabulary * model.hidden,
        "CUDA and NCCL": CUDA_GIB * GIB,
    }
    return tuple((name, size / GIB) for name, size in bytes_.items() if size)


def activation_bytes(model: ModelShape, tokens: int, width: int, checkpointing: bool) -> float:
    """Bytes of the activations of a packed row, in eager mode.

    A layer keeps for a token its two normalised inputs (also in float32), queries, keys, values and the attention's
    output, and four vectors inside the MLP. With checkpointing all of this exists for one layer at a time, and every
    layer's input for all.

    Args:
        model: shape of the model.
        tokens: tokens of the row.
        width: bytes of a number.
        checkpointing: activations are recomputed in the backward pass.
    """
    attention = 2 * (model.heads + 2 * model.groups) * model.head_dim
    layer = tokens * (width * (16 * model.hidden + attention + 4 * model.intermediate) + 16 * model.hidden)
    return model.layers * tokens * model.hidden * width + layer if checkpointing else model.layers * layer


def plan_engine_memory(model: ModelShape, config: Config, gpu_gib: float) -> Parts:
    """Plan the GPU memory of an engine, per GPU: the KV cache gets what weights and workspace leave of its share."""
    generator = config.generator
    width = 4 if config.model.dtype == "float32" else 2
    weights = model.parameters * width / generator.tensor_parallel / GIB
    cache = max(0.0, generator.gpu_memory_fraction * gpu_gib - weights - ENGINE_WORKSPACE_GIB)
    return (("weights", weights), ("KV cache", cache), ("CUDA graphs and activations", ENGINE_WORKSPACE_GIB))


def count_cached_sequences(model: ModelShape, config: Config, gpu_gib: float) -> tuple[int, int]:
    """Return how many tokens the KV cache of an engine holds, and how many sequences of the greatest length."""
    generator = config.generator
    width = 4 if config.model.dtype == "float32" else 2
    cache = dict(plan_engine_memory(model, config, gpu_gib))["KV cache"] * GIB * generator.tensor_parallel
    tokens = int(cache / (model.cached_numbers_per_token * width))
    return tokens, tokens // (generator.max_prompt_tokens + generator.max_response_tokens)
