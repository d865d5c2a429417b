"""A learner and an engine, both in their Ray actors: weights published by the one are served by the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from actors.generator import GeneratorSettings, SampleRequest
from actors.generator_pool import GeneratorPool
from actors.learner_group import LearnerGroup
from actors.remote_generator import remote_generators
from actors.shutdown import stop_all
from actors.weight_transfer import SharedMemoryTransfer
from learner.clipped_surrogate import Clip
from learner.learner import LearnerSettings
from learner.objective import Objective
from learner.rollout import Completion, TrainBatch, TrainSequence

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(600)]
TEMPERATURE = 0.8
TOLERANCE = 1e-3


@dataclass
class Pair:
    """One learner rank and one engine on the same checkpoint, connected."""

    learner: LearnerGroup
    generators: GeneratorPool
    transfer: SharedMemoryTransfer
    version: int = 0

    def publish(self) -> None:
        self.version += 1
        asyncio.run(self.transfer.publish(self.version))

    def sample(self, prompts: list[np.ndarray], samples: int = 2, tokens: int = 24) -> list[Completion]:
        async def all_of_them() -> list[Completion]:
            return await asyncio.gather(
                *(
                    self.generators.generate(SampleRequest(f"q{place}", index, prompt, tokens, TEMPERATURE, 1.0))
                    for place, prompt in enumerate(prompts)
                    for index in range(samples)
                )
            )

        return asyncio.run(all_of_them())

    def train_on(self, completions: list[Completion]) -> None:
        """One large update: the learner's policy then differs visibly from what the engine serves."""
        sequences = tuple(
            sequence_of(completion, advantage=(-1.0) ** place) for place, completion in enumerate(completions)
        )
        asyncio.run(self.learner.update(TrainBatch((sequences,)), 120.0))

    def mismatch(self, completions: list[Completion]) -> float:
        """Largest difference between the engine's log-probs and the learner's, over all tokens."""
        sequences = [sequence_of(completion, advantage=0.0) for completion in completions]
        ours = asyncio.run(self.learner.logprobs(sequences, 120.0))
        pairs = zip(ours, completions, strict=True)
        return max(float(np.abs(own - completion.sampler_logprobs).max()) for own, completion in pairs)


def sequence_of(completion: Completion, advantage: float) -> TrainSequence:
    return TrainSequence(
        np.concatenate([completion.prompt_token_ids, completion.response_token_ids]).astype(np.int64),
        len(completion.prompt_token_ids),
        completion.sampler_logprobs,
        completion.temperature,
        advantage,
    )


@pytest.fixture(scope="module", params=["tied", "untied"])
def pair(request: pytest.FixtureRequest, cluster: None, checkpoints: dict[str, Path]) -> Iterator[Pair]:
    path = str(checkpoints[request.param])
    learner = LearnerGroup(1, 0.5, 2, learner_settings(path))
    generators = GeneratorPool(1, remote_generators(0.5, 64, generator_settings(path)))
    transfer = SharedMemoryTransfer(learner.actors, generators.actors, "float32", 60.0)

    async def start() -> None:
        await asyncio.gather(generators.start(300.0), learner.start(120.0, None))

    asyncio.run(start())
    yield Pair(learner, generators, transfer)
    stop_all([*generators.actors, *learner.actors])
    transfer.close()


def generator_settings(path: str) -> GeneratorSettings:
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


def learner_settings(path: str) -> LearnerSettings:
    return LearnerSettings(
        model_path=path,
        attention="auto",
        compute_dtype="float32",
        device="cpu",
        learning_rate=3e-3,
        warmup_steps=0,
        decay="constant",
        total_updates=100,
        max_skipped_updates=3,
        skipped_folder=f"{path}/skipped_updates",
        betas=(0.9, 0.95),
        weight_decay=0.0,
        grad_clip=1.0,
        micro_batch_tokens=4096,
        sync_every_micro_batch=True,
        activation_checkpointing=False,
        objective=Objective("token_mean", Clip(0.2, 0.28, None), 0.0, 2.0, 64),
        seed=0,
    )


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    """Prompts long enough to fill whole blocks of the prefix cache."""
    rng = np.random.default_rng(0)
    return [rng.integers(3, 1000, size=140).astype(np.int32) for _ in range(4)]


