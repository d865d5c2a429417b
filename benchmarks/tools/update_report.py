"""Figures and tables of ``benchmarks.learner``: pure functions of what was run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

OURS = "ours"
PADDED = "ours, padded"
PEER = "TRL"
AGREEMENT = 1e-3  # relative difference of loss and gradient norm that rounding explains


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """What ``timed_update`` measures: seconds, bytes, FLOP per second (of wall, of CPU) of a large product."""

    loss: float
    grad_norm: float
    wall_s: float
    cpu_s: float
    peak: int
    gemm_per_s: float
    gemm_per_cpu_s: float
    torch: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One shape and setting: updates by side, as many of each; ``tokens`` are real ones, of one update."""

    shape: str
    checkpointing: bool
    parameters: int
    tokens: int
    updates: Mapping[str, Sequence[Update]]

    @property
    def flops(self) -> float:
        """Of one update: 6ND."""
        return 6.0 * self.parameters * self.tokens

    def ratio(self, field: str, other: str = PEER) -> list[float]:
        """The other side's figure over ours, round by round."""
        pairs = zip(self.updates[OURS], self.updates[other], strict=True)
        return [getattr(theirs, field) / getattr(ours, field) for ours, theirs in pairs]


@dataclass(frozen=True)
class Growth:
    """Our updates of a batch of ``tokens`` tokens."""

    tokens: int
    updates: Sequence[Update]


def check_agreement(comparison: Comparison) -> None:
    """All sides have one torch, and the same losses and gradient norms. Raises ValueError where not."""
    for name, updates in comparison.updates.items():
        for ours, theirs in zip(comparison.updates[OURS], updates, strict=True):
            same = math.isclose(ours.loss, theirs.loss, rel_tol=AGREEMENT, abs_tol=AGREEMENT) and math.isclose(
                ours.grad_norm, theirs.grad_norm, rel_tol=AGREEMENT
            )
            if not same or ours.torch != theirs.torch:
                raise ValueError(f"{comparison.shape}: {name} did other work than ours: {theirs} against {ours}")


def mfu(comparison: Comparison, name: str = OURS, by_cpu: bool = False) -> list[float]:
    """6ND a second over the rate of the large product, round by round; both by wall, or both by CPU seconds."""
    return [
        comparison.flops / (one.cpu_s * one.gemm_per_cpu_s if by_cpu else one.wall_s * one.gemm_per_s)
        for one in comparison.updates[name]
    ]


def figures(comparisons: Sequence[Comparison], growth: Sequence[Growth]) -> dict[str, float]:
    """What the last line says: medians over rounds. The keys without a shape are of the 135M one."""
    found: dict[str, float] = {}
    for comparison in comparisons:
        shape = "_starter" if "starter" in comparison.shape else ""
        end = shape + ("_checkpointing" if comparison.checkpointing else "")
        found |= {
            f"ratio_tokens_per_s_vs_trl{end}": statistics.median(comparison.ratio("wall_s")),
            f"ratio_tokens_per_s_vs_trl_cpu{end}": statistics.median(comparison.ratio("cpu_s")),
            f"ratio_peak_memory_vs_trl{end}": 1 / statistics.median(comparison.ratio("peak")),
            f"mfu{end}": statistics.median(mfu(comparison)),
            f"mfu_cpu{end}": statistics.median(mfu(comparison, by_cpu=True)),
        }
        if PADDED in comparison.updates:
            found |= {
                f"ratio_tokens_per_s_vs_padded{end}": statistics.median(comparison.ratio("wall_s", PADDED)),
                f"ratio_peak_memory_vs_padded{end}": 1 / statistics.median(comparison.ratio("peak", PADDED)),
            }
    updates = [one for comparison in comparisons for side in comparison.updates.values() for one in side]
    found["gemm_gflops"] = statistics.median(one.gemm_per_s for one in updates) / 1e9
    found["gemm_gflops_per_cpu"] = statistics.median(one.gemm_per_cpu_s for one in updates) / 1e9
    small = growth[0]
    large = growth[-1]
    found["cpu_per_token_growth"] = per_token(large) / per_token(small)
    return found


def per_token(growth: Growth) -> float:
    """CPU seconds of a token, the median."""
    return statistics.median(one.cpu_s for one in growth.updates) / growth.tokens


def spread(values: Iterable[float], digits: int = 0) -> str:
    """The median, and the range.

    >>> spread([3.0, 1.0, 2.04], 1)
    '2.0 (1.0 to 3.0)'
    """
    found = list(values)
    return f"{statistics.median(found):.{digits}f} ({min(found):.{digits}f} to {max(found):.{digits}f})"


def print_report(comparisons: Sequence[Comparison], growth: Sequence[Growth]) -> None:
    """All tables to standard output."""
    console = Console(width=190, highlight=False)
    for comparison in comparisons:
        console.print(comparison_table(comparison))
    table = Table(title="our update of more tokens, starter policy, micro-batches of the same size")
    for name in ("tokens", "wall s", "CPU s", "CPU ms / token", "peak MB"):
        table.add_column(name, justify="right")
    for one in growth:
        table.add_row(
            str(one.tokens),
            spread((update.wall_s for update in one.updates), 2),
            spread((update.cpu_s for update in one.updates), 2),
            f"{1000 * per_token(one):.3f}",
            spread(update.peak / 1e6 for update in one.updates),
        )
    console.print(table)


def comparison_table(comparison: Comparison) -> Table:
    """Speed, memory and MFU of every side."""
    setting = "with" if comparison.checkpointing else "without"
    table = Table(
        title=f"{comparison.shape}, {comparison.parameters / 1e6:.1f}M parameters, {comparison.tokens} tokens, "
        f"{setting} activation checkpointing, {len(comparison.updates[OURS])} rounds: median (range)"
    )
    table.add_column("side", no_wrap=True)
    for name in ("tokens/s", "tokens / CPU s", "peak MB", "MFU", "MFU by CPU", "its time / ours", "by CPU"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, updates in comparison.updates.items():
        table.add_row(
            name,
            spread(comparison.tokens / one.wall_s for one in updates),
            spread(comparison.tokens / one.cpu_s for one in updates),
            spread(one.peak / 1e6 for one in updates),
            spread(mfu(comparison, name), 2),
            spread(mfu(comparison, name, by_cpu=True), 2),
            spread(comparison.ratio("wall_s", name), 2),
            spread(comparison.ratio("cpu_s", name), 2),
        )
    return table
