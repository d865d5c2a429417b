"""Learner and engine in Ray actors: the engine serves the weights that the learner publishes.

Each model has one learner and one engine, tested over both transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actors.generators.actor import GeneratorSettings, SampleRequest
from actors.generators.handle import make_generator_factory
from actors.generators.pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.lifecycle import stop_all
from actors.weights.layout import Header
from actors.weights.transfer import (
    Publication,
    TransferSettings,
    WeightTransfer,
    WeightTransferError,
    open_transfer,
)
from launch.cluster import learner_settings as role_settings
from launch.composition import compose_config
from learner.learner import LearnerSettings
from learner.rollout import Completion, TrainBatch, TrainSequence
from tests.factories import CHECKPOINT_VOCABULARY

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(1200)]
TEMPERATURE = 0.8
TOLERANCE = 1e-3
GPU_TOLERANCE = 0.05
"""Largest difference of log-probs between two bfloat16 implementations of the model."""
BUCKET_MB = 1
"""Bucket size. The model has 11 MB, and its embeddings are larger than a bucket, so they are split."""
DEADLINE_S = 300.0


@dataclass(kw_only=True)
class LearnerEnginePair:
    """A learner and an engine with the same checkpoint, connected by ``transfer``.

    Attributes:
        version: weight version published last.
    """

    learner: LearnerGroup
    generators: GeneratorPool
    transfer: WeightTransfer | None = None
    version: int = 0

    def publish(self) -> Publication:
        """Publish the learner's weights under the next version."""
        assert self.transfer is not None
        self.version += 1
        return asyncio.run(self.transfer.publish(self.version))

    def reconnect(self) -> None:
        """Connect the engine to the transfer again."""
        assert self.transfer is not None
        asyncio.run(self.transfer.connect({"generator 0": self.generators.actors[0]}))

    def sample(self, prompts: list[np.ndarray], samples: int = 2, tokens: int = 24) -> list[Completion]:
        """Sample ``samples`` completions of each prompt."""

        async def sample_concurrently() -> list[Completion]:
            return await asyncio.gather(
                *(
                    self.generators.generate(make_request(prompt, question, sample, tokens=tokens))
                    for question, prompt in enumerate(prompts)
                    for sample in range(samples)
                )
            )

        return asyncio.run(sample_concurrently())

    def train_on(self, completions: list[Completion]) -> None:
        """Make a large update, so that the learner's policy differs measurably from the one that the engine serves."""
        sequences = tuple(
            make_sequence(completion, advantage=(-1.0) ** index) for index, completion in enumerate(completions)
        )
        asyncio.run(self.learner.update(TrainBatch((sequences,)), 600.0))

    def compute_mismatch(self, completions: list[Completion]) -> float:
        """Return the largest absolute difference between the log-probs of engine and learner, over all tokens."""
        sequences = [make_sequence(completion, advantage=0.0) for completion in completions]
        learner_logprobs = asyncio.run(self.learner.compute_logprobs(sequences, 600.0))
        return max(
            float(np.abs(logprobs - completion.sampler_logprobs).max())
            for logprobs, completion in zip(learner_logprobs, completions, strict=True)
        )


def make_request(
    prompt: np.ndarray, question: int = 0, sample: int = 0, *, tokens: int, temperature: float = TEMPERATURE
) -> SampleRequest:
    """Return a request for a completion.

    Args:
        prompt: prompt token ids [P], int32.
        question: number of the prompt.
        sample: sample index.
        tokens: response length limit.
        temperature: sampling temperature.
    """
    return SampleRequest(
        claim=0,
        question_id=f"q{question}",
        sample_index=sample,
        prompt_token_ids=prompt,
        max_tokens=tokens,
        temperature=temperature,
        top_p=1.0,
    )


def make_sequence(completion: Completion, advantage: float) -> TrainSequence:
    return TrainSequence(
        token_ids=np.concatenate([completion.prompt_token_ids, completion.response_token_ids]).astype(np.int64),
        prompt_length=len(completion.prompt_token_ids),
        sampler_logprobs=completion.sampler_logprobs,
        temperature=completion.temperature,
        advantage=advantage,
    )


