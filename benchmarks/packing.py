"""Time that ranks wait for each other with micro-batches of equal tokens and of equal work.

    python -m benchmarks.packing [--ranks N] [--passes N]

A round of micro-batches takes as long as its slowest rank. Each micro-batch of a plan is run forward and backward
alone, on one thread, so that no other process disturbs it; a plan's time is the sum over rounds of the slowest
micro-batch. The model is small, and its sequences are as long for it as up to 29,000 tokens are for Qwen3-4B: at that
length attention is about as much work as everything else. Tokens, not work, limit a micro-batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from transformers import Qwen3Config, Qwen3ForCausalLM

from learner.packing import pack, plan_micro_batches
from learner.policy import Policy, attention_work
from learner.rollout import TrainSequence
from learner.segment_attention import SEGMENT_ATTENTION

SEQUENCES = 64
SHORTEST = 128
LONGEST = 4096
BUDGET = LONGEST * 17 // 16
"""Tokens of a micro-batch: as in conf/experiment/lcb_v6_32k.yaml, the longest sequence fills one."""
VOCABULARY = 2048
Plan = list[list[list[int]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanTime:
    """Seconds of a plan: of its slowest ranks, summed over rounds, and of the mean over ranks."""

    slowest_s: float
    mean_s: float


def build_policy() -> Policy:
    """Build a small policy with random weights."""
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=LONGEST,
            tie_word_embeddings=True,
        )
    )
    model.set_attn_implementation(SEGMENT_ATTENTION)
    return Policy(model)


def make_batch(sequences: int) -> list[TrainSequence]:
    """Make sequences whose lengths are log-uniform from ``SHORTEST`` to ``LONGEST``; half of each is the response."""
    generator = np.random.default_rng(0)
    lengths = SHORTEST * (LONGEST / SHORTEST) ** generator.random(sequences)
    return [
        TrainSequence(
            token_ids=generator.integers(0, VOCABULARY, int(length)),
            prompt_length=int(length) // 2,
            sampler_logprobs=np.zeros(int(length) - int(length) // 2, dtype=np.float32),
            temperature=1.0,
            advantage=1.0,
        )
        for length in lengths
    ]


def measure_plan(policy: Policy, sequences: Sequence[TrainSequence], plan: Plan) -> PlanTime:
    """Run every micro-batch of ``plan`` forward and backward."""
    rounds = []
    for number in range(len(plan[0])):
        seconds = []
        for rank_plan in plan:
            started = time.perf_counter()
            policy(pack(sequences, rank_plan[number], torch.device("cpu")))[0].sum().backward()
            seconds.append(time.perf_counter() - started)
        rounds.append(seconds)
    return PlanTime(slowest_s=sum(map(max, rounds)), mean_s=sum(map(statistics.mean, rounds)))


def main(
    ranks: Annotated[int, typer.Option(min=2, help="ranks that wait for each other")] = 4,
    passes: Annotated[int, typer.Option(min=1, help="passes over both plans, in turn")] = 3,
    sequences: Annotated[int, typer.Option(min=2, help="sequences of the mini-batch")] = SEQUENCES,
) -> None:
    """Measure both plans in turn and print their times and the ratio of the slowest ranks' times."""
    torch.set_num_threads(1)
    policy = build_policy()
    batch = make_batch(sequences)
    lengths = [len(sequence.token_ids) for sequence in batch]
    work = attention_work(policy)
    plans = {
        name: plan_micro_batches(lengths, ranks, BUDGET, weight)
        for name, weight in (("equal tokens", 0.0), ("equal work", work))
    }
    measured: dict[str, list[PlanTime]] = {name: [] for name in plans}
    for _ in range(passes):
        for name, plan in plans.items():
            measured[name].append(measure_plan(policy, batch, plan))
    table = Table("micro-batches of", "slowest ranks, s", "mean of ranks, s", "waiting", title=f"{ranks} ranks")
    for name, times in measured.items():
        slowest_s = statistics.median(item.slowest_s for item in times)
        mean_s = statistics.median(item.mean_s for item in times)
        table.add_row(name, f"{slowest_s:.2f}", f"{mean_s:.2f}", f"{1 - mean_s / slowest_s:.1%}")
    ratios = [
        after.slowest_s / before.slowest_s
        for before, after in zip(measured["equal tokens"], measured["equal work"], strict=True)
    ]
    console = Console(width=110, highlight=False)
    console.print(table)
    console.print(f"equal work / equal tokens, slowest ranks: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    typer.run(main)
