"""Group-relative advantages: GRPO's (arXiv 2603.07777 eq. 2, without the mask) and the variants of the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

AdvantageKind = Literal["standardised", "centred", "leave_one_out"]


def group_advantages(rewards: Sequence[float | None], kind: AdvantageKind = "standardised") -> list[float | None]:
    """Advantage of each completion relative to the other completions of its group.

    - ``standardised`` (GRPO, arXiv 2402.03300; unbiased std as in DeepCoder): A_i = (r_i - mean) / (std + 1e-6)
    - ``centred`` (Dr. GRPO, arXiv 2503.20783): A_i = r_i - mean
    - ``leave_one_out`` (RLOO, arXiv 2402.14740): A_i = r_i - mean of the others = n / (n - 1) * (r_i - mean)

    Args:
        rewards: one reward per completion of the group. ``None`` marks a completion that is excluded because the
            evaluator failed: it enters neither mean nor std, and n counts only the other completions.
        kind: formula to use.

    Returns:
        One advantage per completion, ``None`` where the reward is ``None``. All advantages are 0 when the rewards are
        equal or fewer than two are not ``None``.

    >>> group_advantages([1.0, 0.0, None])
    [0.707105781187..., -0.707105781187..., None]
    """
    counted = np.array([reward for reward in rewards if reward is not None], dtype=np.float64)
    if len(counted) < 2 or counted.min() == counted.max():
        return [None if reward is None else 0.0 for reward in rewards]
    if kind == "standardised":
        scale = 1.0 / (counted.std(ddof=1) + 1e-6)
    elif kind == "centred":
        scale = 1.0
    else:
        scale = len(counted) / (len(counted) - 1)
    mean = counted.mean()
    return [None if reward is None else float((reward - mean) * scale) for reward in rewards]