@pytest.fixture(scope="module", params=["tied", pytest.param("untied", marks=pytest.mark.slow)])
def unconnected_pair(
    request: pytest.FixtureRequest, cluster: None, checkpoints: dict[str, Path]
) -> Iterator[LearnerEnginePair]:
    """Start a learner and an engine. Two learner ranks share the tied model; the untied model is not sharded."""
    path = str(checkpoints[request.param])
    learner = LearnerGroup(["DEFAULT"] * (2 if request.param == "tied" else 1), 0.5, 1, make_learner_settings(path))
    generators = GeneratorPool(1, make_generator_factory(["DEFAULT"], 0.5, 64, make_generator_settings(path)))

    async def start() -> None:
        await asyncio.gather(generators.start(600.0), learner.start(600.0, None))

    asyncio.run(start())
    yield LearnerEnginePair(learner=learner, generators=generators)
    stop_all([*generators.actors, *learner.actors])


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["tied", "untied"])
def test_weights_published_between_gpus_are_served(
    cuda: torch.device, cluster: None, checkpoints: dict[str, Path], prompts: list[np.ndarray], model: str
) -> None:
    """Learner and engine on a GPU each, over NCCL, in bfloat16: as ``test_published_weights_are_served``."""
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs two GPUs, and torch sees {torch.cuda.device_count()} here")
    path = str(checkpoints[model])
    on_gpu = replace(make_learner_settings(path), device="cuda", compute_dtype="bfloat16")
    learner = LearnerGroup(["DEFAULT"], 0.5, 1, on_gpu)
    settings = replace(make_generator_settings(path), device="cuda", dtype="bfloat16", gpu_memory_fraction=0.3)
    generators = GeneratorPool(1, make_generator_factory(["DEFAULT"], 0.5, 64, settings))
    transfer_settings = TransferSettings(dtype="bfloat16", bucket_mb=BUCKET_MB, checksum=True, deadline_s=DEADLINE_S)

    async def start() -> WeightTransfer:
        await asyncio.gather(generators.start(600.0), learner.start(600.0, None))
        members = {"generator 0": generators.actors[0]}
        return await open_transfer(learner.actors, members, "auto", ("cuda", "cuda"), transfer_settings)

    try:
        gpu_pair = LearnerEnginePair(learner=learner, generators=generators, transfer=asyncio.run(start()))
        for _ in range(3):
            gpu_pair.publish()
            fresh = gpu_pair.sample(prompts)
            assert gpu_pair.compute_mismatch(fresh) < GPU_TOLERANCE
            gpu_pair.train_on(fresh)
            assert gpu_pair.compute_mismatch(gpu_pair.sample(prompts)) > 5 * GPU_TOLERANCE
    finally:
        stop_all([*generators.actors, *learner.actors])


@pytest.fixture(scope="module", params=["shared_memory", "gloo"])
def pair(request: pytest.FixtureRequest, unconnected_pair: LearnerEnginePair) -> Iterator[LearnerEnginePair]:
    """Connect learner and engine over one transport; each publication compares all tensors of both."""
    generators = {"generator 0": unconnected_pair.generators.actors[0]}
    settings = TransferSettings(
        dtype="float32", bucket_mb=BUCKET_MB, checksum=True, deadline_s=DEADLINE_S, compare=True
    )
    unconnected_pair.transfer = asyncio.run(
        open_transfer(unconnected_pair.learner.actors, generators, request.param, ("cpu", "cpu"), settings)
    )
    yield unconnected_pair
    unconnected_pair.transfer.close()


def make_generator_settings(path: str) -> GeneratorSettings:
    return GeneratorSettings(
        model_path=path,
        dtype="float32",
        device="cpu",
        tensor_parallel=1,
        max_model_tokens=256,
        max_sequences=32,
        kv_cache_gib=0.5,
        gpu_memory_fraction=0.5,
        threads=2,
        seed=0,
    )


def make_learner_settings(path: str) -> LearnerSettings:
    config = compose_config(f"run.root={path}", "learner.learning_rate=3e-3", "learner.warmup_steps=0")
    return role_settings.make_learner_settings(config, Path(path))


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    """Return prompts long enough to fill whole blocks of the prefix cache."""
    rng = np.random.default_rng(0)
    return [rng.integers(3, CHECKPOINT_VOCABULARY, size=140).astype(np.int32) for _ in range(4)]


def test_published_weights_are_served(pair: LearnerEnginePair, prompts: list[np.ndarray]) -> None:
    """Learner and engine agree before an update, disagree after it, and agree again after its publication.

    The prompts are the same each time, so a stale prefix cache would be noticed.
    """
    pair.publish()
    fresh = pair.sample(prompts)
    assert pair.compute_mismatch(fresh) < TOLERANCE
    pair.train_on(fresh)
    stale = pair.sample(prompts)
    assert pair.compute_mismatch(stale) > 100 * TOLERANCE
    pair.publish()
    synced = pair.sample(prompts)
    assert pair.compute_mismatch(synced) < TOLERANCE
    assert {completion.policy_version_min for completion in synced} == {pair.version}


def test_completions_have_logprobs_versions_and_finish_reason(
    pair: LearnerEnginePair, prompts: list[np.ndarray]
) -> None:
    """Check log-probs, temperature and versions, and that ``finish_reason`` is "length" exactly at the length limit."""
    pair.publish()
    for completion in pair.sample(prompts, samples=4, tokens=16):
        assert len(completion.sampler_logprobs) == len(completion.response_token_ids) <= 16
        assert (completion.finish_reason == "length") == (len(completion.response_token_ids) == 16)
        assert completion.temperature == TEMPERATURE
        assert (completion.sampler_logprobs <= 0).all()
        assert completion.policy_version_max == pair.version


