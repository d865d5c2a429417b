"""Client of a model server with OpenAI's chat completions API, such as vLLM's own server."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from openai import AsyncOpenAI, OpenAIError
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from evaluator.errors import UserError
from launch.evaluation.answers import Answer
from launch.problems.prompts import PromptedProblem, Thinking, make_template_arguments


class EndpointError(UserError, RuntimeError):
    """The server gave no usable answer. The message names the server and the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """Settings of the client; ``conf.schema.GeneratorConfig`` and ``EvaluationConfig`` describe them.

    ``requests_per_minute`` is None for no rate limit.
    """

    url: str
    model: str
    api_key_env: str | None
    max_tokens: int
    temperature: float
    top_p: float
    timeout_s: float
    retries: int
    requests_per_minute: float | None
    thinking: Thinking = "template"


class EndpointSource:
    """Answers from a model server.

    The client retries transient failures (429, 5xx, dropped connections), with a longer wait each time.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        """Raises EndpointError if the environment variable ``settings.api_key_env`` is not set."""
        key = "none"  # the client requires a key even if the server needs none
        if settings.api_key_env is not None:
            if not os.environ.get(settings.api_key_env):
                raise EndpointError(
                    f"generator.api_key_env={settings.api_key_env}: this environment variable is not set; set it to "
                    "the server's key"
                )
            key = os.environ[settings.api_key_env]
        self._settings = settings
        self._client = AsyncOpenAI(
            base_url=settings.url, api_key=key, timeout=settings.timeout_s, max_retries=settings.retries
        )
        self._rate_limit_lock = asyncio.Lock()
        self._next_request_at = 0.0

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """Sample an answer.

        Raises:
            EndpointError: the last retry failed, or the reply is not a chat completion.
        """
        settings = self._settings
        arguments = make_template_arguments(settings.thinking)
        await self._wait_for_rate_limit()
        started = time.monotonic()
        try:
            reply: object = await self._client.chat.completions.create(
                model=settings.model,
                messages=[{"role": role, "content": text} for role, text in prompted.messages],  # type: ignore[misc]
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                # The key of vLLM's and SGLang's servers; it is sent only if a mode is chosen.
                extra_body={"chat_template_kwargs": arguments} if arguments else None,
            )
        except (OpenAIError, ValueError) as error:  # ValueError: a body that is not JSON
            raise EndpointError(f"{settings.url}: {type(error).__name__}: {error}"[:500]) from error
        # The client does not validate the types of the reply.
        if not isinstance(reply, ChatCompletion) or not reply.choices:
            raise EndpointError(f"{settings.url}: not a chat completion: {str(reply)[:200]!r}")
        message: object = reply.choices[0].message
        if not isinstance(message, ChatCompletionMessage):
            raise EndpointError(f"{settings.url}: a chat completion without a message: {str(reply)[:200]!r}")
        return Answer(
            question_id=prompted.problem.question_id,
            sample_index=sample_index,
            text=message.content or "",
            tokens=reply.usage.completion_tokens if reply.usage else 0,
            truncated=reply.choices[0].finish_reason == "length",
            seconds=time.monotonic() - started,
        )

    async def _wait_for_rate_limit(self) -> None:
        """Wait so that requests are evenly spaced at the rate limit."""
        if self._settings.requests_per_minute is None:
            return
        async with self._rate_limit_lock:
            now = time.monotonic()
            await asyncio.sleep(max(0.0, self._next_request_at - now))
            self._next_request_at = max(now, self._next_request_at) + 60.0 / self._settings.requests_per_minute
