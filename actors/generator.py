"""The generator role: one vLLM engine in a Ray actor that samples completions and takes new weights in place."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from actors.weight_update import WeightUpdateExtension
from learner.rollout import Completion

EXTENSION = f"{WeightUpdateExtension.__module__}.{WeightUpdateExtension.__qualname__}"


@dataclass(frozen=True)
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


@dataclass(frozen=True, eq=False)
class SampleRequest:
    """Ask for one completion of one prompt. ``prompt_token_ids`` [P] int32."""

    question_id: str
    sample_index: int
    prompt_token_ids: np.ndarray
    max_tokens: int
    temperature: float
    top_p: float


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


class GeneratorActor:
    """Samples completions. Ray runs its methods concurrently on one event loop, so many requests are in flight."""

    async def start(self, settings: GeneratorSettings) -> float:
        """Start the engine; returns the seconds it took. Raises whatever vLLM raises when it cannot."""
        from transformers import AutoTokenizer
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        started = time.monotonic()
        on_cpu = settings.device == "cpu"
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
        self.tokenizer = AutoTokenizer.from_pretrained(settings.model_path)
        self.workers: list[int] = await self.engine.collective_rpc("watch_parent")
        self.version = 0
        return time.monotonic() - started

    async def generate(self, request: SampleRequest) -> Completion:
        """Sample one completion; comes back when it is finished."""
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        started, first_version = time.monotonic(), self.version
        parameters = SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=request.max_tokens,
            logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompt = TokensPrompt(prompt_token_ids=request.prompt_token_ids.tolist())
        name = f"{request.question_id}#{request.sample_index}#{time.monotonic_ns()}"
        # FINAL_ONLY: the engine yields once.
        (result,) = [output.outputs[0] async for output in self.engine.generate(prompt, parameters, request_id=name)]
        ids = np.asarray(result.token_ids, dtype=np.int32)
        logprobs = [entry[token].logprob for entry, token in zip(result.logprobs, result.token_ids, strict=True)]
        return Completion(
            question_id=request.question_id,
            sample_index=request.sample_index,
            prompt_token_ids=request.prompt_token_ids,
            response_token_ids=ids,
            sampler_logprobs=np.asarray(logprobs, dtype=np.float32),
            finish_reason="length" if result.finish_reason == "length" else "stop",
            temperature=request.temperature,
            policy_version_min=first_version,
            policy_version_max=self.version,
            text=self.tokenizer.decode(ids, skip_special_tokens=True),
            generation_seconds=time.monotonic() - started,
        )

    async def load_weights(self, path: str, version: int) -> int:
        """Replace the weights in place with those published at ``path``; returns the version now served.

        Running requests are frozen meanwhile and go on with the new weights. Raises RuntimeError when the file holds
        another version than announced.
        """
        await self.engine.pause_generation(mode="keep", clear_cache=True)
        try:
            loaded = await self.engine.collective_rpc("load_published", args=(path,))
            if set(loaded) != {version}:
                raise RuntimeError(
                    f"generator loaded weight versions {loaded} from {path}, version {version} announced"
                )
            # A prefix computed with the old weights must not be served under the new ones.
            await self.engine.reset_prefix_cache()
            await self.engine.update_weight_version(str(version))
            self.version = version
        finally:
            await self.engine.resume_generation()
        return int(await self.engine.get_weight_version())

    async def processes(self) -> list[int]:
        """Process ids of this actor and of its engine's workers."""
        return [os.getpid(), *self.workers]

    async def stop(self) -> None:
        """Shut the engine down; its processes end before this returns."""
        self.engine.shutdown()
