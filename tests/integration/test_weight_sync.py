"""A learner and an engine, both in their Ray actors: weights published by the one are served by the other.

One engine for each model, over both transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actors.generators.actor import GeneratorSettings, SampleRequest
from actors.generators.handle import remote_generators
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

pytestmark = [pytest.mark.engine, pytest.mark.integration, pytest.mark.timeout(1200)]
TEMPERATURE = 0.8
TOLERANCE = 1e-3
BUCKET_MB = 1
"""Of a model of 14 MB, whose embeddings are cut."""
DEADLINE_S = 60.0


@dataclass(kw_only=True)
class Pair:
    """One learner rank and one engine on the same checkpoint, connected."""

    learner: LearnerGroup
    generators: GeneratorPool
    transfer: WeightTransfer | None = None
    version: int = 0

    def publish(self) -> Publication:
        assert self.transfer is not None
        self.version += 1
        return asyncio.run(self.transfer.publish(self.version))

    def connect_again(self) -> None:
        assert self.transfer is not None
        asyncio.run(self.transfer.connect({"generator 0": self.generators.actors[0]}))

    def sample(self, prompts: list[np.ndarray], samples: int = 2, tokens: int = 24) -> list[Completion]:
        async def all_of_them() -> list[Completion]:
            return await asyncio.gather(
                *(
                    self.generators.generate(
                        SampleRequest(
                            question_id=f"q{place}",
                            sample_index=index,
                            prompt_token_ids=prompt,
                            max_tokens=tokens,
                            temperature=TEMPERATURE,
                            top_p=1.0,
                        )
                    )
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
        token_ids=np.concatenate([completion.prompt_token_ids, completion.response_token_ids]).astype(np.int64),
        prompt_length=len(completion.prompt_token_ids),
        sampler_logprobs=completion.sampler_logprobs,
        temperature=completion.temperature,
        advantage=advantage,
    )


@pytest.fixture(scope="module", params=["tied", pytest.param("untied", marks=pytest.mark.slow)])
def pair(request: pytest.FixtureRequest, cluster: None, checkpoints: dict[str, Path]) -> Iterator[Pair]:
    """The tied model is sharded over two ranks, the untied one is whole."""
    path = str(checkpoints[request.param])
    learner = LearnerGroup(["DEFAULT"] * (2 if request.param == "tied" else 1), 0.5, 1, learner_settings(path))
    generators = GeneratorPool(1, remote_generators(["DEFAULT"], 0.5, 64, generator_settings(path)))

    async def start() -> None:
        await asyncio.gather(generators.start(600.0), learner.start(600.0, None))

    asyncio.run(start())
    yield Pair(learner=learner, generators=generators)
    stop_all([*generators.actors, *learner.actors])


@pytest.fixture(scope="module", params=["shared_memory", "gloo"])
def connected(request: pytest.FixtureRequest, pair: Pair) -> Iterator[Pair]:
    """The pair over one transport; every publication compares every tensor."""
    engine = {"generator 0": pair.generators.actors[0]}
    settings = TransferSettings(
        dtype="float32", bucket_mb=BUCKET_MB, checksum=True, deadline_s=DEADLINE_S, compare=True
    )
    pair.transfer = asyncio.run(open_transfer(pair.learner.actors, engine, request.param, ("cpu", "cpu"), settings))
    yield pair
    pair.transfer.close()


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
    config = compose_config(f"run.root={path}", "learner.learning_rate=3e-3", "learner.warmup_steps=0")
    return role_settings.learner_settings(config, Path(path))


@pytest.fixture(scope="module")
def prompts() -> list[np.ndarray]:
    """Prompts long enough to fill whole blocks of the prefix cache."""
    rng = np.random.default_rng(0)
    return [rng.integers(3, 1000, size=140).astype(np.int32) for _ in range(4)]


def test_published_weights_are_served(connected: Pair, prompts: list[np.ndarray]) -> None:
    """Both agree before an update, not after it, and again after publishing: cached prefixes included."""
    connected.publish()
    fresh = connected.sample(prompts)
    assert connected.mismatch(fresh) < TOLERANCE
    connected.train_on(fresh)
    stale = connected.sample(prompts)
    assert connected.mismatch(stale) > 100 * TOLERANCE
    connected.publish()
    synced = connected.sample(prompts)
    assert connected.mismatch(synced) < TOLERANCE
    assert {completion.policy_version_min for completion in synced} == {connected.version}


def test_completions_carry_what_training_needs(connected: Pair, prompts: list[np.ndarray]) -> None:
    """Token ids, log-probs at the temperature, versions; ``length`` exactly where the limit was reached."""
    connected.publish()
    for completion in connected.sample(prompts, samples=4, tokens=16):
        assert len(completion.sampler_logprobs) == len(completion.response_token_ids) <= 16
        assert (completion.finish_reason == "length") == (len(completion.response_token_ids) == 16)
        assert completion.temperature == TEMPERATURE
        assert (completion.sampler_logprobs <= 0).all()
        assert completion.policy_version_max == connected.version


def test_tokens_carry_the_version_that_sampled_them(connected: Pair) -> None:
    """Weights replaced while completions decode: each goes on, and its versions change exactly at its first new token.

    From there on the log-probs are those of the new weights, what came before being computed anew with them.
    """
    rng = np.random.default_rng(1)
    prompts = [rng.integers(3, 1000, size=8).astype(np.int32) for _ in range(16)]
    completions: list[Completion] = []
    for delay_s in (0.3, 1.0, 3.0):  # on a busy machine the engine takes longer to its first token
        connected.publish()
        connected.train_on(connected.sample(prompts))
        completions = asyncio.run(_sampled_over_an_update(connected, prompts, delay_s))
        if sum(completion.policy_version_min < connected.version for completion in completions) > len(prompts) // 2:
            break
    ours = asyncio.run(connected.learner.logprobs([sequence_of(one, advantage=0.0) for one in completions], 120.0))
    last_old = []
    for own, completion in zip(ours, completions, strict=True):
        old = completion.policy_versions == connected.version - 1
        assert set(completion.policy_versions[~old]) <= {connected.version}
        assert (np.diff(completion.policy_versions) >= 0).all()
        difference = np.abs(own - completion.sampler_logprobs)
        assert not (difference[~old] > TOLERANCE).any()
        if old.any() and not old.all():
            last_old.append(difference[old][-1])
    assert len(last_old) > len(prompts) // 2
    # Weights that differ visibly give nearly every token another probability, but may give one the same.
    assert np.mean(np.array(last_old) > TOLERANCE) > 0.8


async def _sampled_over_an_update(connected: Pair, prompts: list[np.ndarray], delay_s: float) -> list[Completion]:
    """Publish new weights ``delay_s`` after completions were asked for."""
    requests = [
        asyncio.ensure_future(
            connected.generators.generate(
                SampleRequest(
                    question_id=f"q{place}",
                    sample_index=0,
                    prompt_token_ids=prompt,
                    max_tokens=240,
                    temperature=1.0,
                    top_p=1.0,
                )
            )
        )
        for place, prompt in enumerate(prompts)
    ]
    await asyncio.sleep(delay_s)
    assert connected.transfer is not None
    connected.version += 1
    await connected.transfer.publish(connected.version)
    return await asyncio.gather(*requests)


@pytest.mark.faults
def test_a_wrong_version_is_refused(connected: Pair, prompts: list[np.ndarray]) -> None:
    """The buckets say which version they hold; the engine does not take it for another, and keeps what it has."""
    connected.publish()
    transfer = connected.transfer
    engine = connected.generators.actors[0]
    assert transfer is not None
    groups = list(transfer.receiver_groups.values())

    async def send_another() -> None:
        loading = engine.load_weights.remote(connected.version + 2)
        await asyncio.gather(*(rank.send_weights.remote(connected.version + 1, groups, groups) for rank in ranks))
        await asyncio.wait_for(loading, 60)

    ranks = connected.learner.actors
    with pytest.raises(Exception, match=f"bucket 0 of version {connected.version + 2} .* was due"):
        asyncio.run(asyncio.wait_for(send_another(), 60))
    kept = connected.sample(prompts)
    assert {completion.policy_version_min for completion in kept} == {connected.version}
    assert connected.mismatch(kept) < TOLERANCE
    connected.version += 1
    connected.connect_again()
    connected.publish()
    assert connected.mismatch(connected.sample(prompts)) < TOLERANCE


@pytest.mark.faults
def test_an_engine_that_got_half_the_weights_serves_nothing_until_it_has_all(
    connected: Pair, prompts: list[np.ndarray]
) -> None:
    """A byte changed in a late bucket: nobody serves the version; once published again, the engine goes on."""
    connected.publish()
    asyncio.run(_done(connected.learner.actors[0].__ray_call__.remote(_change_a_byte_once)))
    connected.train_on(connected.sample(prompts))
    with pytest.raises(WeightTransferError, match="its bytes are not those that were sent"):
        connected.publish()

    async def connect_while_it_is_asked() -> Completion:
        asked = asyncio.ensure_future(
            connected.generators.generate(
                SampleRequest(
                    question_id="q",
                    sample_index=0,
                    prompt_token_ids=prompts[0],
                    max_tokens=8,
                    temperature=TEMPERATURE,
                    top_p=1.0,
                )
            )
        )
        await asyncio.sleep(1)
        assert not asked.done()
        assert connected.transfer is not None
        await connected.transfer.connect({"generator 0": connected.generators.actors[0]})
        await connected.transfer.publish(connected.version)
        return await asyncio.wait_for(asked, 60)

    completion = asyncio.run(connect_while_it_is_asked())
    assert connected.mismatch([completion, *connected.sample(prompts)]) < TOLERANCE


def _change_a_byte_once(actor: Any) -> None:
    """In the learner: of the sixth bucket of the next publication, after its checksum was taken."""
    from actors.weights import sender as weight_sender

    whole = weight_sender.make_header

    def then_change(version: int, index: int, payload: torch.Tensor, checksum: bool) -> Header:
        header = whole(version, index, payload, checksum)
        if index == 5:
            payload[1000] ^= 1
            weight_sender.make_header = whole
        return header

    weight_sender.make_header = then_change


async def _done(call: Awaitable[None]) -> None:
    await asyncio.wait_for(call, 60)
