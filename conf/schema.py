"""Schema of the configuration: frozen dataclasses with a docstring for each key, and types with value ranges.

Defaults are in ``conf/config.yaml``. ``conf.validation`` converts the values that Hydra composes to these dataclasses.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from evaluator.errors import UserError

# Strict: "12" is not accepted as a number, nor true as 1; an integer is accepted for a float.
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]
OpenShare = Annotated[float, Field(gt=0, lt=1, strict=True)]
TopP = Annotated[float, Field(gt=0, le=1, strict=True)]
Switch = Annotated[bool, Field(strict=True)]
Device = Literal["auto", "cpu", "cuda"]


def _validate_iso_day(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("not a date of the form 2025-01-31") from None


def _require_path(value: Any) -> Any:
    if value is None:
        raise ValueError("missing: set it to a directory")
    return value


def _validate_checkpoint_choice(value: Any) -> Any:
    if value in ("best", "last") or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError("not best, last or the number of a step")


def _make_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Directory = Annotated[str, BeforeValidator(_require_path)]
Names = Annotated[list[str], BeforeValidator(_make_list), Field(min_length=1)]
CheckpointChoice = Annotated[int | str, BeforeValidator(_validate_checkpoint_choice)]
IsoDay = Annotated[str, Field(strict=True), AfterValidator(_validate_iso_day)]

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ConfigError(UserError, ValueError):
    """The configuration is invalid. The message has one line per problem, each with the path of the key."""


@dataclass(frozen=True, config=STRICT)
class RunConfig:
    name: str
    """Name of the run; its directory is ``<root>/<name>``."""
    seed: NonNegativeInt
    """Random seed of the problem order, the truncation mask, the engines and the learner."""
    steps: PositiveInt
    """Number of training steps; each step samples completions for ``algorithm.train_batch_size`` problems."""
    root: str
    """Directory that contains the run directories."""
    resume: Switch
    """Resume from the last complete checkpoint of the run directory. If false, a directory that contains a run is an
    error."""
    checkpoint_every: PositiveInt
    """Steps between checkpoints. A checkpoint is also written after the last step and before every evaluation."""
    keep_checkpoints: PositiveInt
    """Number of newest checkpoints to keep. The best checkpoint in the run's evaluations is kept as well; all others
    are deleted."""
    deterministic: Switch
    """Make the run reproducible: all random numbers are functions of ``seed`` and the step, and no result depends on
    timing. A run that was killed and resumed then equals an uninterrupted one bit for bit. Only on-policy and on
    CPU."""
    tensorboard: Switch
    """Write TensorBoard event files into the run directory, in addition to metrics.jsonl."""


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    path: str
    """Directory of a Hugging Face checkpoint, a hub id, or ``starter`` (a small model, trained on first use as by
    launch.warm_start)."""
    parameters_m: PositiveFloat
    """Number of parameters in millions. Used to plan memory if the checkpoint is not on this machine."""
    attention: Literal["auto", "flash_attention_2", "varlen", "sdpa"]
    """Attention of the learner. ``flash_attention_2``: the package flash-attn. ``varlen``: the variable-length kernel
    of torch. ``sdpa``: torch's attention, one packed sequence at a time. ``auto``: on CUDA in bfloat16 the first of
    these that works there, otherwise sdpa."""
    thinking: Literal["template", "on", "off"]
    """Thinking mode of a chat template that has one (Qwen3's): ``template`` leaves it to the template."""
    dtype: Literal["float32", "bfloat16"]
    """Compute dtype of learner and generators. Master weights, gradients and optimizer state are always float32."""


@dataclass(frozen=True, config=STRICT)
class DatasetConfig:
    name: Literal["starter", "lcb_v6", "lcb_2024_08", "livecodebench", "humaneval", "mbpp"] | None
    """Built-in data set. ``starter``: problems to train and to evaluate on. Benchmarks to evaluate on: ``lcb_v6`` (the
    last increment of LiveCodeBench), ``lcb_2024_08`` (its 454 problems from August 2024 on), ``livecodebench`` (its
    ``release``), ``humaneval``, ``mbpp``. Null: only files."""
    path: str | None
    """File of problems to train on, in a format of docs/formats.md. Null: the problems of ``train``."""
    train: Names | None
    """Problems to train on if ``path`` is null: ``starter`` (built in), or sources of a set that is curated on first
    use and kept in ``.cache/datasets``. A source is a published set (``deepcoder``, ``taco``, ...), NAME:PATH for its
    files in a folder, or a file, as in ``sources`` of launch.curate; ``curated`` is all published sets. Null: the
    training problems of ``name``."""
    exclude: list[str]
    """Test sets that no problem of a curated set may overlap, in addition to the evaluation set: names of benchmarks,
    NAME:PATH for a local copy of a benchmark, or files of problems."""
    held_out_path: str | None
    """File of problems to evaluate on. If ``name`` is a benchmark: a local copy of it (the published file, or for
    LiveCodeBench also a directory of its files). Null: the evaluation problems of ``name``, a benchmark being
    downloaded from the hub."""
    release: Literal["release_v1", "release_v2", "release_v3", "release_v4", "release_v5", "release_v6"] | None
    """Release of ``livecodebench``; null uses every row of ``held_out_path``."""
    start_date: IsoDay | None
    """First day (YYYY-MM-DD) of the LiveCodeBench problems to evaluate on; null for no limit."""
    end_date: IsoDay | None
    """Last day (YYYY-MM-DD), inclusive, of the LiveCodeBench problems to evaluate on; null for no limit."""
    allow_overlap: Switch
    """Keep training problems that are in the evaluation set, resemble one of its problems, or are dated inside its time
    window. If false, they are dropped."""
    prompt: Literal["training", "livecodebench"] | None
    """Prompt template: this project's own, or LiveCodeBench's for chat models. Null: ``livecodebench`` if ``name`` is
    a LiveCodeBench data set, otherwise ``training``."""
    strict: Switch
    """End the run at a malformed row, a problem with a broken checker, or a problem that is too long to evaluate on. If
    false, these are reported and skipped."""


@dataclass(frozen=True, config=STRICT)
class GeneratorConfig:
    actors: PositiveInt
    """Number of vLLM engines."""
    device: Device
    """Device of the engines; ``auto`` is CUDA if the cluster has a GPU, otherwise CPU."""
    tensor_parallel: PositiveInt
    """GPUs per engine (1 on CPU)."""
    max_prompt_tokens: PositiveInt
    """Longest prompt in tokens. Problems with a longer prompt are dropped, and their number is reported."""
    max_response_tokens: PositiveInt
    """Longest response in tokens (L_max of the truncation mask). Generation stops there, with finish reason
    ``length``."""
    max_sequences: PositiveInt
    """Largest number of sequences that an engine decodes at once."""
    kv_cache_gib: PositiveFloat
    """Size of the KV cache of an engine on CPU, in GiB."""
    gpu_memory_fraction: Probability
    """Share of each GPU's memory that vLLM may use."""
    cpus: PositiveFloat
    """Ray CPUs reserved per engine."""
    threads: PositiveInt
    """OpenMP threads of an engine on CPU."""
    start_deadline_s: PositiveFloat
    """Seconds that an engine may take to start."""
    deadline_s: PositiveFloat
    """Seconds that generation and judging of a step may take. Groups that are not complete by then are dropped."""
    partial_rollouts: Switch
    """Let completions in flight continue with new weights. If false, each weight update waits for them. Only relevant
    if ``algorithm.max_staleness`` >= 1."""
    endpoint: str | None
    """URL (ending in /v1) of an OpenAI-compatible server that samples the answers of ``model.path``, instead of own
    engines. Only for launch.evaluate."""
    api_key_env: str | None
    """Name of the environment variable that contains the server's API key; null if the server needs none."""
    requests_per_minute: PositiveFloat | None
    """Largest number of requests per minute to the server; null for no limit. At most ``actors`` x ``max_sequences``
    requests are in flight at the same time."""
    retries: NonNegativeInt
    """Number of retries of a request to the server that was rejected, dropped or timed out, with increasing waits."""
    request_timeout_s: PositiveFloat
    """Seconds that the server may take for an answer."""


@dataclass(frozen=True, config=STRICT)
class EvaluatorConfig:
    min_actors: PositiveInt
    """Smallest number of evaluator actors; set it equal to ``max_actors`` for a pool of fixed size."""
    max_actors: PositiveInt
    """Largest number of evaluator actors; the pool grows while programs are waiting. Each actor takes 1 of the Ray
    resource ``evaluator``."""
    workers: PositiveInt
    """Sandboxes per actor, each of which runs one program at a time."""
    cpus: NonNegativeFloat
    """Ray CPUs reserved per actor."""
    wall_s: PositiveFloat
    """Limit of wall-clock seconds per test; a problem's own limit applies if it is lower."""
    cpu_s: PositiveFloat
    """Limit of CPU seconds per test."""
    memory_mb: PositiveInt
    """Memory limit of a program in MiB."""
    budget_s: PositiveFloat
    """Limit of wall-clock seconds for all tests of a program together."""
    policy: Literal["judge", "paper"]
    """Comparison of outputs: ``judge`` compares as the problem's own judge does; ``paper`` also accepts the looser
    conversions of arXiv 2603.07777."""
    adaptive_timeout: bool
    """Once a problem has been solved, reduce its time limit to max(1 s, 10 x the slowest accepted test)."""
    strict: bool
    """End the run if the host does not support one of the sandbox's isolation mechanisms. If false, a warning is
    printed."""


@dataclass(frozen=True, config=STRICT)
class LearnerConfig:
    ranks: PositiveInt
    """Number of FSDP2 ranks; each is a Ray actor."""
    device: Device
    """Device of the ranks; ``auto`` is CUDA (NCCL) if the cluster has a GPU, otherwise CPU (gloo)."""
    learning_rate: PositiveFloat
    """AdamW learning rate after warm-up."""
    warmup_steps: NonNegativeInt
    """Number of training steps of linear warm-up."""
    decay: Literal["constant", "cosine", "linear"]
    """Learning rate schedule after warm-up. ``cosine`` and ``linear`` decrease to 0 at step ``run.steps``, also in a
    resumed run."""
    betas: Annotated[list[Probability], Field(min_length=2, max_length=2)]
    """AdamW betas."""
    weight_decay: NonNegativeFloat
    """AdamW weight decay of matrices; norms and biases have none."""
    grad_clip: PositiveFloat
    """Largest global gradient norm; larger gradients are scaled down to it."""
    max_skipped_updates: PositiveInt
    """Number of consecutive updates with a non-finite gradient after which the run ends. Such updates are skipped."""
    micro_batch_tokens: PositiveInt
    """Largest number of tokens (prompts and responses, without padding) in a forward pass of a rank."""
    sync_every_micro_batch: Switch
    """Reduce gradients over ranks after each micro-batch. If false, reduce them once per update: faster on a slow
    network between ranks, but each rank then keeps 4 bytes per parameter during the update."""
    activation_checkpointing: Switch
    """Recompute layer activations in the backward pass, to save memory."""
    logprobs_while_sampling: Switch
    """Compute the old log-probs of a group as soon as its completions are there, while others are sampled. It hides
    that time where learner and generators do not share processors; ``run.deterministic`` computes them together."""
    compile: Switch
    """Compile the decoder layers with torch.compile. It needs a C compiler (on GPUs also Python's headers) and minutes
    in the first steps."""
    cpus: PositiveFloat
    """Ray CPUs reserved per rank."""
    threads: PositiveInt
    """Torch threads of a rank on CPU."""
    start_deadline_s: PositiveFloat
    """Seconds that the ranks may take to start and load the model."""
    deadline_s: PositiveFloat
    """Seconds that an update or a checkpoint may take."""


@dataclass(frozen=True, config=STRICT)
class AlgorithmConfig:
    reward: str
    """Reward of a completion: ``passed`` (1 if all tests passed, else 0), ``fraction`` (share of tests passed), or
    MODULE:FUNCTION, a function of your own (docs/extending.md)."""
    group_size: Annotated[int, Field(ge=2, strict=True)]
    """Completions per problem (G)."""
    train_batch_size: PositiveInt
    """Problems per step."""
    mini_batch_size: PositiveInt
    """Problems per optimizer update; must divide ``train_batch_size``."""
    max_staleness: NonNegativeInt
    """Largest number of policy versions between sampling and training. 0: on-policy, sampling and learning take turns.
    1: the completions of the next step are sampled while the learner updates."""
    clip_low: Probability
    """Lower clip range eps: the importance ratio is clipped to at least 1 - eps."""
    clip_high: PositiveFloat
    """Upper clip range eps_high: the importance ratio is clipped to at most 1 + eps_high."""
    dual_clip: Annotated[float, Field(gt=1, strict=True, allow_inf_nan=False)] | None
    """Constant c of the dual clip, which limits the loss of a token with a negative advantage A to c * |A|; null
    switches it off."""
    aggregation: Literal["token_mean", "sequence_mean", "constant"]
    """Aggregation of token losses in a mini-batch. ``token_mean``: mean over all tokens. ``sequence_mean``: mean over
    sequences of the mean over their tokens (GRPO). ``constant``: sum divided by sequences x
    ``generator.max_response_tokens`` (Dr. GRPO)."""
    kl_weight: NonNegativeFloat
    """Weight beta0 of the KL penalty against the initial policy; with 0 that policy is not loaded."""
    advantage: Literal["standardised", "centred", "leave_one_out"]
    """Advantage of a completion. ``standardised``: (reward - group mean) / group standard deviation (GRPO).
    ``centred``: reward - group mean (Dr. GRPO). ``leave_one_out``: reward - mean of the other rewards in the group
    (RLOO)."""
    overlong_penalty: NonNegativeFloat
    """Largest reduction of the reward of a response near the length limit (DAPO); 0 switches the penalty off."""
    overlong_cache: Probability
    """Share of ``generator.max_response_tokens``, at its end, over which ``overlong_penalty`` grows from 0 to its full
    value."""
    dynamic_sampling_rounds: NonNegativeInt
    """Largest number of additional sampling rounds in a step, each of as many problems as are expected to complete
    ``train_batch_size`` groups whose rewards differ; only such groups are trained on (DAPO). 0: no additional rounds,
    and all groups are trained on."""
    truncation_mask: Literal["none", "failing", "all", "conditional"]
    """Truncated completions whose advantage is set to 0: ``none``; ``failing``: those with reward 0 (DeepCoder);
    ``all``; ``conditional``: those that the rule of MicroCoder-GRPO selects (docs/method.md)."""
    mask_probability: Probability
    """Probability rho of the conditional truncation mask."""
    repeat_window: PositiveInt
    """Window m, in tokens, of the repeat test of the conditional truncation mask: a response repeats itself if its last
    m tokens equal the m tokens before them."""
    mismatch_cap: NonNegativeFloat
    """Upper bound of the truncated importance weight that corrects the mismatch between sampler and learner; 0 switches
    the correction off (weight 1)."""


@dataclass(frozen=True, config=STRICT)
class TemperatureConfig:
    kind: Literal["fixed", "schedule", "diversity"]
    """Rule that sets the sampling temperature. ``fixed``: always ``value``. ``schedule``: ``value``, then the changes
    in ``schedule``. ``diversity``: calibrated on ``grid`` before step 0, then raised to the next temperature of
    ``grid`` when the diversity of responses falls."""
    rule: Literal["drop", "restore"]
    """With ``kind: diversity``, the temperature of the next stage. ``drop``: the next one of ``grid``. ``restore``: the
    smallest one of ``grid`` at which the present policy, measured again, is as diverse as the policy of step 0."""
    value: PositiveFloat
    """Sampling temperature, at which log-probs and importance ratios are computed as well. With ``kind: diversity``,
    calibration replaces it."""
    schedule: list[tuple[PositiveInt, PositiveFloat]]
    """Changes of the temperature as [step, temperature] pairs: [[140, 1.2]] sets it to 1.2 from step 140 on."""
    grid: Annotated[list[PositiveFloat], Field(min_length=2)]
    """Temperatures that ``kind: diversity`` may choose, in ascending order."""
    highest: PositiveFloat
    """Upper limit; a configuration with a higher temperature is an error."""
    target_diversity: OpenShare
    """Diversity (share of distinct 4-grams) that calibration aims at: it chooses the smallest temperature of ``grid``
    that reaches it with nearly the highest reward. Diversity depends on group size and response length, so each
    experiment needs its own value."""
    min_diversity: OpenShare
    """Moving average of the diversity below which the temperature is raised; must be less than ``target_diversity``.
    docs/temperature.md describes the other condition under which it is raised."""
    calibration_prompts: PositiveInt
    """Number of problems for calibration. Each is sampled ``algorithm.group_size`` times at every temperature of
    ``grid``."""


@dataclass(frozen=True, config=STRICT)
class EvaluationConfig:
    samples: NonNegativeInt
    """Answers per problem; 0 switches evaluation off."""
    temperature: PositiveFloat
    """Sampling temperature of the evaluation."""
    other_temperatures: list[PositiveFloat]
    """Further temperatures at which a run's evaluations also sample: a policy that learned is better at a low one too,
    a policy that only became sharper is not (docs/method.md)."""
    top_p: TopP
    """Nucleus sampling of the evaluation: sample from the most probable tokens whose probabilities sum up to this."""
    max_response_tokens: PositiveInt | None
    """Longest answer of the evaluation in tokens; null uses ``generator.max_response_tokens``."""
    every: NonNegativeInt
    """Training steps between evaluations. Evaluations before the first and after the last step always take place; 0:
    only these two."""
    deadline_s: PositiveFloat
    """Seconds that an evaluation may take."""


@dataclass(frozen=True, config=STRICT)
class ClusterConfig:
    address: str | None
    """Address of a running Ray cluster (``auto`` or HOST:PORT); null starts a local cluster that ends with the
    driver."""
    placement_deadline_s: PositiveFloat
    """Seconds to wait until a running cluster has room for all engines and learner ranks at the same time."""
    num_cpus: PositiveInt | None
    """Ray CPUs of a local cluster; null uses the number of CPUs of the machine."""
    object_store_mb: PositiveInt
    """Size of the object store of a local cluster in MiB."""
    gpu_memory_gib: PositiveFloat | None
    """Memory of one GPU in GiB, by which the use of GPU memory is planned. Null measures a GPU of this machine; without
    one, and on a running cluster, 80 is assumed."""


@dataclass(frozen=True, config=STRICT)
class WeightTransferConfig:
    backend: Literal["auto", "shared_memory", "gloo", "nccl"]
    """Transport of weights from learner to engines; ``auto`` is nccl between GPUs, shared_memory between CPU processes
    of one node, otherwise gloo."""
    bucket_mb: PositiveInt
    """Size of a bucket, the unit in which weights are sent, in MiB. Sender and receivers each allocate three buffers of
    this size, or share them."""
    checksum: Switch
    """Verify a checksum of every bucket (not with nccl)."""
    deadline_s: PositiveFloat
    """Seconds that a weight transfer may take. A generator that does not finish in time is dropped and restarted."""


@dataclass(frozen=True, config=STRICT)
class LoggingConfig:
    report_every: NonNegativeInt
    """Steps between updates of the run's report (``report/index.html``), in a process of its own; 0: only at the end of
    the run."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """Complete configuration of a run. ``conf.validation.parse_config`` rejects keys that conflict with each other."""

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
    logging: LoggingConfig
    dry_run: Switch
    """Print the resolved configuration and the placement plan, without starting a run."""

    @property
    def answer_tokens(self) -> int:
        """Longest answer of an evaluation in tokens."""
        return self.evaluation.max_response_tokens or self.generator.max_response_tokens

    @property
    def total_updates(self) -> int:
        """Number of optimizer updates of the whole run."""
        return self.run.steps * self.updates_per_step

    @property
    def updates_per_step(self) -> int:
        """Number of optimizer updates of a full training step."""
        return self.algorithm.train_batch_size // self.algorithm.mini_batch_size


@dataclass(frozen=True, config=STRICT)
class WarmStartConfig:
    """Settings of ``launch.warm_start``."""

    model: str | None
    """Directory of a Hugging Face checkpoint to start from; null trains a tokenizer and a small model from scratch."""
    problems: str | None
    """File of problems, in a format of docs/formats.md; null uses the training families of the starter problems."""
    solutions: str | None
    """File of solutions to ``problems``: JSONL of ``{"question_id", "code_list"}``."""
    output: str
    """Directory for the checkpoint. Not used for the starter policy, which is written to the cache."""
    pairs: PositiveInt
    """Number of starter problems with answers to train the starter policy on."""
    mistakes: Probability
    """Factor of the shares of wrong programs in the starter policy's examples: 1 as designed, 0 for none."""
    vocabulary: PositiveInt
    """Largest vocabulary of a tokenizer trained from scratch."""
    steps: PositiveInt
    """Number of AdamW updates."""
    decay_steps: PositiveInt
    """Number of updates after which the cosine schedule would reach 0; at least ``steps``."""
    short_steps: NonNegativeInt
    """Number of first updates that use only the shortest quarter of the sequences, on which a model learns to copy
    constants sooner."""
    batch_size: PositiveInt
    """Sequences per update."""
    learning_rate: PositiveFloat
    """Peak learning rate."""
    threads: PositiveInt
    """Torch threads."""
    seed: NonNegativeInt
    """Random seed of the initial weights, the order of examples and the choice of ``pairs``."""


@dataclass(frozen=True, config=STRICT)
class ExportConfig:
    """Settings of ``launch.export``."""

    run: Directory
    """Run directory."""
    step: CheckpointChoice
    """Checkpoint to export: the number of a step, ``last``, or ``best`` (highest pass@1 in the run's evaluations)."""
    output: Directory
    """Directory to write the model to."""
    dtype: Literal["float32", "bfloat16"] | None
    """Dtype of the exported weights; null uses the run's ``model.dtype``, in which its engines sampled."""
    overwrite: Switch
    """Replace a model that an earlier export has written to ``output``."""


@dataclass(frozen=True, config=STRICT)
class ScaleConfig:
    """Settings of ``launch.scale``."""

    run: Directory
    """Directory of the run, or its name if the directory is in ``runs/``."""
    evaluators: PositiveInt
    """Number of evaluator actors that the run shall have."""
    deadline_s: PositiveFloat
    """Seconds to wait until that many evaluators run."""


@dataclass(frozen=True, config=STRICT)
class CurationClusterConfig:
    """Ray cluster of ``launch.curate``."""

    address: str | None
    """Address of a running Ray cluster (``auto`` or HOST:PORT), whose nodes must all see ``output`` and the files of
    the sources; null starts a local cluster that ends with the command."""
    num_cpus: PositiveInt | None
    """Blocks of rows that a local cluster works on at a time; null uses the number of CPUs of the machine."""
    object_store_mb: PositiveInt
    """Size of the object store of a local cluster in MiB. Blocks are in files, so that it holds little."""


@dataclass(frozen=True, config=STRICT)
class CurateConfig:
    """Settings of ``launch.curate``."""

    sources: Annotated[list[str], Field(min_length=1)]
    """Sets of problems to collect: names of published sets (downloaded from the hub), NAME:PATH for a published set
    whose files are in a folder, files of problems in the format of docs/formats.md, or YAML files that describe further
    sets. Of duplicates with equally good tests, the one of the earlier source stays."""
    exclude: list[str]
    """Test sets that no problem may overlap: names of benchmarks as in ``dataset.name``, NAME:PATH for a local copy of
    a benchmark, or files of problems."""
    output: Directory
    """Directory of the data set. The same command again continues a run that was stopped."""
    strict: Switch
    """End the run at the first row that is malformed, and at the first file that cannot be read. If false, these are
    dropped and counted."""
    max_tests: PositiveInt
    """Largest number of tests of a problem. Of more, those with the longest inputs are kept."""
    keep_unverified: Switch
    """Keep problems that no right program passes, for example since their source has none. If false, they are
    dropped."""
    cluster: CurationClusterConfig
    """Ray cluster that does the work."""


@dataclass(frozen=True, config=STRICT)
class ReportConfig:
    """Settings of ``launch.report``."""

    run: str | None
    """Directory of a training run, or its name in ``runs/``."""
    runs: Annotated[list[str], BeforeValidator(_make_list)]
    """Runs to compare, each as ``run``; at least two. Needs ``output``."""
    output: str | None
    """Directory of the report; null: ``report/`` in the run directory."""
    show: Annotated[list[str], BeforeValidator(_make_list)]
    """Views to print instead of writing pages: ``summary``, ``health``, ``slow``, ``step:STEP``, ``problem:ID``,
    ``sample:STEP/ID/INDEX``. Put the list in single quotes, for the shell. Put an item in double quotes if its id has
    spaces, commas, brackets, quotes or other characters that Hydra interprets; there, a backslash before a double quote
    makes it part of the id."""
    format: Literal["text", "json"]
    """Format of ``show``: text, or one JSON object with the data of each item."""
