"""The arms of the ablation, each with what the paper predicts for it.

The predictions were committed before the first run. An arm is compared with ``method``, MicroCoder-GRPO with the
settings of ``BASE``; the prediction is about the difference in pass@1 at the low temperature after training, where a
policy that only became sharper shows no gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Prediction = Literal["lower", "higher", "none"]
"""Predicted sign of the arm's difference from the method; ``none`` if the paper makes no claim."""

SEEDS = (0, 1, 2)
LOW_TEMPERATURE = 0.3
EVALUATION_EVERY = 60

BASE = (
    "+experiment=quickstart",
    "run.steps=120",
    "algorithm.train_batch_size=8",
    "algorithm.mini_batch_size=2",
    f"evaluation.other_temperatures=[{LOW_TEMPERATURE}]",
    f"evaluation.every={EVALUATION_EVERY}",
    "run.tensorboard=false",
    "run.keep_checkpoints=1",
    "run.checkpoint_every=20",
)
"""Settings of every arm, as overrides of the driver."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A variant of the method.

    Attributes:
        name: name of the arm.
        overrides: settings that differ from the method, as overrides of the driver.
        prediction: sign of the difference from the method that the paper predicts.
        reason: the paper's claim that the prediction follows from.
    """

    name: str
    overrides: tuple[str, ...]
    prediction: Prediction
    reason: str


METHOD = Arm(name="method", overrides=(), prediction="none", reason="the method itself")

ARMS = (
    METHOD,
    Arm(
        name="mask_none",
        overrides=("algorithm.truncation_mask=none",),
        prediction="lower",
        reason="without a mask, training stalls (arXiv 2603.07777, section 2.2)",
    ),
    Arm(
        name="mask_failing",
        overrides=("algorithm.truncation_mask=failing",),
        prediction="lower",
        reason="the conditional mask is the most stable one",
    ),
    Arm(
        name="mask_all",
        overrides=("algorithm.truncation_mask=all",),
        prediction="lower",
        reason="masking all truncated outputs rises fast, then collapses",
    ),
    Arm(
        name="kl_0.04",
        overrides=("algorithm.kl_weight=0.04",),
        prediction="lower",
        reason="gains are sustained without a KL penalty",
    ),
    Arm(
        name="clip_0.2",
        overrides=("algorithm.clip_high=0.2",),
        prediction="lower",
        reason="gains are sustained with a high upper clip",
    ),
    Arm(
        name="temperature_0.6",
        overrides=("temperature.kind=fixed", "temperature.value=0.6"),
        prediction="lower",
        reason="at a fixed temperature of 0.6, diversity falls and training can fail",
    ),
    Arm(
        name="temperature_1.0",
        overrides=("temperature.kind=fixed", "temperature.value=1.0"),
        prediction="lower",
        reason="the temperature should be chosen by diversity",
    ),
    Arm(
        name="grpo",
        overrides=("algorithm=grpo",),
        prediction="lower",
        reason="MicroCoder-GRPO is better than GRPO (table 1)",
    ),
    Arm(
        name="dapo",
        overrides=("algorithm=dapo",),
        prediction="lower",
        reason="MicroCoder-GRPO is better than DAPO (table 1)",
    ),
)
"""The arms of ``make ablation``."""

LONG = ("run.steps=600", "evaluation.every=120")

FURTHER_ARMS = (
    Arm(
        name="rho_0.1",
        overrides=("algorithm.mask_probability=0.1",),
        prediction="lower",
        reason="0.2 has the best long-run value of 0.1, 0.2 and 0.3",
    ),
    Arm(
        name="rho_0.3",
        overrides=("algorithm.mask_probability=0.3",),
        prediction="lower",
        reason="0.2 has the best long-run value of 0.1, 0.2 and 0.3",
    ),
    Arm(
        name="kl_0.2",
        overrides=("algorithm.kl_weight=0.2",),
        prediction="lower",
        reason="gains are sustained without a KL penalty",
    ),
    Arm(
        name="clip_0.4",
        overrides=("algorithm.clip_high=0.4",),
        prediction="none",
        reason="the paper makes no claim about an upper clip above its own",
    ),
    Arm(
        name="temperature_staged",
        overrides=("temperature.kind=schedule", "temperature.value=0.6", "temperature.schedule=[[60, 1.2]]"),
        prediction="none",
        reason="stages from low to high beat starting high; the method's temperature is neither",
    ),
    Arm(
        name="temperature_restore",
        overrides=("temperature.rule=restore",),
        prediction="none",
        reason="a rule of another recipe (POLARIS), about which the paper makes no claim",
    ),
    Arm(
        name="limit_128",
        overrides=("generator.max_response_tokens=128",),
        prediction="higher",
        reason="a longer limit raises accuracy and lengthens outputs",
    ),
    Arm(
        name="one_update",
        overrides=("algorithm.mini_batch_size=8",),
        prediction="lower",
        reason="fully on-policy training is less stable; an intermediate mini-batch is best",
    ),
    Arm(name="long_method", overrides=LONG, prediction="none", reason="the method, five times as long"),
    Arm(
        name="long_mask_none",
        overrides=(*LONG, "algorithm.truncation_mask=none"),
        prediction="lower",
        reason="without a mask, training stalls",
    ),
    Arm(
        name="long_mask_all",
        overrides=(*LONG, "algorithm.truncation_mask=all"),
        prediction="lower",
        reason="masking all truncated outputs rises fast, then collapses",
    ),
)
"""The arms that ``make ablation ARMS=all`` adds."""


def get_reference(arm: Arm) -> str:
    """Return the name of the arm that ``arm`` is compared with: the method trained for as many steps."""
    return "long_method" if arm.name.startswith("long_") else METHOD.name


def select_arms(names: str) -> tuple[Arm, ...]:
    """Return the arms of ``default``, ``all``, or a comma-separated list of names, in the order of this file.

    Raises ValueError for an unknown name.
    """
    everything = (*ARMS, *FURTHER_ARMS)
    if names in ("default", "all"):
        return ARMS if names == "default" else everything
    wanted = names.split(",")
    unknown = sorted(set(wanted) - {arm.name for arm in everything})
    if unknown:
        raise ValueError(f"no arm {', '.join(unknown)}; there are: {', '.join(arm.name for arm in everything)}")
    return tuple(arm for arm in everything if arm.name in wanted)
