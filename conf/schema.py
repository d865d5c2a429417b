"""The schema of every configuration: frozen dataclasses with a docstring per key, the types and ranges of the values.

The defaults stand in ``conf/config.yaml``; ``conf.validation`` turns what Hydra composes into these dataclasses.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from evaluator.errors import UserError

# Strict: "12" is not a number and true is not 1; whole numbers are taken where a float is asked for.
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]
OpenShare = Annotated[float, Field(gt=0, lt=1, strict=True)]
TopP = Annotated[float, Field(gt=0, le=1, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Device = Literal["auto", "cpu", "cuda"]


def _iso_day(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("not a day such as 2025-01-31") from None


def _path(value: Any) -> Any:
    if value is None:
        raise ValueError("missing: name a directory")
    return value


def _checkpoint_choice(value: Any) -> Any:
    if value in ("best", "last") or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError("not best, last or the number of a step")


Directory = Annotated[str, BeforeValidator(_path)]
CheckpointChoice = Annotated[int | str, BeforeValidator(_checkpoint_choice)]
IsoDay = Annotated[str, Field(strict=True), AfterValidator(_iso_day)]

CHECKED = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ConfigError(UserError, ValueError):
    """The configuration is invalid; the message has one line per problem, each with the key's path."""


@dataclass(frozen=True, config=CHECKED)
class RunConfig:
    name: str
    """Name of the run; its directory is ``<root>/<name>``."""
    seed: NonNegativeInt
    """Seeds data order, masks, engine and learner."""
    steps: PositiveInt
    """Training steps; one step samples ``algorithm.train_batch_size`` groups."""
    root: str
    """Directory that holds run directories."""
    resume: Switch
    """Go on from the last complete checkpoint of the run directory; without it a used directory is refused."""
    checkpoint_every: PositiveInt
    """Steps between checkpoints; the last step makes one, and so does every step that an evaluation follows."""
    keep_checkpoints: PositiveInt
    """How many checkpoints to keep; older ones are deleted, but for the best in the run's evaluations."""
    deterministic: Switch
    """Draw all random numbers as functions of ``seed`` and step, and let no timing decide: a run that was killed and
    resumed then equals one that was not, bit for bit. On-policy only."""
    tensorboard: Switch
    """Also write TensorBoard event files into the run directory."""


@dataclass(frozen=True, config=CHECKED)
class ModelConfig:
    path: str
    """A local Hugging Face checkpoint, a hub id, or ``starter`` (built on first use by launch.warm_start)."""
    parameters_m: PositiveFloat
    """Millions of parameters, for the placement plan of a dry run where the checkpoint is not on this machine."""
    attention: Literal["auto", "flash_attention_2", "sdpa"]
    """Learner's attention; ``auto`` takes flash-attn where it imports and the device is CUDA, else sdpa."""
    dtype: Literal["float32", "bfloat16"]
    """Compute dtype of learner and generators; master weights, gradients and the optimizer stay float32."""


@dataclass(frozen=True, config=CHECKED)
class DatasetConfig:
    name: Literal["starter", "lcb_v6", "livecodebench", "humaneval", "mbpp"] | None
    """``starter``: built-in problems, a training and a held-out split. To evaluate on LiveCodeBench: ``lcb_v6`` (its
    last increment) or ``livecodebench`` (its ``release``); on others: ``humaneval``, ``mbpp``. Null: files only."""
    path: str | None
    """Problems to train on: JSONL, JSONL.gz or Parquet in the format of docs/formats.md; wins over ``name``."""
    held_out_path: str | None
    """Problems to evaluate on; null takes those of ``name``, a benchmark's from the hub. With a benchmark, a copy of
    it: a file as published, or, of LiveCodeBench, also a directory with its files."""
    release: Literal["release_v1", "release_v2", "release_v3", "release_v4", "release_v5", "release_v6"] | None
    """The release of ``livecodebench``; null takes every row of ``held_out_path``."""
    start_date: IsoDay | None
    """Evaluate on LiveCodeBench's problems from this day on (YYYY-MM-DD)."""
    end_date: IsoDay | None
    """Evaluate on LiveCodeBench's problems up to this day, included."""
    allow_overlap: Switch
    """Train also on problems that are in the evaluation set, resemble one, or are dated inside its window."""
    prompt: Literal["training", "livecodebench"] | None
    """How problems are put to the model: in this project's words, or in those of LiveCodeBench for chat models. Null:
    in the latter where ``name`` is LiveCodeBench."""
    strict: Switch
    """A malformed row, or a problem too long to evaluate on, ends the run instead of being reported and skipped."""


