"""The learner of one rank: policy, optimizer, and the MicroCoder-GRPO update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from learner.batch_checks import check_logprobs_finite, check_token_ids
from learner.collective_errors import raise_on_all_ranks
from learner.mismatch import mismatch_statistics
from learner.model_loading import PolicySettings, load_policy
from learner.objective import LossSums, Objective, build_loss_tokens, concatenate_loss_tokens, policy_loss
from learner.optimizer import Decay, GuardedOptimizer, NonFiniteGradient, group_parameters, learning_rate_factor
from learner.packing import pack, plan_micro_batches
from learner.policy import Policy, attention_work, set_gradient_sync
from learner.rollout import CompletionId, TrainBatch, TrainSequence
from learner.skipped_batch import format_names, write_skipped_batch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerSettings:
    """Settings of one learner rank; each value is documented in the configuration."""

    model_path: str
    attention: str
    compute_dtype: str
    device: str
    learning_rate: float
    warmup_updates: int
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
    compile_layers: bool
    objective: Objective
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateMetrics:
    """Metrics of one training step; ``launch.training.metrics`` maps the field names to metric keys.

    A mean over no values is 0. If ``skipped_updates`` is not 0, a gradient was not finite, and the other values may be
    non-finite as well.

    Attributes:
        pg_loss: mean over mini-batches of the aggregated policy-gradient loss.
        kl_loss: mean over mini-batches of the aggregated KL estimate, without its weight.
        clipfrac_higher: share of the tokens with an advantage other than 0 that are clipped at 1 + eps_high.
        clipfrac_lower: share of these tokens that are clipped at 1 - eps.
        clipfrac_dual: share of these tokens that are clipped by dual clip.
        ppo_kl: mean of old minus current log-prob over these tokens.
        entropy: mean entropy of the old policy over all response tokens, in nats.
        grad_norm: mean gradient norm before clipping over the updates made; NaN if all updates were skipped.
        learning_rate: learning rate of the step's first update.
        mismatch_kl: as in ``learner.mismatch.MismatchStatistics``, like the next two.
        mismatch_ratio_max: largest pi_old / pi_sampler.
        mismatch_non_finite: number of tokens whose sampler log-prob is not finite.
        updates: number of optimizer updates made; 0 for a batch without sequences.
        skipped_updates: number of updates skipped because their gradient was not finite.
        updates_without_advantage: number of mini-batches that made no update because all their advantages are 0.
        old_logprob_seconds: seconds before the first update, for old and reference log-probs.
        update_seconds: seconds of the updates.
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
    updates_without_advantage: int
    old_logprob_seconds: float
    update_seconds: float


@dataclass(frozen=True, eq=False)
class UpdateResult:
    """Result of one training step.

    Attributes:
        metrics: metrics of the step, equal on all ranks.
        old_logprobs: old log-probs [R] float32 of the response tokens of each sequence that has an id; empty on all
            ranks but 0.
    """

    metrics: UpdateMetrics
    old_logprobs: Mapping[CompletionId, np.ndarray]


