"""Run the command ``launch.evaluate`` with its own engine or a server, including kill -9 and resuming.

The server is a fake that answers at once; slow tests use vLLM's own server as well.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evaluator.problem import to_row
from launch.evaluation.answers import SCHEMA
from launch.problems.starter import build_held_out_problems

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
DEADLINE_S = 600.0
PROBLEMS = 8
SAMPLES = 4
KEY = "s3cret"


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a few starter problems and an invalid row to a file."""
    path = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    rows = [json.dumps(to_row(starter.problem)) for starter in build_held_out_problems()[:PROBLEMS]]
    path.write_text("\n".join([*rows[:3], '{"question_id": ""}', *rows[3:]]) + "\n")
    return path


def evaluate_command(problems: Path, runs: Path, model: str, *overrides: str) -> list[str]:
    """Return the command that evaluates ``model`` on ``problems``, with run directory ``runs / "small"``."""
    return [
        sys.executable,
        "-m",
        "launch.evaluate",
        f"model.path={model}",
        "dataset.name=null",
        f"dataset.held_out_path={problems}",
        f"run.root={runs}",
        "run.name=small",
        f"evaluation.samples={SAMPLES}",
        "generator.max_response_tokens=48",
        "cluster.num_cpus=4",
        *overrides,
    ]


def run_command(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"THE_KEY": KEY}
    return subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE_S, check=False, env=environment)


def check_complete(directory: Path) -> None:
    """Check that each answer is present exactly once, and that all files agree on which answers passed."""
    table = pq.read_table(directory / "answers.parquet")
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    keys = [(row["question_id"], row["sample_index"]) for row in rows]
    question_ids = [starter.problem.question_id for starter in build_held_out_problems()[:PROBLEMS]]
    assert sorted(keys) == sorted((name, index) for name in question_ids for index in range(SAMPLES))
    (evaluated,) = (directory / "livecodebench").glob("*_eval_all.json")
    graded = {row["question_id"]: row["graded_list"] for row in json.loads(evaluated.read_text())}
    assert graded == {
        name: [row["passed"] for row in sorted(rows, key=lambda row: row["sample_index"]) if row["question_id"] == name]
        for name in question_ids
    }
    assert "pass@k" in (directory / "table.txt").read_text()


@pytest.mark.engine
def test_evaluate_with_its_own_engine(model: Path, problems: Path, tmp_path: Path) -> None:
    done = run_command(evaluate_command(problems, tmp_path, str(model)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 problems; dropped: 1 bad rows" in done.stdout
    assert "line 4: " in done.stdout
    check_complete(tmp_path / "small")
    texts = pq.read_table(tmp_path / "small" / "answers.parquet")["text"].to_pylist()
    assert len(set(texts)) > PROBLEMS, "samples of a problem are identical"
    again = run_command(evaluate_command(problems, tmp_path, str(model)))
    assert again.returncode == 2 and "run.resume=true" in again.stdout


@dataclass(frozen=True)
class Server:
    """Chat completion server: its URL, and the name of the model that it serves."""

    url: str
    model: str


@pytest.fixture(scope="module", params=["fake", pytest.param("vllm", marks=[pytest.mark.slow, pytest.mark.engine])])
def server(request: pytest.FixtureRequest) -> Server:
    started: Server = request.getfixturevalue("fake_server" if request.param == "fake" else "vllm_server")
    return started


class FakeCompletionHandler(BaseHTTPRequestHandler):
    """Answer each request for the model "small" that has the right key, each with a different program."""

    numbers = itertools.count()

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self._reply(401, {"error": {"message": "Unauthorized", "type": "invalid_request_error", "code": 401}})
        elif request["model"] != "small":
            self._reply(404, {"error": {"message": "no such model", "type": "NotFoundError", "code": 404}})
        else:
            message = {"role": "assistant", "content": f"```python\nprint({next(self.numbers)})\n```"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
            kind = {"id": "1", "object": "chat.completion", "created": 0, "model": "small"}
            self._reply(200, kind | {"choices": [choice], "usage": usage})

    def _reply(self, status: int, value: dict[str, object]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Suppress the log of requests."""


@pytest.fixture(scope="module")
def fake_server() -> Iterator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeCompletionHandler) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield Server(f"http://127.0.0.1:{serving.server_port}/v1", "small")
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def vllm_server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["--model", str(model), "--served-model-name", "small", "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--api-key", KEY, "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "16"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with log.open("w") as file:
        serving = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", serving, log)
        yield Server(f"http://127.0.0.1:{port}/v1", "small")
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
        try:
            serving.wait(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(serving.pid, signal.SIGKILL)


def _wait_until_healthy(url: str, serving: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert serving.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(1.0)
    raise TimeoutError(f"vLLM's server did not become healthy within {DEADLINE_S:g} s: {log.read_text()[-3000:]}")


def server_overrides(server: Server, *overrides: str) -> tuple[str, ...]:
    """Return the overrides that make ``launch.evaluate`` use ``server``, followed by ``overrides``."""
    return f"generator.endpoint={server.url}", "generator.api_key_env=THE_KEY", "generator.retries=1", *overrides


@pytest.mark.slow
def test_killed_evaluation_with_a_server_resumes(server: Server, problems: Path, tmp_path: Path) -> None:
    """Answers sampled before kill -9 are not sampled again."""
    rate_limited = server_overrides(server, "generator.requests_per_minute=120")
    environment = os.environ | {"THE_KEY": KEY}
    first = subprocess.Popen(
        evaluate_command(problems, tmp_path, server.model, *rate_limited),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = tmp_path / "small" / "answers.jsonl"
    deadline = time.monotonic() + DEADLINE_S
    while not (log.exists() and log.read_text().count('"answer"') >= 5):
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    first.kill()
    first.communicate(timeout=300)
    kept = [line for line in log.read_text().splitlines(keepends=True) if '"answer"' in line and line.endswith("\n")]
    assert 5 <= len(kept) < PROBLEMS * SAMPLES
    done = run_command(evaluate_command(problems, tmp_path, server.model, *server_overrides(server), "run.resume=true"))
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [line for line in log.read_text().splitlines(keepends=True) if '"answer"' in line]
    assert answers[: len(kept)] == kept and len(answers) == PROBLEMS * SAMPLES
    check_complete(tmp_path / "small")


@pytest.mark.slow
@pytest.mark.engine
def test_server_that_rejects_all_requests_fails_the_evaluation(
    vllm_server: Server, problems: Path, tmp_path: Path
) -> None:
    """Try a wrong key, then a model that the server does not have. The error message names the HTTP status."""
    for model, key, reason in ((vllm_server.model, "HOME", "401"), ("other", "THE_KEY", "404")):
        overrides = (f"generator.endpoint={vllm_server.url}", f"generator.api_key_env={key}", "generator.retries=0")
        done = run_command(evaluate_command(problems, tmp_path / model, model, *overrides))
        assert done.returncode == 2, done.stdout + done.stderr
        assert "no answer at all" in done.stdout and reason in done.stdout and KEY not in done.stdout
