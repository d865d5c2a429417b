"""Group-relative advantages (arXiv 2603.07777 eq. 2, without the mask)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def group_advantages(rewards: Sequence[float | None]) -> list[float | None]:
    """A_i = (r_i - mean) / (std + 1e-6) over one group; std is the unbiased one.

    ``None`` marks a completion excluded because the evaluator failed: it counts in neither mean nor std and stays
    None. Equal rewards, or fewer than two that count, give 0.

    >>> group_advantages([1.0, 0.0, None])
    [0.707105781187..., -0.707105781187..., None]
    """
    counted = np.array([reward for reward in rewards if reward is not None], dtype=np.float64)
    if len(counted) < 2 or counted.min() == counted.max():
        return [None if reward is None else 0.0 for reward in rewards]
    mean, std = counted.mean(), counted.std(ddof=1)
    return [None if reward is None else float((reward - mean) / (std + 1e-6)) for reward in rewards]
