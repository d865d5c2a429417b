"""The generator role: one vLLM engine in a Ray actor that samples completions and takes new weights in place."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actors.weights.engine_side import WeightLoading
from actors.weights.vllm_worker import WorkerExtension
from learner.rollout import Completion

if TYPE_CHECKING:
    from vllm import CompletionOutput, SamplingParams
    from vllm.v1.engine.output_processor import RequestOutputCollector

EXTENSION = f"{WorkerExtension.__module__}.{WorkerExtension.__qualname__}"


NICENESS = 4
"""Of an engine on CPU, above that of Ray's other workers. It shares its cores with sandboxes, whose programs are short:
their verdicts would else be waited for after the last completion."""


class EngineLost(RuntimeError):
    """The engine of a generator that itself lives has died; the generator is of no use without it."""


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """What one engine needs to know; the meaning of each value is documented in the configuration."""

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
    """Ask for one completion of one prompt. ``prompt_token_ids`` [P] int32."""

    question_id: str
    sample_index: int
    prompt_token_ids: np.ndarray
    max_tokens: int
    temperature: float
    top_p: float

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.question_id}#{self.sample_index}"


@dataclass(frozen=True, eq=False)
class Queued:
    """A request that the engine has, in its queue or decoding."""

    request: SampleRequest
    collector: RequestOutputCollector
    since: float


def engine_environment(settings: GeneratorSettings) -> dict[str, str]:
    """Environment of the actor that owns the engine; vLLM reads these, so they are set here and never by the user."""
    environment = {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",  # models are resolved to local directories before any actor starts
        "TOKENIZERS_PARALLELISM": "false",
    }
    if settings.device == "cpu":
        # vLLM would bind its threads to cores and keep one back; here the cores are shared with learner and sandboxes,
        # and threads that spin while waiting for a busy core slow everything down several times.
        environment |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # Lets the one worker live in the engine's process: a second process would spin while waiting for it, and
            # take ten seconds more to start. (AsyncLLM keeps its engine in a process of its own either way.)
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": str(settings.threads),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
    return environment


class GeneratorActor(WeightLoading):
    """Samples completions. Ray runs its methods concurrently on one event loop, so many requests are in flight."""

    async def start(self, settings: GeneratorSettings) -> float:
        """Start the engine; returns the seconds it took. Raises whatever vLLM raises when it cannot."""
        with collector_off():
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
                # vLLM's default log-probs ignore the temperature; the importance ratio needs them at it.
                logprobs_mode="processed_logprobs",
                worker_extension_cls=EXTENSION,
                generation_config="vllm",
                disable_log_stats=True,
                # Said outright: inside a placement group vLLM would start the workers of several GPUs through Ray.
                distributed_executor_backend="uni" if settings.tensor_parallel == 1 else "mp",
                **memory,
            )
        )
        # None is vLLM's grace period: with several workers it lets them remove what they share.
        self.stop_grace_s = 0.0 if settings.tensor_parallel == 1 else None
        self.tokenizer = AutoTokenizer.from_pretrained(settings.model_path)
        self.workers: list[int] = await self.engine.collective_rpc("watch_parent")
        self.version = 0
        await self.engine.update_weight_version(str(self.version))
        return time.monotonic() - started

    async def generate(self, request: SampleRequest) -> Completion:
        """Sample one completion; comes back when it is finished. Cancelled, it stops decoding. Raises EngineLost."""
        with deaths_told():
            return await self._finished(await self._queue(request))

    async def sample_in_order(
        self, requests: Sequence[SampleRequest], seed: int
    ) -> AsyncIterator[tuple[int, Completion]]:
        """Sample ``requests`` as any other engine does with the same weights, settings and seed, bit for bit.

        Yields (place in ``requests``, completion) as they finish. What is sampled depends on what shares a batch, on
        the prefix cache and on the workers' random state; so an idle engine, an empty cache, the seed, and all
        requests queued in their order before the first is scheduled. Submit nothing else until the last has finished.
        """
        queued: list[Queued] = []
        finishing: list[asyncio.Task[tuple[int, Completion]]] = []
        with deaths_told():
            try:
                # Waits until what came before is finished; what comes after stays in the queue.
                await self.engine.pause_generation(mode="wait", clear_cache=True)
                try:
                    await self.engine.collective_rpc("seed", args=(seed,))
                    for request in requests:
                        queued.append(await self._queue(request))
                finally:
                    await self.engine.resume_generation()
                finishing = [asyncio.create_task(self._place(place, one)) for place, one in enumerate(queued)]
                for finished in asyncio.as_completed(finishing):
                    yield await finished
            finally:
                for task in finishing:
                    task.cancel()
                await self.engine.abort([one.collector.request_id for one in queued], internal=True)

    async def _place(self, place: int, queued: Queued) -> tuple[int, Completion]:
        return place, await self._finished(queued)

    async def _queue(self, request: SampleRequest) -> Queued:
        """Comes back when the request is on its way to the engine, behind all those before it."""
        from vllm import TokensPrompt

        since = time.monotonic()
        prompt = TokensPrompt(prompt_token_ids=request.prompt_token_ids.tolist())
        name = f"{request.name}#{time.monotonic_ns()}"
        return Queued(request, await self.engine.add_request(name, prompt, sampling_parameters(request)), since)

    async def _finished(self, queued: Queued) -> Completion:
        try:
            output = await queued.collector.get()
        except asyncio.CancelledError:
            await self.engine.abort(queued.collector.request_id, internal=True)
            raise
        return completion_of(queued, output.outputs[0], self.tokenizer)

    async def watch(self) -> None:
        """Raises EngineLost when the engine dies; does not come back before."""
        handler = self.engine.output_handler
        assert handler is not None  # an engine made inside an event loop has it from the start, and until it dies
        await asyncio.wait({handler})
        raise EngineLost("its engine died")

    async def processes(self) -> list[int]:
        """Process ids of this actor and of its engine's workers."""
        return [os.getpid(), *self.workers]

    async def stop(self) -> None:
        """Shut the engine down; its processes end before this returns.

        A single worker is killed at once: it holds nothing that must be saved, and its own clean-up takes seconds, of
        which vLLM waits for five.
        """
        self.engine.shutdown(timeout=self.stop_grace_s)


