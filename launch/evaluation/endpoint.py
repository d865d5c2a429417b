"""Answers from a served model: any server that speaks OpenAI's chat completions, vLLM's own among them."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from openai import AsyncOpenAI, OpenAIError
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from evaluator.errors import UserError
from launch.evaluation.answers import Answer
from launch.problems.prompts import PromptedProblem


class EndpointError(UserError, RuntimeError):
    """The server gives no usable answer; the message says which server and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """Where and how to ask; the meaning of each value is documented in the configuration.

    ``requests_per_minute`` None asks as fast as answers come.
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


class EndpointSource:
    """Asks a server. The client retries what may pass (429, 5xx, lost connections), waiting longer each time."""

    def __init__(self, settings: EndpointSettings) -> None:
        """Raises EndpointError when the environment has no key of the name that the settings give."""
        key = "none"  # a server of one's own wants none, but the client wants one
        if settings.api_key_env is not None:
            if not os.environ.get(settings.api_key_env):
                raise EndpointError(f"generator.api_key_env={settings.api_key_env}: no such environment variable")
            key = os.environ[settings.api_key_env]
        self._settings = settings
        self._client = AsyncOpenAI(
            base_url=settings.url, api_key=key, timeout=settings.timeout_s, max_retries=settings.retries
        )
        self._turn = asyncio.Lock()
        self._next = 0.0

    async def answer(self, prompted: PromptedProblem, sample_index: int) -> Answer:
        """One sampled answer. Raises EndpointError once the retries are used up, or for an answer that is none."""
        settings = self._settings
        await self._wait_for_turn()
        began = time.monotonic()
        try:
            reply: object = await self._client.chat.completions.create(
                model=settings.model,
                messages=[{"role": role, "content": text} for role, text in prompted.messages],  # type: ignore[misc]
                max_tokens=settings.max_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
            )
        except (OpenAIError, ValueError) as error:  # ValueError: a body that is not JSON
            raise EndpointError(f"{settings.url}: {type(error).__name__}: {error}"[:500]) from error
        # The client takes whatever a server sends for what it should be.
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
            seconds=time.monotonic() - began,
        )

    async def _wait_for_turn(self) -> None:
        """Space requests evenly, as the rate limit asks."""
        if self._settings.requests_per_minute is None:
            return
        async with self._turn:
            now = time.monotonic()
            await asyncio.sleep(max(0.0, self._next - now))
            self._next = max(now, self._next) + 60.0 / self._settings.requests_per_minute
