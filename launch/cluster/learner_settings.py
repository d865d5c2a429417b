"""Settings of the learner, built from the configuration. This module imports neither Ray nor vLLM."""

from __future__ import annotations

from pathlib import Path

from conf.schema import Config
from learner.clipped_surrogate import Clip
from learner.learner import LearnerSettings
from learner.objective import Objective


def make_objective(config: Config) -> Objective:
    """Build the training objective from the configuration."""
    algorithm = config.algorithm
    return Objective(
        aggregation=algorithm.aggregation,
        clip=Clip(algorithm.clip_low, algorithm.clip_high, algorithm.dual_clip),
        kl_weight=algorithm.kl_weight,
        mismatch_cap=algorithm.mismatch_cap,
        max_response_tokens=config.generator.max_response_tokens,
    )


def make_learner_settings(config: Config, model: Path) -> LearnerSettings:
    """Build the settings that all learner ranks share; ``model`` is the checkpoint that training starts from."""
    learner = config.learner
    return LearnerSettings(
        model_path=str(model),
        attention=config.model.attention,
        compute_dtype=config.model.dtype,
        device=learner.device,
        learning_rate=learner.learning_rate,
        warmup_updates=learner.warmup_steps * config.updates_per_step,
        decay=learner.decay,
        total_updates=config.total_updates,
        max_skipped_updates=learner.max_skipped_updates,
        skipped_folder=str(Path(config.run.root, config.run.name, "skipped_updates").absolute()),
        betas=(learner.betas[0], learner.betas[1]),
        weight_decay=learner.weight_decay,
        grad_clip=learner.grad_clip,
        micro_batch_tokens=learner.micro_batch_tokens,
        sync_every_micro_batch=learner.sync_every_micro_batch,
        activation_checkpointing=learner.activation_checkpointing,
        compile_layers=learner.compile,
        objective=make_objective(config),
        seed=config.run.seed,
    )
