"""Confidence intervals of shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""Quantile of the normal distribution for two-sided intervals of 95 %."""


@dataclass(frozen=True)
class Share:
    """Share ``hits`` / ``total`` with its Wilson interval."""

    hits: int
    total: int

    @property
    def value(self) -> float | None:
        """The share; None if ``total`` is 0."""
        return self.hits / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson score interval at 95 %, which is (0, 1) if ``total`` is 0.

        >>> [round(bound, 3) for bound in Share(9, 10).interval]
        [0.596, 0.982]
        """
        if not self.total:
            return 0.0, 1.0
        share = self.hits / self.total
        spread = Z_95**2 / self.total
        center = share + spread / 2
        radius = Z_95 * math.sqrt((share * (1 - share) + spread / 4) / self.total)
        low = max(0.0, (center - radius) / (1 + spread))
        high = min(1.0, (center + radius) / (1 + spread))
        return min(low, share), max(high, share)  # without rounding, the bounds of 0/n and n/n are 0 and 1