def test_tokens_carry_the_version_that_sampled_them(pair: LearnerEnginePair) -> None:
    """Replace the weights while completions decode: each continues, and its version changes at the next token.

    From that token on, the log-probs are those of the new weights, with the preceding tokens recomputed.
    """
    rng = np.random.default_rng(1)
    prompts = [rng.integers(3, CHECKPOINT_VOCABULARY, size=8).astype(np.int32) for _ in range(16)]
    completions: list[Completion] = []
    for delay_s in (0.3, 1.0, 3.0):  # on a busy machine the engine takes longer to sample its first token
        pair.publish()
        pair.train_on(pair.sample(prompts))
        completions = asyncio.run(_sample_during_publication(pair, prompts, delay_s))
        if sum(completion.policy_version_min < pair.version for completion in completions) > len(prompts) // 2:
            break
    sequences = [make_sequence(completion, advantage=0.0) for completion in completions]
    learner_logprobs = asyncio.run(pair.learner.compute_logprobs(sequences, 600.0))
    last_old_differences = []
    for logprobs, completion in zip(learner_logprobs, completions, strict=True):
        old = completion.policy_versions == pair.version - 1
        assert set(completion.policy_versions[~old]) <= {pair.version}
        assert (np.diff(completion.policy_versions) >= 0).all()
        difference = np.abs(logprobs - completion.sampler_logprobs)
        assert not (difference[~old] > TOLERANCE).any()
        if old.any() and not old.all():
            last_old_differences.append(difference[old][-1])
    assert len(last_old_differences) > len(prompts) // 2
    # The old and the new weights give almost every token a different probability, but a few may have equal ones.
    assert np.mean(np.array(last_old_differences) > TOLERANCE) > 0.8


async def _sample_during_publication(
    pair: LearnerEnginePair, prompts: list[np.ndarray], delay_s: float
) -> list[Completion]:
    """Start sampling, publish new weights after ``delay_s`` seconds, and return the completions."""
    tasks = [
        asyncio.ensure_future(pair.generators.generate(make_request(prompt, question, tokens=240, temperature=1.0)))
        for question, prompt in enumerate(prompts)
    ]
    await asyncio.sleep(delay_s)
    assert pair.transfer is not None
    pair.version += 1
    await pair.transfer.publish(pair.version)
    return await asyncio.gather(*tasks)


@pytest.mark.faults
def test_engine_rejects_weights_of_an_unexpected_version(pair: LearnerEnginePair, prompts: list[np.ndarray]) -> None:
    """Buckets contain their version; the engine rejects any other than it expects, and keeps its weights."""
    pair.publish()
    transfer = pair.transfer
    engine = pair.generators.actors[0]
    assert transfer is not None
    groups = list(transfer.receiver_groups.values())

    async def send_unexpected_version() -> None:
        loading = engine.load_weights.remote(pair.version + 2)
        await asyncio.gather(*(rank.send_weights.remote(pair.version + 1, "float32", groups, groups) for rank in ranks))
        await asyncio.wait_for(loading, 60)

    ranks = pair.learner.actors
    with pytest.raises(Exception, match=f"bucket 0 of version {pair.version + 2} .* was expected"):
        asyncio.run(asyncio.wait_for(send_unexpected_version(), 60))
    kept = pair.sample(prompts)
    assert {completion.policy_version_min for completion in kept} == {pair.version}
    assert pair.compute_mismatch(kept) < TOLERANCE
    pair.version += 1
    pair.reconnect()
    pair.publish()
    assert pair.compute_mismatch(pair.sample(prompts)) < TOLERANCE


@pytest.mark.faults
def test_engine_with_partly_loaded_weights_serves_nothing_until_the_next_publication(
    pair: LearnerEnginePair, prompts: list[np.ndarray]
) -> None:
    """Corrupt a late bucket, so that no engine serves the version; publish it again, and the engine serves it."""
    pair.publish()
    asyncio.run(_await_call(pair.learner.actors[0].__ray_call__.remote(_corrupt_next_publication)))
    pair.train_on(pair.sample(prompts))
    with pytest.raises(WeightTransferError, match="checksum mismatch: the bytes changed between learner and engine"):
        pair.publish()

    async def reconnect_during_request() -> Completion:
        task = asyncio.ensure_future(pair.generators.generate(make_request(prompts[0], tokens=8)))
        await asyncio.sleep(1)
        assert not task.done()
        assert pair.transfer is not None
        await pair.transfer.connect({"generator 0": pair.generators.actors[0]})
        await pair.transfer.publish(pair.version)
        return await asyncio.wait_for(task, 60)

    completion = asyncio.run(reconnect_during_request())
    assert pair.compute_mismatch([completion, *pair.sample(prompts)]) < TOLERANCE


def _corrupt_next_publication(actor: Any) -> None:
    """Change a byte in the sixth bucket of the next publication, after its checksum was computed.

    Call it in the learner's actor.
    """
    from actors.weights import sender as weight_sender

    original_make_header = weight_sender.make_header

    def make_header_then_corrupt(version: int, index: int, payload: torch.Tensor, checksum: bool) -> Header:
        header = original_make_header(version, index, payload, checksum)
        if index == 5:
            payload[1000] ^= 1
            weight_sender.make_header = original_make_header
        return header

    weight_sender.make_header = make_header_then_corrupt


async def _await_call(call: Awaitable[None]) -> None:
    await asyncio.wait_for(call, 60)
