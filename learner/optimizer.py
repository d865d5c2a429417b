"""The optimizer: AdamW's parameter groups, the learning-rate schedule, and a step that passes over a broken gradient.

What the paper leaves open (arXiv 2603.07777, section 3, gives AdamW and 1e-6 only) is in ``conf/algorithm``.
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
    """Too many gradients in a row were not finite; the message says of which completions, and where they are saved."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices (embeddings too) with ``weight_decay``; vectors, which are norms and biases, without."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def schedule(update: float, warmup: int, total: int, decay: Decay) -> float:
    """Factor of the learning rate at ``update`` (from 0): linear warm-up to 1, then constant or down to 0 at ``total``.

    In (0, 1] for every update of the run; beyond ``total`` a decayed one stays 0. Continuous in ``update``.
    """
    if update + 1 < warmup:
        return (update + 1) / warmup
    if decay == "constant" or update <= warmup:
        return 1.0
    left = max(0.0, (total - update) / (total - warmup)) if total > warmup else 0.0
    return left if decay == "linear" else 0.5 * (1.0 - math.cos(math.pi * left))


@dataclass
class UpdateCounters:
    """Updates made and passed over since the run began, and passed over since the last one made."""

    made: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0


class GuardedOptimizer:
    """Clips, schedules and steps an optimizer, unless the gradient is not finite.

    The norm that decides is taken over all ranks, so all of them decide alike. ``learning_rate`` is a function of the
    number of updates made: with the counters, all that the schedule has to remember.
    """

    def __init__(self, optimizer: torch.optim.AdamW, grad_clip: float, learning_rate: Callable[[int], float]) -> None:
        self.optimizer = optimizer
        self.grad_clip = grad_clip
        self._learning_rate = learning_rate
        self.counters = UpdateCounters()
        self._start()

    @property
    def learning_rate(self) -> float:
        """That of the next update."""
        return self._learning_rate(self.counters.made)

    def step(self) -> float:
        """One update, and the gradients are gone. Returns their global norm before clipping. Collective.

        Where that is infinite or NaN, parameters, moments and schedule stay as they were.
        """
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = _whole(clip_grad_norm_(parameters, self.grad_clip))
        counters = self.counters
        if math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate
            self.optimizer.step()
            counters.made, counters.skipped_in_a_row = counters.made + 1, 0
        else:
            counters.skipped += 1
            counters.skipped_in_a_row += 1
        self.optimizer.zero_grad()
        return norm

    def state_dict(self) -> dict[str, int]:
        """The counters; the moments are in the optimizer's own state."""
        return asdict(self.counters)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from ``state_dict``."""
        self.counters = UpdateCounters(**state)

    def _start(self) -> None:
        """Moments of zero from the start: left to itself, a checkpoint made before the first update would count one."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                data = parameter.detach()
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(data),
                    "exp_avg_sq": torch.zeros_like(data),
                }


def _whole(norm: Tensor) -> float:
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
