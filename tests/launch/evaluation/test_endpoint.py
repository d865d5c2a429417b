"""Client of a model server, tested with a fake server that also fails in various ways."""

import asyncio
import contextlib
import json
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from openai.types.chat import ChatCompletion

from evaluator.problem import ProblemTest
from launch.evaluation.endpoint import EndpointError, EndpointSettings, EndpointSource
from launch.problems.prompts import PromptedProblem
from tests.evaluator.problems import make_problem_with_tests
from tests.virtual_time import run_in_virtual_time

PROBLEM = make_problem_with_tests(ProblemTest("", "1\n"))
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
async def fake_server(*replies):
    """Serve ``replies`` (handlers or JSON values) in order, the last one repeatedly; yield the URL and the requests."""
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


def make_settings(url="http://127.0.0.1:9/v1", **changes):
    """Return settings; the default URL is that of no server."""
    values: dict[str, Any] = {
        "url": url,
        "model": "m",
        "api_key_env": None,
        "max_tokens": 9,
        "temperature": 0.6,
        "top_p": 0.95,
        "timeout_s": 2.0,
        "retries": 0,
        "requests_per_minute": None,
    }
    return EndpointSettings(**(values | changes))


def sample_answer(*replies, retries=0, timeout_s=60.0, api_key_env=None):
    """Sample an answer from a fake server; return the answer and the server's requests."""

    async def main():
        async with fake_server(*replies) as (url, requests):
            source = EndpointSource(make_settings(url, api_key_env=api_key_env, timeout_s=timeout_s, retries=retries))
            return await source.answer(PROMPT, 0), requests

    return asyncio.run(main())


async def reply_busy(request):
    return web.Response(status=429, headers={"Retry-After": "0"}, text="later")


async def reply_html(request):
    return web.Response(text="<html>", content_type="text/html")


async def reply_broken_json(request):
    return web.Response(text='{"choices": ', content_type="application/json")


async def reply_late(request):
    await asyncio.sleep(0.8)  # longer than the client's timeout, which runs on the same clock


def test_answer_and_request_have_the_expected_fields(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    answer, ((authorization, body),) = sample_answer(GOOD, api_key_env="SOME_KEY")
    assert (answer.key, answer.text, answer.tokens, answer.truncated) == (("q", 0), "print(1)", 5, True)
    assert authorization == "Bearer secret"
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "print 1"}],
        "max_tokens": 9,
        "temperature": 0.6,
        "top_p": 0.95,
    }


@pytest.mark.heavy
def test_request_to_a_busy_server_is_retried():
    answer, requests = sample_answer(reply_busy, reply_busy, GOOD, retries=3)
    assert len(requests) == 3
    assert answer.text == "print(1)"


@pytest.mark.heavy
@pytest.mark.parametrize(
    "reply",
    [
        reply_busy,
        reply_html,
        reply_broken_json,
        reply_late,
        {},
        [],
        {**GOOD, "choices": []},
        {**GOOD, "choices": [{"index": 0}]},
        "text",
    ],
    ids=lambda reply: reply.__name__ if callable(reply) else json.dumps(reply)[:20],
)
def test_invalid_reply_is_an_error_with_the_servers_url(reply):
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1"):
        sample_answer(reply, timeout_s=0.3)


def test_unreachable_server_is_an_error_with_its_url():
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:9"):
        asyncio.run(EndpointSource(make_settings()).answer(PROMPT, 0))


def test_missing_key_is_an_error_before_any_request(monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(EndpointError, match="SOME_KEY"):
        EndpointSource(make_settings(api_key_env="SOME_KEY"))


def test_requests_are_spaced_at_the_rate_limit(monkeypatch):
    async def main():
        source = EndpointSource(make_settings(timeout_s=60.0, requests_per_minute=600))
        loop = asyncio.get_running_loop()
        moments = []

        async def fake_create(**_):
            moments.append(loop.time())
            return ChatCompletion.model_validate(GOOD)

        monkeypatch.setattr(source._client.chat.completions, "create", fake_create)
        await asyncio.gather(*(source.answer(PROMPT, index) for index in range(4)))
        return [moment - moments[0] for moment in moments]

    assert run_in_virtual_time(main()) == pytest.approx([0.0, 0.1, 0.2, 0.3], abs=1e-3)
