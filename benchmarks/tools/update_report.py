"""Metrics and tables of ``benchmarks.learner``, computed from the measured updates by pure functions."""

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
class UpdateMeasurement:
    """Result of ``update_measurement.measure_update``.

    Attributes:
        loss: loss of the update.
        grad_norm: gradient norm.
        wall_s: wall seconds.
        cpu_s: CPU seconds.
        peak: peak memory in bytes.
        gemm_per_s: FLOP per wall second of a large matrix product beside the update.
        gemm_per_cpu_s: FLOP per CPU second of that product.
        torch: version of torch.
    """

    loss: float
    grad_norm: float
    wall_s: float
    cpu_s: float
    peak: int
    gemm_per_s: float
    gemm_per_cpu_s: float
    torch: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateComparison:
    """Measured updates of every implementation for one model shape.

    Attributes:
        shape: name of the shape.
        checkpointing: whether activation checkpointing was on.
        parameters: parameters of the model.
        tokens: tokens per update, without padding.
        updates: measured updates by implementation, the same number of each.
    """

    shape: str
    checkpointing: bool
    parameters: int
    tokens: int
    updates: Mapping[str, Sequence[UpdateMeasurement]]

    @property
    def flops(self) -> float:
        """FLOP of one update by the rule 6 x parameters x tokens."""
        return 6.0 * self.parameters * self.tokens

    def ratios_to_ours(self, field: str, implementation: str = PEER) -> list[float]:
        """Divide a field of ``implementation``'s updates by that of ours, round by round."""
        pairs = zip(self.updates[OURS], self.updates[implementation], strict=True)
        return [getattr(theirs, field) / getattr(ours, field) for ours, theirs in pairs]


@dataclass(frozen=True)
class ScalingMeasurement:
    """Our updates of a batch of ``tokens`` tokens, without padding."""

    tokens: int
    updates: Sequence[UpdateMeasurement]


def check_agreement(comparison: UpdateComparison) -> None:
    """Raise ValueError unless all implementations have the same torch version, losses and gradient norms."""
    for name, updates in comparison.updates.items():
        for ours, theirs in zip(comparison.updates[OURS], updates, strict=True):
            is_same = math.isclose(ours.loss, theirs.loss, rel_tol=AGREEMENT, abs_tol=AGREEMENT) and math.isclose(
                ours.grad_norm, theirs.grad_norm, rel_tol=AGREEMENT
            )
            if not is_same or ours.torch != theirs.torch:
                raise ValueError(
                    f"{comparison.shape}: {name} and ours differ in loss, gradient norm or torch version, so their "
                    f"times are not comparable: {theirs} against {ours}"
                )


def compute_mfu(comparison: UpdateComparison, implementation: str = OURS, by_cpu: bool = False) -> list[float]:
    """Compute model FLOP utilization, round by round: 6ND per second over the rate of the large matrix product.

    Args:
        comparison: measured updates.
        implementation: key of ``comparison.updates``.
        by_cpu: use CPU seconds instead of wall seconds, for the update and the product.
    """
    return [
        comparison.flops / (update.cpu_s * update.gemm_per_cpu_s if by_cpu else update.wall_s * update.gemm_per_s)
        for update in comparison.updates[implementation]
    ]