def test_published_weights_are_served(pair: Pair, prompts: list[np.ndarray]) -> None:
    """Both agree before an update, not after it, and again after publishing: cached prefixes included."""
    pair.publish()
    fresh = pair.sample(prompts)
    assert pair.mismatch(fresh) < TOLERANCE
    pair.train_on(fresh)
    stale = pair.sample(prompts)
    assert pair.mismatch(stale) > 100 * TOLERANCE
    pair.publish()
    synced = pair.sample(prompts)
    assert pair.mismatch(synced) < TOLERANCE
    assert {completion.policy_version_min for completion in synced} == {pair.version}


def test_completions_carry_what_training_needs(pair: Pair, prompts: list[np.ndarray]) -> None:
    """Token ids, log-probs at the temperature, versions; ``length`` exactly where the limit was reached."""
    pair.publish()
    for completion in pair.sample(prompts, samples=4, tokens=16):
        assert len(completion.sampler_logprobs) == len(completion.response_token_ids) <= 16
        assert (completion.finish_reason == "length") == (len(completion.response_token_ids) == 16)
        assert completion.temperature == TEMPERATURE
        assert (completion.sampler_logprobs <= 0).all()
        assert completion.policy_version_max == pair.version


def test_tokens_carry_the_version_that_sampled_them(pair: Pair) -> None:
    """Weights replaced while completions decode: each goes on, and its versions change exactly at its first new token.

    From there on the log-probs are those of the new weights, what came before being computed anew with them.
    """
    rng = np.random.default_rng(1)
    prompts = [rng.integers(3, 1000, size=8).astype(np.int32) for _ in range(16)]
    pair.publish()
    pair.train_on(pair.sample(prompts))
    completions = asyncio.run(_sampled_over_an_update(pair, prompts))
    ours = asyncio.run(pair.learner.logprobs([sequence_of(one, advantage=0.0) for one in completions], 120.0))
    last_old = []
    for own, completion in zip(ours, completions, strict=True):
        old = completion.policy_versions == pair.version - 1
        assert set(completion.policy_versions[~old]) <= {pair.version}
        assert (np.diff(completion.policy_versions) >= 0).all()
        difference = np.abs(own - completion.sampler_logprobs)
        assert not (difference[~old] > TOLERANCE).any()
        if old.any() and not old.all():
            last_old.append(difference[old][-1])
    assert len(last_old) > len(prompts) // 2
    # Weights that differ visibly give nearly every token another probability, but may give one the same.
    assert np.mean(np.array(last_old) > TOLERANCE) > 0.8


async def _sampled_over_an_update(pair: Pair, prompts: list[np.ndarray]) -> list[Completion]:
    requests = [
        asyncio.ensure_future(pair.generators.generate(SampleRequest(f"q{place}", 0, prompt, 240, 1.0, 1.0)))
        for place, prompt in enumerate(prompts)
    ]
    await asyncio.sleep(0.3)
    pair.version += 1
    await pair.transfer.publish(pair.version)
    return await asyncio.gather(*requests)


def test_a_wrong_version_is_refused(pair: Pair, tmp_path: Path) -> None:
    """The file says which version it holds; the engine does not take it for another."""
    path = str(tmp_path / "weights.safetensors")
    asyncio.run(asyncio.wait_for(_written(pair, path, 7), 60))
    with pytest.raises(Exception, match="version 8 announced"):
        asyncio.run(asyncio.wait_for(_loaded(pair, path, 8), 60))


async def _written(pair: Pair, path: str, version: int) -> int:
    return await pair.learner.actors[0].write_weights.remote(path, version, "float32")


async def _loaded(pair: Pair, path: str, version: int) -> int:
    return await pair.generators.actors[0].load_weights.remote(path, version)