class Learner:
    """Policy and optimizer of one rank; requires an initialised torch.distributed process group.

    Every public method is collective: all ranks must call it with the same arguments.
    """

    def __init__(
        self, settings: LearnerSettings, load: Callable[[PolicySettings, DeviceMesh], Policy] = load_policy
    ) -> None:
        """Load the policy with ``load``, which takes the place of a checkpoint where there is none."""
        self.settings = settings
        self.load = load
        self.rank = dist.get_rank()
        self.ranks = dist.get_world_size()
        self.device = torch.device(settings.device)
        torch.manual_seed(settings.seed)
        mesh = DeviceMesh(self.device.type, list(range(self.ranks)))
        self.policy = self._load_policy(mesh, settings.activation_checkpointing)
        self.reference = self._load_reference(mesh) if settings.objective.kl_weight > 0 else None
        self.attention_work = attention_work(self.policy)
        self.optimizer = torch.optim.AdamW(
            group_parameters(self.policy, settings.weight_decay),
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=self.device.type == "cuda",
        )
        self.guarded_optimizer = GuardedOptimizer(self.optimizer, settings.grad_clip, self._learning_rate)
        self.prepared: dict[CompletionId | None, SequenceLogprobs] = {}

    def _learning_rate(self, update: int) -> float:
        settings = self.settings
        factor = learning_rate_factor(update, settings.warmup_updates, settings.total_updates, settings.decay)
        return settings.learning_rate * factor

    def _load_policy(self, mesh: DeviceMesh, checkpoint_activations: bool) -> Policy:
        """Load the policy at ``model_path``, also on resume, and shard it."""
        settings = self.settings
        return self.load(
            PolicySettings(
                path=Path(settings.model_path),
                attention=settings.attention,
                device=self.device,
                compute_dtype=DTYPES[settings.compute_dtype],
                checkpoint_activations=checkpoint_activations,
                compile_layers=settings.compile_layers,
            ),
            mesh,
        )

    def _load_reference(self, mesh: DeviceMesh) -> Policy:
        """Load the frozen reference policy."""
        reference = self._load_policy(mesh, checkpoint_activations=False)
        reference.eval().requires_grad_(False)
        return reference

    def prepare(self, sequences: Sequence[TrainSequence]) -> float:
        """Cache the old log-probs of completions for ``update``; return the seconds it took.

        A step's completions may come in several calls; ``update`` uses and clears what they cached. They need no
        verdict yet: advantages are not used. Raises BadBatch on every rank.
        """
        started = time.monotonic()
        check_token_ids(sequences, self.policy.model.get_input_embeddings().num_embeddings)
        computed = self.compute_logprobs(sequences).sequences
        self.prepared |= {
            sequence.id: policy for sequence, policy in zip(sequences, computed, strict=True) if sequence.id is not None
        }
        return time.monotonic() - started

    def _old_policy(self, sequences: Sequence[TrainSequence]) -> PolicyLogprobs:
        """Old log-probs: cached by ``prepare``, otherwise computed. Clears the cache: the update changes the policy."""
        prepared = dict(self.prepared)
        self.prepared.clear()
        missing = [sequence for sequence in sequences if sequence.id not in prepared]
        computed = iter(self.compute_logprobs(missing).sequences)
        return PolicyLogprobs(
            [next(computed) if sequence.id not in prepared else prepared[sequence.id] for sequence in sequences]
        )

    def update(self, batch: TrainBatch) -> UpdateResult:
        """Make one training step: old log-probs unless ``prepare`` cached them, then one update per mini-batch.

        Raises:
            BadBatch: on every rank and before any update, if a sequence cannot be trained on.
            NonFiniteGradient: on every rank, after ``max_skipped_updates`` skipped updates in a row.
        """
        started = time.monotonic()
        sequences = [sequence for mini_batch in batch.mini_batches for sequence in mini_batch]
        check_token_ids(sequences, self.policy.model.get_input_embeddings().num_embeddings)
        old = self._old_policy(sequences)
        check_logprobs_finite(sequences, old.logprobs, "learner's policy")
        reference = self._reference_logprobs(sequences)
        mismatch = mismatch_statistics(
            old.logprobs, [torch.from_numpy(sequence.sampler_logprobs) for sequence in sequences]
        )
        old_done = time.monotonic()
        learning_rate = self.guarded_optimizer.learning_rate
        totals = torch.zeros(len(fields(LossSums)), dtype=torch.float64)
        norms = []
        offset = 0
        for mini_batch in batch.mini_batches:
            part = slice(offset, offset + len(mini_batch))
            if reference is None and all(sequence.advantage == 0.0 for sequence in mini_batch):
                offset += len(mini_batch)  # its gradient is zero, but AdamW's moments would still change the weights
                continue
            sums, norm = self._update_mini_batch(mini_batch, old.logprobs[part], reference and reference[part])
            totals += sums
            norms.append(norm)
            offset += len(mini_batch)
        active_tokens, pg_loss, kl_loss, clipped_high, clipped_low, clipped_dual, ppo_kl = totals.tolist()
        mini_batches = max(1, len(norms))
        tokens = max(1.0, active_tokens)
        made = sum(map(math.isfinite, norms))
        metrics = UpdateMetrics(
            pg_loss=pg_loss / mini_batches,
            kl_loss=kl_loss / mini_batches,
            clipfrac_higher=clipped_high / tokens,
            clipfrac_lower=clipped_low / tokens,
            clipfrac_dual=clipped_dual / tokens,
            ppo_kl=ppo_kl / tokens,
            entropy=old.entropy,
            grad_norm=mean_grad_norm(norms),
            learning_rate=learning_rate,
            mismatch_kl=mismatch.kl,
            mismatch_ratio_max=mismatch.ratio_max,
            mismatch_non_finite=mismatch.non_finite,
            updates=made,
            skipped_updates=len(norms) - made,
            updates_without_advantage=len(batch.mini_batches) - len(norms),
            old_logprob_seconds=old_done - started,
            update_seconds=time.monotonic() - old_done,
        )
        return UpdateResult(metrics, map_logprobs(sequences, old) if self.rank == 0 else {})

    def _reference_logprobs(self, sequences: Sequence[TrainSequence]) -> list[Tensor] | None:
        """Compute log-probs [R_i] of each sequence under the reference policy; None without a KL penalty."""
        if self.reference is None:
            return None
        logprobs = self.compute_logprobs(sequences, self.reference).logprobs
        check_logprobs_finite(sequences, logprobs, "reference policy")
        return logprobs

    def compute_logprobs(self, sequences: Sequence[TrainSequence], policy: Policy | None = None) -> PolicyLogprobs:
        """Compute log-probs and entropies of the response tokens, each sequence at its own temperature.

        Each rank runs its share of the sequences; an all-reduce then gives every rank the values of all sequences.

        Args:
            sequences: sequences of any lengths; their advantages are not used.
            policy: policy to evaluate; the current one if None.
        """
        if not sequences:
            return PolicyLogprobs([])
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
        return PolicyLogprobs([SequenceLogprobs(*values) for values in flat.split(counts, dim=1)])

    def _plan(self, sequences: Sequence[TrainSequence]) -> list[list[int]]:
        """Plan this rank's micro-batches, as lists of indices into ``sequences``."""
        lengths = [len(sequence.token_ids) for sequence in sequences]
        return plan_micro_batches(lengths, self.ranks, self.settings.micro_batch_tokens, self.attention_work)[self.rank]

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        if self.ranks == 1:
            return values
        on_device = values.to(self.device)
        dist.all_reduce(on_device)
        return on_device.cpu()

    def _update_mini_batch(
        self, mini_batch: Sequence[TrainSequence], old: Sequence[Tensor], reference: Sequence[Tensor] | None
    ) -> tuple[Tensor, float]:
        """Make one optimizer update, skipped if the gradient is not finite; return ``LossSums`` and the gradient norm.

        Arguments and sums are those of ``accumulate_gradients``.
        """
        sums = self.accumulate_gradients(mini_batch, old, reference)
        norm = self.guarded_optimizer.step()
        if self.guarded_optimizer.counters.skipped_in_a_row >= self.settings.max_skipped_updates:
            self._stop_training(mini_batch, old, norm)
        return sums, norm

    def _stop_training(self, mini_batch: Sequence[TrainSequence], old: Sequence[Tensor], norm: float) -> NoReturn:
        """Save the mini-batch whose gradient was not finite. Raises NonFiniteGradient on every rank."""
        counters = self.guarded_optimizer.counters
        path = Path(self.settings.skipped_folder, f"update_{counters.made:06d}.parquet")
        message = (
            f"the gradient was not finite (norm {norm}) in {counters.skipped_in_a_row} updates in a row "
            f"(learner.max_skipped_updates); completions of the last mini-batch: {format_names(mini_batch)}"
        )
        with raise_on_all_ranks(f"{message}, which cannot be saved to {path}", NonFiniteGradient):
            if self.rank == 0:
                write_skipped_batch(path, mini_batch, old)
        raise NonFiniteGradient(f"{message}, saved in {path}")

    def accumulate_gradients(
        self, mini_batch: Sequence[TrainSequence], old: Sequence[Tensor], reference: Sequence[Tensor] | None
    ) -> Tensor:
        """Run forward and backward passes of a mini-batch's loss, adding to the gradients.

        Sequences with advantage 0 count in the loss's weights. Without a KL penalty their gradient is exactly zero, so
        they are not run through the model.

        Args:
            mini_batch: all sequences of the mini-batch.
            old: log-probs [R_i] of each sequence under the old policy, on the CPU.
            reference: log-probs [R_i] of each sequence under the reference policy, on the CPU; None without a KL
                penalty.

        Returns:
            The fields of ``LossSums`` in their order, summed over all ranks, [7] float64.
        """
        objective = self.settings.objective
        tokens = build_loss_tokens(mini_batch, old, reference, objective)
        needed = [
            index for index, sequence in enumerate(mini_batch) if sequence.advantage != 0.0 or reference is not None
        ] or [0]
        chosen = [mini_batch[index] for index in needed]
        totals = torch.zeros(len(fields(LossSums)), dtype=torch.float64)
        plan = self._plan(chosen)
        for number, indices in enumerate(plan, 1):
            set_gradient_sync(self.policy, self.settings.sync_every_micro_batch or number == len(plan))
            micro = pack(chosen, indices, self.device)
            logprobs, _ = self.policy(micro)
            if not indices:  # a placeholder that keeps this rank in step with the others
                (0.0 * logprobs.sum()).backward()
                continue
            micro_tokens = concatenate_loss_tokens([tokens[needed[index]] for index in indices]).to(self.device)
            loss, sums = policy_loss(logprobs, micro_tokens, objective)
            # FSDP averages gradients over ranks, but the loss is a sum over ranks.
            (loss * self.ranks).backward()
            totals += torch.stack([value.cpu() for value in astuple(sums)])
        return self._sum_over_ranks(totals)


