"""Answers from a server that behaves, and from those that don't."""

import asyncio
import contextlib
import json

import numpy as np
import pytest
from aiohttp import web
from openai.types.chat import ChatCompletion

from evaluator.problem import Problem, ProblemTest
from launch.evaluation.endpoint import EndpointError, EndpointSettings, EndpointSource
from launch.problems.prompts import PromptedProblem
from tests.virtual_time import run_in_virtual_time

PROBLEM = Problem(
    question_id="q",
    question_title="",
    question_content="",
    platform="other",
    difficulty=None,
    contest_date=None,
    starter_code="",
    public_tests=(ProblemTest("", "1\n"),),
    private_tests=(),
)
PROMPT = PromptedProblem(PROBLEM, np.zeros(1, np.int32), (("system", "be brief"), ("user", "print 1")))
GOOD = {
    "id": "1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": "print(1)"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
}


@contextlib.asynccontextmanager
async def served(*replies):
    """A server that gives ``replies`` (handlers or JSON values) in turn, the last for ever; yields url and requests."""
    requests = []

    async def chat(request):
        requests.append((request.headers.get("Authorization"), await request.json()))
        reply = replies[min(len(requests), len(replies)) - 1]
        return await reply(request) if callable(reply) else web.json_response(reply)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"http://127.0.0.1:{port}/v1", requests
    finally:
        await runner.cleanup()


def ask(*replies, retries=0, timeout_s=60.0, api_key_env=None):
    async def main():
        async with served(*replies) as (url, requests):
            settings = EndpointSettings(
                url=url,
                model="m",
                api_key_env=api_key_env,
                max_tokens=9,
                temperature=0.6,
                top_p=0.95,
                timeout_s=timeout_s,
                retries=retries,
                requests_per_minute=None,
            )
            source = EndpointSource(settings)
            return [await source.answer(PROMPT, 0)], requests

    return asyncio.run(main())


async def busy(request):
    return web.Response(status=429, headers={"Retry-After": "0"}, text="later")


async def rubbish(request):
    return web.Response(text="<html>", content_type="text/html")


async def broken_json(request):
    return web.Response(text='{"choices": ', content_type="application/json")


async def silent(request):
    await asyncio.sleep(0.8)  # its client has given up by then, by the same clock


def test_an_answer(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    (answer,), ((authorization, body),) = ask(GOOD, api_key_env="SOME_KEY")
    assert (answer.key, answer.text, answer.tokens, answer.truncated) == (("q", 0), "print(1)", 5, True)
    assert authorization == "Bearer secret"
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "print 1"}],
        "max_tokens": 9,
        "temperature": 0.6,
        "top_p": 0.95,
    }


def test_a_busy_server_is_asked_again():
    answers, requests = ask(busy, busy, GOOD, retries=3)
    assert len(requests) == 3
    assert answers[0].text == "print(1)"


@pytest.mark.parametrize(
    "reply",
    [busy, rubbish, broken_json, silent, {}, [], {**GOOD, "choices": []}, {**GOOD, "choices": [{"index": 0}]}, "text"],
    ids=lambda reply: reply.__name__ if callable(reply) else json.dumps(reply)[:20],
)
def test_what_is_no_answer_is_told_with_the_server(reply):
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1"):
        ask(reply, timeout_s=0.3)


def test_no_server_is_told():
    settings = EndpointSettings(
        url="http://127.0.0.1:9/v1",
        model="m",
        api_key_env=None,
        max_tokens=9,
        temperature=0.6,
        top_p=0.95,
        timeout_s=2.0,
        retries=0,
        requests_per_minute=None,
    )
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:9"):
        asyncio.run(EndpointSource(settings).answer(PROMPT, 0))


def test_a_missing_key_is_told_before_anything_is_asked(monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(EndpointError, match="SOME_KEY"):
        EndpointSource(
            EndpointSettings(
                url="http://127.0.0.1:9/v1",
                model="m",
                api_key_env="SOME_KEY",
                max_tokens=9,
                temperature=0.6,
                top_p=0.95,
                timeout_s=2.0,
                retries=0,
                requests_per_minute=None,
            )
        )


def test_requests_are_spaced(monkeypatch):
    async def main():
        source = EndpointSource(
            EndpointSettings(
                url="http://127.0.0.1:9/v1",
                model="m",
                api_key_env=None,
                max_tokens=9,
                temperature=0.6,
                top_p=0.95,
                timeout_s=60.0,
                retries=0,
                requests_per_minute=600,
            )
        )
        loop = asyncio.get_running_loop()
        moments = []

        async def create(**_):
            moments.append(loop.time())
            return ChatCompletion.model_validate(GOOD)

        monkeypatch.setattr(source._client.chat.completions, "create", create)
        await asyncio.gather(*(source.answer(PROMPT, index) for index in range(4)))
        return [moment - moments[0] for moment in moments]

    assert run_in_virtual_time(main()) == pytest.approx([0.0, 0.1, 0.2, 0.3], abs=1e-3)
