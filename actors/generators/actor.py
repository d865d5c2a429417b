"""Generator role: one vLLM engine in a Ray actor that samples completions and loads new weights in place."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.log_files import redirect_output
from actors.weights.generator_mixin import WeightLoadingMixin
from actors.weights.vllm_worker import WorkerExtension
from learner.rollout import Completion, CompletionId

if TYPE_CHECKING:
    from vllm import CompletionOutput, SamplingParams
    from vllm.v1.engine.output_processor import RequestOutputCollector

WORKER_EXTENSION = f"{WorkerExtension.__module__}.{WorkerExtension.__qualname__}"
NICENESS = 4
"""Added to the niceness of an engine on CPU, so that it yields to Ray's other workers. It shares its cores with
sandboxes, whose programs are short: if these had to compete, the last completion would be followed by a wait for
verdicts."""


class EngineFailed(RuntimeError):
    """The engine died while its generator actor lives on; the actor is useless without it and must be replaced."""


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """Settings of one engine; ``conf.schema`` documents each value."""

    model_path: str
    dtype: str
    device: str
    tensor_parallel: int
    max_model_tokens: int
    max_sequences: int
    kv_cache_gib: float
    gpu_memory_fraction: float
    threads: int
    seed: int


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleRequest:
    """Request for one completion of a prompt. ``prompt_token_ids`` has shape [P] and dtype int32."""

    claim: int
    question_id: str
    sample_index: int
    prompt_token_ids: np.ndarray
    max_tokens: int
    temperature: float
    top_p: float

    @property
    def id(self) -> CompletionId:
        """Identity of the completion to come."""
        return CompletionId(self.claim, self.sample_index)

    @property
    def name(self) -> str:
        """Name of the completion in messages."""
        return f"{self.question_id}#{self.sample_index}"


@dataclass(frozen=True, eq=False)
class QueuedRequest:
    """Request that was submitted to the engine.

    Attributes:
        request: the request.
        collector: vLLM's collector, which receives the output.
        submitted: time of submission, in ``time.monotonic`` seconds.
    """

    request: SampleRequest
    collector: RequestOutputCollector
    submitted: float


def engine_environment(settings: GeneratorSettings) -> dict[str, str]:
    """Return the environment variables of the actor that owns the engine; vLLM reads them, users must not set them."""
    environment = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",  # models are resolved to local directories before any actor starts
        "TOKENIZERS_PARALLELISM": "false",
    }
    if settings.device == "cpu":
        # By default vLLM binds its threads to cores and reserves one core. Here learner and sandboxes share the cores,
        # and threads that spin while they wait for a busy core slow everything down several times.
        environment |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # Runs the single worker in the engine's process: in a process of its own it would take ten seconds more to
            # start, and the engine would spin while waiting for it. (AsyncLLM's engine has its own process either way.)
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": str(settings.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
    return environment


class GeneratorActor(WeightLoadingMixin):
    """Actor that samples completions. Ray runs its methods concurrently on one event loop, so requests overlap."""

    def __init__(self, log_path: Path | None = None) -> None:
        """Create the actor; its engine's output is appended to ``log_path``, if that is given."""
        redirect_output(log_path)

    async def start(self, settings: GeneratorSettings) -> float:
        """Start the engine; return the seconds it took. Raises vLLM's error if the engine cannot start."""
        # The engine's processes talk over sockets in this folder; by default they would stay in /tmp for good.
        self.sockets = tempfile.TemporaryDirectory(prefix="vllm-")
        os.environ["VLLM_RPC_BASE_PATH"] = self.sockets.name
        with gc_disabled():
            from transformers import AutoTokenizer
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM

        started = time.monotonic()
        on_cpu = settings.device == "cpu"
        if on_cpu:
            os.nice(NICENESS)
        memory = (
            {"kv_cache_memory_bytes": int(settings.kv_cache_gib * 2**30)}
            if on_cpu
            else {"gpu_memory_utilization": settings.gpu_memory_fraction}
        )
        self.engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=settings.model_path,
                dtype=settings.dtype,
                seed=settings.seed,
                tensor_parallel_size=settings.tensor_parallel,
                max_model_len=settings.max_model_tokens,
                max_num_seqs=settings.max_sequences,
                enforce_eager=on_cpu,
                enable_prefix_caching=True,
                # The importance ratio needs log-probs at the sampling temperature; vLLM's default ignores it.
                logprobs_mode="processed_logprobs",
                worker_extension_cls=WORKER_EXTENSION,
                generation_config="vllm",
                disable_log_stats=True,
                # Set explicitly: inside a placement group vLLM would start the workers of several GPUs through Ray.
                distributed_executor_backend="uni" if settings.tensor_parallel == 1 else "mp",
                **memory,
            )
        )
        # None selects vLLM's own grace period, in which several workers remove the resources that they share.
        self.stop_grace_s = 0.0 if settings.tensor_parallel == 1 else None
        self.tokenizer = AutoTokenizer.from_pretrained(settings.model_path)
        self.workers: list[int] = await self.engine.collective_rpc("watch_actor", args=(os.getpid(),))
        self.version = 0
        await self.engine.update_weight_version(str(self.version))
        return time.monotonic() - started

    async def generate(self, request: SampleRequest) -> Completion:
        """Sample one completion. If the caller is cancelled, the engine stops decoding. Raises EngineFailed."""
        with translate_engine_death():
            return await self._wait_for_completion(await self._submit(request))

    async def sample_in_order(
        self, requests: Sequence[SampleRequest], seed: int
    ) -> AsyncIterator[tuple[int, Completion]]:
        """Sample ``requests`` deterministically: weights, settings, requests and ``seed`` fix the result bit for bit.

        Yields (index into ``requests``, completion) as completions finish. Submit nothing else until the last one has
        finished.

        Sampled tokens depend on the composition of each batch, on the prefix cache and on the workers' random state.
        Therefore this waits until the engine is idle, clears the cache, seeds the workers, and queues all requests in
        order before the engine schedules the first.
        """
        queued: list[QueuedRequest] = []
        finishing: list[asyncio.Task[tuple[int, Completion]]] = []
        with translate_engine_death():
            try:
                # Waits until earlier requests are finished; later ones stay in the queue until `resume_generation`.
                await self.engine.pause_generation(mode="wait", clear_cache=True)
                try:
                    await self.engine.collective_rpc("seed_sampler", args=(seed,))
                    for request in requests:
                        queued.append(await self._submit(request))
                finally:
                    await self.engine.resume_generation()
                finishing = [asyncio.create_task(self._wait_indexed(index, item)) for index, item in enumerate(queued)]
                for finished in asyncio.as_completed(finishing):
                    yield await finished
            finally:
                for task in finishing:
                    task.cancel()
                await self.engine.abort([item.collector.request_id for item in queued], internal=True)

    async def _wait_indexed(self, index: int, queued: QueuedRequest) -> tuple[int, Completion]:
        return index, await self._wait_for_completion(queued)

    async def _submit(self, request: SampleRequest) -> QueuedRequest:
        """Submit the request; return when it is queued behind all earlier ones."""
        from vllm import TokensPrompt

        submitted = time.monotonic()
        prompt = TokensPrompt(prompt_token_ids=request.prompt_token_ids.tolist())
        name = f"{request.name}#{time.monotonic_ns()}"
        collector = await self.engine.add_request(name, prompt, make_sampling_params(request))
        return QueuedRequest(request, collector, submitted)

    async def _wait_for_completion(self, queued: QueuedRequest) -> Completion:
        try:
            output = await queued.collector.get()
        except asyncio.CancelledError:
            await self.engine.abort(queued.collector.request_id, internal=True)
            raise
        return make_completion(queued, output.outputs[0], self.tokenizer)

    async def watch(self) -> None:
        """Wait until the engine dies, then raise EngineFailed; never returns."""
        handler = self.engine.output_handler
        assert handler is not None  # AsyncLLM creates it with the engine if an event loop runs; it ends with the engine
        await asyncio.wait({handler})
        raise EngineFailed("its engine died")

    async def process_ids(self) -> list[int]:
        """Return the process ids of this actor and of its engine's workers."""
        return [os.getpid(), *self.workers]

    async def stop(self) -> None:
        """Shut the engine down; its processes have ended when this returns.

        A single worker is killed at once: it has nothing to save, and its own clean-up takes seconds, for up to five of
        which vLLM would wait.
        """
        self.engine.shutdown(timeout=self.stop_grace_s)
        self.sockets.cleanup()


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Disable the cyclic garbage collector, which takes a sixth of the time of large imports for nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def translate_engine_death() -> Iterator[None]:
    """Raise EngineFailed in place of vLLM's EngineDeadError, which processes without vLLM cannot unpickle."""
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except EngineDeadError as error:
        raise EngineFailed("its engine died") from error


