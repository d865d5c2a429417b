"""The optimizer: AdamW's parameter groups, the learning-rate schedule, and a step that skips non-finite gradients.

What the paper leaves open (arXiv 2603.07777 section 3 specifies only AdamW and the learning rate 1e-6) is set in
``conf/algorithm``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from evaluator.errors import RunFailed

Decay = Literal["constant", "cosine", "linear"]


class NonFiniteGradient(RunFailed, RuntimeError):
    """Too many gradients in a row were not finite; the message names the completions and the file they are saved in."""


def group_parameters(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Build AdamW's parameter groups: matrices (embeddings too) with ``weight_decay``, norms and biases without."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def learning_rate_factor(update: float, warmup: int, total: int, decay: Decay) -> float:
    """Factor of the learning rate: linear warm-up to 1, then constant or a decay to 0 at ``total``.

    The factor is continuous in ``update``, and positive for every update of the run. Past ``total`` a decayed factor
    stays 0.

    Args:
        update: number of the update, from 0; not necessarily an integer.
        warmup: number of warm-up updates.
        total: number of updates of the run.
        decay: shape of the decay after the warm-up.

    Returns:
        A factor in [0, 1].
    """
    if update + 1 < warmup:
        return (update + 1) / warmup
    if decay == "constant" or update <= warmup:
        return 1.0
    remaining = max(0.0, (total - update) / (total - warmup)) if total > warmup else 0.0
    return remaining if decay == "linear" else 0.5 * (1.0 - math.cos(math.pi * remaining))


@dataclass
class UpdateCounters:
    """Counts of optimizer updates.

    Attributes:
        made: updates made since the run began.
        skipped: updates skipped since the run began, because their gradient was not finite.
        skipped_in_a_row: updates skipped since the last one that was made.
    """

    made: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0


class GuardedOptimizer:
    """AdamW with gradient clipping and a learning-rate schedule; skips updates whose gradient is not finite.

    The gradient norm is global over all ranks, so all ranks decide alike. The schedule is a function of the number of
    updates made, so its only state is the counters.
    """

    def __init__(self, optimizer: torch.optim.AdamW, grad_clip: float, learning_rate: Callable[[int], float]) -> None:
        """Wrap ``optimizer``.

        Args:
            optimizer: optimizer without any state yet.
            grad_clip: largest global gradient norm.
            learning_rate: maps the number of updates made to the learning rate of the next update.
        """
        self.optimizer = optimizer
        self.grad_clip = grad_clip
        self._learning_rate = learning_rate
        self.counters = UpdateCounters()
        self._initialise_moments()

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next update."""
        return self._learning_rate(self.counters.made)

    def step(self) -> float:
        """Make one update and clear the gradients; return the global gradient norm before clipping. Collective.

        If the norm is infinite or NaN, the update is skipped: parameters, moments and schedule remain unchanged.
        """
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = _to_float(clip_grad_norm_(parameters, self.grad_clip))
        counters = self.counters
        if math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate
            self.optimizer.step()
            counters.made += 1
            counters.skipped_in_a_row = 0
        else:
            counters.skipped += 1
            counters.skipped_in_a_row += 1
        self.optimizer.zero_grad()
        return norm

    def state_dict(self) -> dict[str, int]:
        """Return the counters; the moments are part of the wrapped optimizer's own state."""
        return asdict(self.counters)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore the counters from ``state_dict``."""
        self.counters = UpdateCounters(**state)

    def _initialise_moments(self) -> None:
        """Create the moments as zeros.

        torch would otherwise create them when the optimizer's state is first saved, by a step that it counts as one.
        """
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                data = parameter.detach()
                self.optimizer.state[parameter] = {
                    # The fused kernel for GPUs reads the number of steps there.
                    "step": torch.tensor(0.0, device=data.device if group["fused"] else "cpu"),
                    "exp_avg": torch.zeros_like(data),
                    "exp_avg_sq": torch.zeros_like(data),
                }


def _to_float(norm: Tensor) -> float:
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