def map_logprobs(sequences: Sequence[TrainSequence], policy: PolicyLogprobs) -> dict[CompletionId, np.ndarray]:
    """Map the ids of sequences to their log-probs [R] float32; sequences without an id are left out."""
    return {
        sequence.id: logprobs.numpy()
        for sequence, logprobs in zip(sequences, policy.logprobs, strict=True)
        if sequence.id is not None
    }


def mean_grad_norm(norms: Sequence[float]) -> float:
    """Mean gradient norm over the updates made; 0 without mini-batches, NaN if every update was skipped."""
    made = [norm for norm in norms if math.isfinite(norm)]
    if not norms:
        return 0.0
    return sum(made) / len(made) if made else math.nan


@dataclass(frozen=True)
class SequenceLogprobs:
    """A policy's log-probs and entropies [R] float32 at a sequence's response tokens."""

    logprobs: Tensor
    entropies: Tensor


@dataclass(frozen=True)
class PolicyLogprobs:
    """Log-probs and entropies of a policy at the response tokens of sequences, in their order."""

    sequences: list[SequenceLogprobs]

    @property
    def logprobs(self) -> list[Tensor]:
        """Log-probs [R_i] float32 of each sequence."""
        return [sequence.logprobs for sequence in self.sequences]

    @property
    def entropy(self) -> float:
        """Mean entropy over all response tokens; 0 if there are none."""
        if not self.sequences:
            return 0.0
        return float(torch.cat([sequence.entropies for sequence in self.sequences]).mean())