@dataclass(frozen=True, config=CHECKED)
class GeneratorConfig:
    actors: PositiveInt
    """Number of vLLM engines."""
    device: Device
    """Where the engines run; ``auto`` is CUDA where the cluster has a GPU."""
    tensor_parallel: PositiveInt
    """GPUs per engine (1 on CPU)."""
    max_prompt_tokens: PositiveInt
    """Longest prompt; problems with longer ones are left out and counted."""
    max_response_tokens: PositiveInt
    """L_max of the truncation mask: generation stops here with finish reason ``length``."""
    max_sequences: PositiveInt
    """Sequences decoded at once by one engine."""
    kv_cache_gib: PositiveFloat
    """KV cache per engine on CPU."""
    gpu_memory_fraction: Probability
    """Share of each GPU's memory vLLM may take."""
    cpus: PositiveFloat
    """Ray CPUs reserved per engine."""
    threads: PositiveInt
    """OpenMP threads of an engine on CPU."""
    start_deadline_s: PositiveFloat
    """Seconds an engine may take to start."""
    deadline_s: PositiveFloat
    """Seconds a step's generation, with its scoring, may take; groups that are not ready by then are left out."""
    partial_rollouts: Switch
    """Let completions in flight go on under new weights; else they are waited for before each publication. Matters
    with ``algorithm.max_staleness`` >= 1 only."""
    endpoint: str | None
    """launch.evaluate only: URL (ending in /v1) of an OpenAI-compatible server to ask for ``model.path`` instead."""
    api_key_env: str | None
    """Name of the environment variable that holds the server's key; null for a server that wants none."""
    requests_per_minute: PositiveFloat | None
    """Most requests a minute to the server; null asks as fast as ``max_sequences`` requests at once are answered."""
    retries: NonNegativeInt
    """How often a request that the server refused, dropped or let time out is tried again, each time later."""
    request_timeout_s: PositiveFloat
    """Seconds the server may take for one answer."""


@dataclass(frozen=True, config=CHECKED)
class EvaluatorConfig:
    min_actors: PositiveInt
    """Fewest evaluator actors; equal to ``max_actors`` for a fixed pool."""
    max_actors: PositiveInt
    """Most evaluator actors: the pool grows while work waits. Each takes 1 of the Ray resource ``evaluator``."""
    workers: PositiveInt
    """Sandboxes (programs at once) per actor."""
    cpus: NonNegativeFloat
    """Ray CPUs reserved per actor."""
    wall_s: PositiveFloat
    """Wall seconds per test; a problem's own limit wins where it is lower."""
    cpu_s: PositiveFloat
    """CPU seconds per test."""
    memory_mb: PositiveInt
    """Memory per program, MiB."""
    budget_s: PositiveFloat
    """Wall seconds for all tests of a program together."""
    policy: Literal["judge", "paper"]
    """``judge`` compares as the problem's own judge; ``paper`` also by the looser conversions of arXiv 2603.07777."""
    adaptive_timeout: bool
    """Once a problem has been solved, its limit becomes max(1 s, 10 x the slowest accepted test)."""
    strict: bool
    """Refuse to run where the host lacks one of the sandbox's fences."""


@dataclass(frozen=True, config=CHECKED)
class LearnerConfig:
    ranks: PositiveInt
    """FSDP2 ranks; one Ray actor each."""
    device: Device
    """Where the ranks run; ``auto`` is CUDA (NCCL) where the cluster has a GPU, else CPU (gloo)."""
    learning_rate: PositiveFloat
    """AdamW learning rate after warm-up."""
    warmup_steps: NonNegativeInt
    """Optimizer updates of linear warm-up."""
    decay: Literal["constant", "cosine", "linear"]
    """Learning rate after warm-up; the last two fall to 0 over the run's ``run.steps``, resumed or not."""
    betas: Annotated[list[Probability], Field(min_length=2, max_length=2)]
    """AdamW betas."""
    weight_decay: NonNegativeFloat
    """AdamW weight decay, of matrices; norms and biases have none."""
    grad_clip: PositiveFloat
    """Largest global gradient norm."""
    max_skipped_updates: PositiveInt
    """An update whose gradient is not finite is skipped; after so many in a row the run stops."""
    micro_batch_tokens: PositiveInt
    """Tokens in one forward pass of one rank: prompts and responses, nothing is padded."""
    sync_every_micro_batch: Switch
    """Reduce gradients over ranks after each micro-batch; else once per update, which holds 4 bytes a parameter on
    every rank meanwhile: for a slow network between ranks."""
    activation_checkpointing: Switch
    """Recompute layer activations in the backward pass."""
    cpus: PositiveFloat
    """Ray CPUs reserved per rank."""
    threads: PositiveInt
    """Torch threads of a rank on CPU."""
    start_deadline_s: PositiveFloat
    """Seconds the group may take to load the model."""
    deadline_s: PositiveFloat
    """Seconds an update or a checkpoint may take."""


