"""One rank of the learner: the policy, its optimizer, and the MicroCoder-GRPO update."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from learner.agreement import failing_together
from learner.batch_checks import refuse_broken_policy, refuse_foreign_tokens
from learner.mismatch import mismatch_statistics
from learner.objective import LossSums, Objective, join, loss_tokens, policy_loss
from learner.optimizer import Decay, GuardedOptimizer, NonFiniteGradient, parameter_groups, schedule
from learner.packing import pack, plan_micro_batches
from learner.policy import Policy, load_policy, shard_policy, sync_gradients
from learner.rollout import TrainBatch, TrainSequence
from learner.skipped_batch import names, write_skipped_batch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerSettings:
    """What one rank needs to know; the meaning of each value is documented in the configuration."""

    model_path: str
    attention: str
    compute_dtype: str
    device: str
    learning_rate: float
    warmup_steps: int
    decay: Decay
    total_updates: int
    max_skipped_updates: int
    skipped_folder: str
    betas: tuple[float, float]
    weight_decay: float
    grad_clip: float
    micro_batch_tokens: int
    sync_every_micro_batch: bool
    activation_checkpointing: bool
    objective: Objective
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateMetrics:
    """Means over one training step; the field names are spelt out as metric keys by ``launch.training.metrics``.

    ``pg_loss`` and ``kl_loss`` (without its weight) are means over mini-batches of the loss as it is aggregated, clip
    fractions and ``ppo_kl`` means over the tokens with an advantage; ``learning_rate`` is that of the step's first
    update. What there is nothing to take the mean of is 0; a batch without sequences makes no update. ``grad_norm`` is
    the mean over the ``updates`` made, NaN where all were skipped; ``skipped_updates`` had a gradient that was not
    finite, so the other values may not be finite either.
    """

    pg_loss: float
    kl_loss: float
    clipfrac_higher: float
    clipfrac_lower: float
    clipfrac_dual: float
    ppo_kl: float
    entropy: float
    grad_norm: float
    learning_rate: float
    mismatch_kl: float
    mismatch_ratio_max: float
    mismatch_non_finite: int
    updates: int
    skipped_updates: int
    old_logprob_seconds: float
    update_seconds: float


class Learner:
    """Holds the policy and the optimizer of one rank; torch.distributed must be initialised.

    Every public method is collective: all ranks call it with the same arguments.
    """

    def __init__(self, settings: LearnerSettings) -> None:
        self.settings = settings
        self.rank = dist.get_rank()
        self.ranks = dist.get_world_size()
        self.device = torch.device(settings.device)
        torch.manual_seed(settings.seed)
        self.policy = load_policy(
            settings.model_path, settings.attention, self.device, settings.activation_checkpointing
        )
        mesh = DeviceMesh(self.device.type, list(range(self.ranks)))
        shard_policy(self.policy, mesh, DTYPES[settings.compute_dtype])
        self.reference = self._load_reference(mesh) if settings.objective.kl_weight > 0 else None
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.policy, settings.weight_decay), lr=settings.learning_rate, betas=settings.betas
        )
        self.guarded = GuardedOptimizer(self.optimizer, settings.grad_clip, self._learning_rate)
        self.prepared: dict[int, SequencePolicy] = {}

    def _learning_rate(self, update: int) -> float:
        settings = self.settings
        factor = schedule(update, settings.warmup_steps, settings.total_updates, settings.decay)
        return settings.learning_rate * factor

    def _load_reference(self, mesh: DeviceMesh) -> Policy:
        """The initial policy, sharded like the policy and never trained: of ``model_path``, also after a resume."""
        reference = load_policy(self.settings.model_path, self.settings.attention, self.device, False)
        reference.eval().requires_grad_(False)
        shard_policy(reference, mesh, DTYPES[self.settings.compute_dtype])
        return reference

    def prepare(self, sequences: Sequence[TrainSequence]) -> float:
        """The old policy's log-probs of a step's completions, whose credit is not known yet; returns the seconds.

        The next ``update`` finds them by ``place``. Advantages are not looked at. Raises BadBatch on every rank.
        """
        started = time.monotonic()
        refuse_foreign_tokens(sequences, self.policy.model.get_input_embeddings().num_embeddings)
        self.prepared = dict(enumerate(self.logprobs(sequences).of_sequences))
        return time.monotonic() - started

    def _old_policy(self, sequences: Sequence[TrainSequence]) -> OldPolicy:
        """What ``prepare`` has of ``sequences``; the rest is computed now. It is of use once: the policy changes."""
        prepared, self.prepared = self.prepared, {}
        missing = [sequence for sequence in sequences if sequence.place not in prepared]
        computed = iter(self.logprobs(missing).of_sequences)
        return OldPolicy(
            [
                next(computed) if sequence.place is None or sequence.place not in prepared else prepared[sequence.place]
                for sequence in sequences
            ]
        )

    def update(self, batch: TrainBatch) -> UpdateMetrics:
        """One training step: old log-probs where they are not prepared, then one optimizer update per mini-batch.

        Raises BadBatch, on every rank and before any update, for what cannot be trained on.
        """
        started = time.monotonic()
        sequences = [sequence for mini in batch.mini_batches for sequence in mini]
        refuse_foreign_tokens(sequences, self.policy.model.get_input_embeddings().num_embeddings)
        old = self._old_policy(sequences)
        refuse_broken_policy(sequences, old.logprobs, "learner's policy")
        reference = self._reference_logprobs(sequences)
        mismatch = mismatch_statistics(
            old.logprobs, [torch.from_numpy(sequence.sampler_logprobs) for sequence in sequences]
        )
        old_done = time.monotonic()
        learning_rate = self.guarded.learning_rate
        totals = torch.zeros(len(fields(LossSums)), dtype=torch.float64)
        norms = []
        offset = 0
        for mini in batch.mini_batches:
            place = slice(offset, offset + len(mini))
            sums, norm = self._update_mini_batch(mini, old.logprobs[place], reference and reference[place])
            totals += sums
            norms.append(norm)
            offset += len(mini)
        acting, pg_loss, kl_loss, high, low, dual, ppo_kl = totals.tolist()
        minis = max(1, len(norms))
        tokens = max(1.0, acting)
        made = sum(map(math.isfinite, norms))
        return UpdateMetrics(
            pg_loss=pg_loss / minis,
            kl_loss=kl_loss / minis,
            clipfrac_higher=high / tokens,
            clipfrac_lower=low / tokens,
            clipfrac_dual=dual / tokens,
            ppo_kl=ppo_kl / tokens,
            entropy=old.entropy,
            grad_norm=mean_norm(norms),
            learning_rate=learning_rate,
            mismatch_kl=mismatch.kl,
            mismatch_ratio_max=mismatch.ratio_max,
            mismatch_non_finite=mismatch.non_finite,
            updates=made,
            skipped_updates=len(norms) - made,
            old_logprob_seconds=old_done - started,
            update_seconds=time.monotonic() - old_done,
        )

    def _reference_logprobs(self, sequences: Sequence[TrainSequence]) -> list[Tensor] | None:
        """Log-probs [R_i] under the reference policy, at each sequence's temperature; None without a KL penalty."""
        if self.reference is None:
            return None
        logprobs = self.logprobs(sequences, self.reference).logprobs
        refuse_broken_policy(sequences, logprobs, "reference policy")
        return logprobs

    def logprobs(self, sequences: Sequence[TrainSequence], policy: Policy | None = None) -> OldPolicy:
        """Log-probs of all sequences under ``policy``, at each one's temperature, on every rank.

        ``policy`` is the present one where none is given. Each rank computes its share; the shares are summed over
        ranks into one flat tensor.
        """
        if not sequences:
            return OldPolicy([])
        chosen_policy = self.policy if policy is None else policy
        counts = [sequence.response_length for sequence in sequences]
        starts = torch.tensor([0, *counts]).cumsum(0).tolist()
        flat = torch.zeros(2, starts[-1], dtype=torch.float32)
        with torch.no_grad():
            for indices in self._plan(sequences):
                micro = pack(sequences, indices, self.device)
                values = torch.stack(chosen_policy(micro)).cpu()
                if not indices:
                    continue
                pieces = values.split([counts[index] for index in indices], dim=1)
                for index, piece in zip(indices, pieces, strict=True):
                    flat[:, starts[index] : starts[index + 1]] = piece
        flat = self._sum_over_ranks(flat)
        return OldPolicy([SequencePolicy(*one) for one in flat.split(counts, dim=1)])

    def _plan(self, sequences: Sequence[TrainSequence]) -> list[list[int]]:
        lengths = [len(sequence.token_ids) for sequence in sequences]
        return plan_micro_batches(lengths, self.ranks, self.settings.micro_batch_tokens)[self.rank]

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        if self.ranks == 1:
            return values
        on_device = values.to(self.device)
        dist.all_reduce(on_device)
        return on_device.cpu()

    def _update_mini_batch(
        self, mini: Sequence[TrainSequence], old: Sequence[Tensor], reference: Sequence[Tensor] | None
    ) -> tuple[Tensor, float]:
        """One optimizer update, or none where the gradient is not finite; its sums and the gradient's norm."""
        sums = self.accumulate_gradients(mini, old, reference)
        norm = self.guarded.step()
        if self.guarded.counters.skipped_in_a_row >= self.settings.max_skipped_updates:
            self._give_up(mini, old, norm)
        return sums, norm

    def _give_up(self, mini: Sequence[TrainSequence], old: Sequence[Tensor], norm: float) -> NoReturn:
        """Save the mini-batch and say which it is. Raises NonFiniteGradient on every rank."""
        counters = self.guarded.counters
        path = Path(self.settings.skipped_folder, f"update_{counters.made:06d}.parquet")
        what = (
            f"the gradient was not finite (norm {norm}) {counters.skipped_in_a_row} times in a row "
            f"(learner.max_skipped_updates), the last time over the completions {names(mini)}"
        )
        with failing_together(f"{what}, which cannot be saved to {path}", NonFiniteGradient):
            if self.rank == 0:
                write_skipped_batch(path, mini, old)
        raise NonFiniteGradient(f"{what}; they are saved in {path}")

    def accumulate_gradients(
        self, mini: Sequence[TrainSequence], old: Sequence[Tensor], reference: Sequence[Tensor] | None
    ) -> Tensor:
        """Backward pass of the mini-batch's loss; returns ``LossSums`` over all ranks, in its order, float64.

        ``old``, ``reference``: per sequence, the log-probs [R_i] of the old and of the reference policy (None without
        a KL penalty). Sequences of advantage 0 count in the loss's weights; without a KL penalty their gradient is
        exactly zero, so they need no forward pass.
        """
        objective = self.settings.objective
        tokens = loss_tokens(mini, old, reference, objective)
        needed = [
            index for index, sequence in enumerate(mini) if sequence.advantage != 0.0 or reference is not None
        ] or [0]
        chosen = [mini[index] for index in needed]
        totals = torch.zeros(len(fields(LossSums)), dtype=torch.float64)
        plan = self._plan(chosen)
        for number, indices in enumerate(plan, 1):
            sync_gradients(self.policy, self.settings.sync_every_micro_batch or number == len(plan))
            micro = pack(chosen, indices, self.device)
            logprobs, _ = self.policy(micro)
            if not indices:  # a stand-in that only keeps ranks in step
                (0.0 * logprobs.sum()).backward()
                continue
            of_micro = join([tokens[needed[index]] for index in indices]).to(self.device)
            loss, sums = policy_loss(logprobs, of_micro, objective)
            # FSDP averages gradients over ranks; the loss is a sum over all of them.
            (loss * self.ranks).backward()
            totals += torch.stack([value.cpu() for value in astuple(sums)])
        return self._sum_over_ranks(totals)


def mean_norm(norms: Sequence[float]) -> float:
    """Mean over the updates made; 0 where there was no mini-batch, NaN where every update was skipped."""
    made = [norm for norm in norms if math.isfinite(norm)]
    if not norms:
        return 0.0
    return sum(made) / len(made) if made else math.nan


@dataclass(frozen=True)
class SequencePolicy:
    """A policy's log-probs and entropies [R] float32 at a sequence's response tokens."""

    logprobs: Tensor
    entropies: Tensor


@dataclass(frozen=True)
class OldPolicy:
    """The policy at the start of a step, by sequence."""

    of_sequences: list[SequencePolicy]

    @property
    def logprobs(self) -> list[Tensor]:
        """[R_i] of each sequence."""
        return [one.logprobs for one in self.of_sequences]

    @property
    def entropy(self) -> float:
        """Mean over all tokens; 0 without any."""
        if not self.of_sequences:
            return 0.0
        return float(torch.cat([one.entropies for one in self.of_sequences]).mean())