def make_sampling_params(request: SampleRequest) -> SamplingParams:
    """Return vLLM's sampling parameters. They have no seed: a seeded request with chunked prefill can crash vLLM."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=request.max_tokens,
        logprobs=0,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def make_completion(queued: QueuedRequest, output: CompletionOutput, tokenizer: Any) -> Completion:
    """Build the completion from the engine's final output. Raises EngineFailed if the engine did not finish it."""
    if output.finish_reason not in ("stop", "length"):
        raise EngineFailed(f"its engine ended {queued.request.name} with {output.finish_reason}")
    request = queued.request
    ids = np.asarray(output.token_ids, dtype=np.int32)
    logprobs = [entry[token].logprob for entry, token in zip(output.logprobs, output.token_ids, strict=True)]
    return Completion(
        claim=request.claim,
        question_id=request.question_id,
        sample_index=request.sample_index,
        prompt_token_ids=request.prompt_token_ids,
        response_token_ids=ids,
        sampler_logprobs=np.asarray(logprobs, dtype=np.float32),
        finish_reason=output.finish_reason,
        temperature=request.temperature,
        policy_versions=expand_policy_versions(output),
        text=tokenizer.decode(ids, skip_special_tokens=True),
        generation_seconds=time.monotonic() - queued.submitted,
    )


def expand_policy_versions(output: CompletionOutput) -> np.ndarray:
    """Return the policy version [R] int32 that sampled each token, from the spans of weight versions that vLLM reports.

    vLLM labels the tokens of each engine step with the weight version that the engine has at that step.
    """
    spans = output.weight_versions
    return np.repeat([int(span.version) for span in spans], [span.end - span.start for span in spans]).astype(np.int32)