@dataclass(frozen=True, config=CHECKED)
class AlgorithmConfig:
    group_size: Annotated[int, Field(ge=2, strict=True)]
    """G: completions per problem."""
    train_batch_size: PositiveInt
    """Problems sampled per step."""
    mini_batch_size: PositiveInt
    """Problems per optimizer update; must divide ``train_batch_size``."""
    max_staleness: NonNegativeInt
    """Policy versions between sampling and training, at most. 0: on-policy, sampling and learning take turns; 1: the
    next step is sampled while the learner works."""
    clip_low: Probability
    """eps: the importance ratio is clipped below at 1 - eps."""
    clip_high: PositiveFloat
    """eps_high: the importance ratio is clipped above at 1 + eps_high."""
    dual_clip: Annotated[float, Field(gt=1, strict=True, allow_inf_nan=False)] | None
    """c of the dual clip: a token with a negative advantage A counts at most c * |A|; null switches it off."""
    aggregation: Literal["token_mean", "sequence_mean", "constant"]
    """Mean over all tokens of a mini-batch, mean over sequences of each one's token mean (GRPO), or the sum divided
    by sequences x ``generator.max_response_tokens`` (Dr. GRPO)."""
    kl_weight: NonNegativeFloat
    """beta0: weight of the KL penalty against the initial policy, which is loaded only where this is positive."""
    advantage: Literal["standardised", "centred", "leave_one_out"]
    """Rewards less the group's mean, over its std (GRPO); not divided (Dr. GRPO); less the others' mean (RLOO)."""
    overlong_penalty: NonNegativeFloat
    """Most that the reward falls by as a response nears the length limit (DAPO); 0 switches the penalty off."""
    overlong_cache: Probability
    """Last share of ``generator.max_response_tokens`` over which ``overlong_penalty`` grows to its full size."""
    dynamic_sampling_rounds: NonNegativeInt
    """Most rounds of further sampling in a step, until ``train_batch_size`` groups have both rewards; only those are
    trained (DAPO). 0 trains on every group."""
    truncation_mask: Literal["none", "failing", "all", "conditional"]
    """Truncated outputs whose advantage becomes 0: none, those of reward 0 (DeepCoder), all, or by the paper's rule."""
    mask_probability: Probability
    """rho of the conditional truncation mask."""
    repeat_window: PositiveInt
    """m of the repeat test: the last m tokens equal the m before them."""
    mismatch_cap: NonNegativeFloat
    """Cap of the truncated importance weight between sampler and learner; 0 switches it off (weight 1)."""


@dataclass(frozen=True, config=CHECKED)
class TemperatureConfig:
    kind: Literal["fixed", "schedule", "diversity"]
    """``fixed``: ``value``. ``schedule``: ``value``, then the changes of ``schedule``. ``diversity``: calibrated before
    step 0 on ``grid``, then raised along it in stages when diversity falls."""
    value: PositiveFloat
    """The sampling temperature, at which log-probs and ratios are taken too; calibration replaces it."""
    schedule: list[tuple[PositiveInt, PositiveFloat]]
    """Changes as [step, temperature] pairs: [[140, 1.2]] samples from step 140 on at 1.2."""
    grid: Annotated[list[PositiveFloat], Field(min_length=2)]
    """Temperatures that calibration measures and that the stages may take, ascending."""
    highest: PositiveFloat
    """No temperature of the run may be above this."""
    target_diversity: OpenShare
    """Calibration takes the smallest temperature with at least this share of distinct 4-grams. Comparable only at
    equal group size and similar lengths of the responses: each experiment has its own."""
    min_diversity: OpenShare
    """A stage ends also when the average diversity is under this; below ``target_diversity``."""
    calibration_prompts: PositiveInt
    """Problems sampled, ``algorithm.group_size`` times each, at every temperature of the grid."""


@dataclass(frozen=True, config=CHECKED)
class EvaluationConfig:
    samples: NonNegativeInt
    """Answers per problem; 0 skips the evaluation."""
    temperature: PositiveFloat
    """Sampling temperature of the evaluation."""
    top_p: TopP
    """Nucleus of the evaluation: sample from the likeliest tokens that have this probability together."""
    max_response_tokens: PositiveInt | None
    """Longest answer of the evaluation; null takes ``generator.max_response_tokens``."""
    every: NonNegativeInt
    """Training steps between evaluations; 0 evaluates before the first and after the last step only."""
    deadline_s: PositiveFloat
    """Seconds one evaluation may take."""