@contextmanager
def collector_off() -> Iterator[None]:
    """Turn the cyclic garbage collector off, which takes a sixth of the time of large imports and frees nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def deaths_told() -> Iterator[None]:
    """Raises EngineLost in place of vLLM's error, which cannot be read where there is no vLLM."""
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except EngineDeadError as error:
        raise EngineLost("its engine died") from error


def sampling_parameters(request: SampleRequest) -> SamplingParams:
    """vLLM's. No seed: the engine can die of a seeded request whose prompt it takes in chunks."""
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


def completion_of(queued: Queued, output: CompletionOutput, tokenizer: Any) -> Completion:
    """The completion in the engine's final output. Raises EngineLost when the engine did not finish it."""
    if output.finish_reason not in ("stop", "length"):
        raise EngineLost(f"its engine ended {queued.request.name} with {output.finish_reason}")
    request = queued.request
    ids = np.asarray(output.token_ids, dtype=np.int32)
    logprobs = [entry[token].logprob for entry, token in zip(output.logprobs, output.token_ids, strict=True)]
    return Completion(
        question_id=request.question_id,
        sample_index=request.sample_index,
        prompt_token_ids=request.prompt_token_ids,
        response_token_ids=ids,
        sampler_logprobs=np.asarray(logprobs, dtype=np.float32),
        finish_reason=output.finish_reason,
        temperature=request.temperature,
        policy_versions=policy_versions(output),
        text=tokenizer.decode(ids, skip_special_tokens=True),
        generation_seconds=time.monotonic() - queued.since,
    )


def policy_versions(output: CompletionOutput) -> np.ndarray:
    """[R] int32. The engine labels what each of its steps samples with the weight version it has then."""
    spans = output.weight_versions
    return np.repeat([int(span.version) for span in spans], [span.end - span.start for span in spans]).astype(np.int32)