def compute_summary(comparisons: Sequence[UpdateComparison], scaling: Sequence[ScalingMeasurement]) -> dict[str, float]:
    """Compute the metrics of the JSON line: medians over rounds. Keys without a shape belong to the 135M model."""
    summary: dict[str, float] = {}
    for comparison in comparisons:
        shape = "_starter" if "starter" in comparison.shape else ""
        suffix = shape + ("_checkpointing" if comparison.checkpointing else "")
        summary |= {
            f"ratio_tokens_per_s_vs_trl{suffix}": statistics.median(comparison.ratios_to_ours("wall_s")),
            f"ratio_tokens_per_s_vs_trl_cpu{suffix}": statistics.median(comparison.ratios_to_ours("cpu_s")),
            f"ratio_peak_memory_vs_trl{suffix}": 1 / statistics.median(comparison.ratios_to_ours("peak")),
            f"mfu{suffix}": statistics.median(compute_mfu(comparison)),
            f"mfu_cpu{suffix}": statistics.median(compute_mfu(comparison, by_cpu=True)),
        }
        if PADDED in comparison.updates:
            wall_ratios = comparison.ratios_to_ours("wall_s", PADDED)
            peak_ratios = comparison.ratios_to_ours("peak", PADDED)
            summary |= {
                f"ratio_tokens_per_s_vs_padded{suffix}": statistics.median(wall_ratios),
                f"ratio_peak_memory_vs_padded{suffix}": 1 / statistics.median(peak_ratios),
            }
    updates = [
        update
        for comparison in comparisons
        for implementation in comparison.updates.values()
        for update in implementation
    ]
    summary["gemm_gflops"] = statistics.median(update.gemm_per_s for update in updates) / 1e9
    summary["gemm_gflops_per_cpu"] = statistics.median(update.gemm_per_cpu_s for update in updates) / 1e9
    smallest = scaling[0]
    largest = scaling[-1]
    summary["cpu_per_token_growth"] = cpu_seconds_per_token(largest) / cpu_seconds_per_token(smallest)
    return summary


def cpu_seconds_per_token(measurement: ScalingMeasurement) -> float:
    """Return the median CPU seconds per token."""
    return statistics.median(update.cpu_s for update in measurement.updates) / measurement.tokens


def format_median_and_range(values: Iterable[float], digits: int = 0) -> str:
    """Format the median and the range of ``values``.

    >>> format_median_and_range([3.0, 1.0, 2.04], 1)
    '2.0 (1.0 to 3.0)'
    """
    numbers = list(values)
    return f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f} to {max(numbers):.{digits}f})"


def print_report(comparisons: Sequence[UpdateComparison], scaling: Sequence[ScalingMeasurement]) -> None:
    """Print all tables to standard output."""
    console = Console(width=190, highlight=False)
    for comparison in comparisons:
        console.print(build_comparison_table(comparison))
    console.print(build_scaling_table(scaling))


def build_scaling_table(scaling: Sequence[ScalingMeasurement]) -> Table:
    """Build the table of time and memory by number of tokens."""
    table = Table(title="Our update by batch size (starter policy, micro-batches of constant size): median (range)")
    for name in ("tokens", "wall s", "CPU s", "CPU ms/token", "peak MB"):
        table.add_column(name, justify="right")
    for measurement in scaling:
        table.add_row(
            str(measurement.tokens),
            format_median_and_range((update.wall_s for update in measurement.updates), 2),
            format_median_and_range((update.cpu_s for update in measurement.updates), 2),
            f"{1000 * cpu_seconds_per_token(measurement):.3f}",
            format_median_and_range(update.peak / 1e6 for update in measurement.updates),
        )
    return table


def build_comparison_table(comparison: UpdateComparison) -> Table:
    """Build the table of speed, memory and MFU by implementation."""
    with_or_without = "with" if comparison.checkpointing else "without"
    table = Table(
        title=f"Optimizer update of {comparison.shape} ({comparison.parameters / 1e6:.1f}M parameters, "
        f"{comparison.tokens} tokens, {with_or_without} activation checkpointing, "
        f"{len(comparison.updates[OURS])} rounds): median (range)"
    )
    table.add_column("implementation", no_wrap=True)
    for name in (
        *("tokens/s", "tokens/CPU s", "peak MB", "MFU by wall time", "MFU by CPU time"),
        *("wall time / ours", "CPU time / ours"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for name, updates in comparison.updates.items():
        table.add_row(
            name,
            format_median_and_range(comparison.tokens / update.wall_s for update in updates),
            format_median_and_range(comparison.tokens / update.cpu_s for update in updates),
            format_median_and_range(update.peak / 1e6 for update in updates),
            format_median_and_range(compute_mfu(comparison, name), 2),
            format_median_and_range(compute_mfu(comparison, name, by_cpu=True), 2),
            format_median_and_range(comparison.ratios_to_ours("wall_s", name), 2),
            format_median_and_range(comparison.ratios_to_ours("cpu_s", name), 2),
        )
    return table