@dataclass(frozen=True, config=CHECKED)
class ClusterConfig:
    address: str | None
    """Address of a running Ray cluster (``auto``, HOST:PORT); null starts a local one that ends with the driver."""
    placement_deadline_s: PositiveFloat
    """Seconds a running cluster may take to have room for all engines and learner ranks at once."""
    num_cpus: PositiveInt | None
    """Ray CPUs of a local cluster; null takes what the machine has."""
    object_store_mb: PositiveInt
    """Object store of a local cluster, MiB."""


@dataclass(frozen=True, config=CHECKED)
class WeightTransferConfig:
    backend: Literal["auto", "shared_memory", "gloo", "nccl"]
    """The transport; ``auto``: NCCL between GPUs, shared memory on the CPU of one node, else gloo."""
    bucket_mb: PositiveInt
    """MiB sent at once; sender and receiver have three such buffers each, or share them."""
    checksum: Switch
    """Check every bucket's bytes (not with nccl)."""
    deadline_s: PositiveFloat
    """Seconds until a generator that does not take new weights is left out."""


@dataclass(frozen=True, config=CHECKED)
class Config:
    """Everything a run depends on. Keys that can't go together are refused by ``conf.validation.parse_config``."""

    run: RunConfig
    model: ModelConfig
    dataset: DatasetConfig
    generator: GeneratorConfig
    evaluator: EvaluatorConfig
    learner: LearnerConfig
    algorithm: AlgorithmConfig
    temperature: TemperatureConfig
    evaluation: EvaluationConfig
    weight_transfer: WeightTransferConfig
    cluster: ClusterConfig
    dry_run: Switch
    """Print the resolved configuration and the placement plan, start nothing."""

    @property
    def answer_tokens(self) -> int:
        """Longest answer of an evaluation."""
        return self.evaluation.max_response_tokens or self.generator.max_response_tokens

    @property
    def total_updates(self) -> int:
        """Optimizer updates of the whole run."""
        return self.run.steps * (self.algorithm.train_batch_size // self.algorithm.mini_batch_size)


@dataclass(frozen=True, config=CHECKED)
class WarmStartConfig:
    """Settings of ``launch.warm_start``."""

    model: str | None
    """A local Hugging Face checkpoint to go on from; null trains a tokenizer and a small model from nothing."""
    problems: str | None
    """Problems (JSONL, JSONL.gz or Parquet); null takes the starter problems' training families."""
    solutions: str | None
    """Solutions to them: JSONL of ``{"question_id", "code_list"}``."""
    output: str
    """Where the checkpoint goes; the starter policy goes to its cache instead."""
    pairs: PositiveInt
    """Starter pairs to draw."""
    mistakes: Probability
    """Share of the starter pairs that get the program of another variant of the same family."""
    vocabulary: PositiveInt
    """Largest vocabulary of a tokenizer trained from nothing."""
    steps: PositiveInt
    """AdamW updates."""
    decay_steps: PositiveInt
    """Updates after which the cosine schedule would reach zero; at least ``steps``."""
    short_steps: NonNegativeInt
    """First updates that draw from the shortest quarter of the sequences: copying is learned sooner on them."""
    batch_size: PositiveInt
    """Sequences per update."""
    learning_rate: PositiveFloat
    """Peak learning rate."""
    threads: PositiveInt
    """Torch threads."""
    seed: NonNegativeInt
    """Seeds initial weights, order and the choice of pairs."""


@dataclass(frozen=True, config=CHECKED)
class ExportConfig:
    """Settings of ``launch.export``."""

    run: Directory
    """The run directory."""
    step: CheckpointChoice
    """Which checkpoint: a step, ``last``, or ``best`` (by pass@1 in the run's own evaluations)."""
    output: Directory
    """Where the model goes."""
    dtype: Literal["float32", "bfloat16"] | None
    """Of the written weights; null takes the run's ``model.dtype``, in which its engines sampled."""
    overwrite: Switch
    """Replace a model that an export has written to ``output``."""


@dataclass(frozen=True, config=CHECKED)
class ScaleConfig:
    """Settings of ``launch.scale``."""

    run: Directory
    """The run: its directory, or its name if that is in ``runs/``."""
    evaluators: PositiveInt
    """How many evaluator actors it is to have."""
    deadline_s: PositiveFloat
    """Seconds to wait until it has them."""
