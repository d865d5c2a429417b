"""The process that parses answers: its limits, its end, and what the owner does about it."""

import asyncio
import itertools
import os
import signal
import threading
import time

import pytest

from evaluator import Extraction, SandboxError, extract_code
from evaluator.parser_process import ParserProcess, shared_parser
from evaluator.syntax import Fit, Rating, Request

PROGRAM = "print(input())\n"
HOSTILE = {
    "f-string of many parts": 'f"' + "{x}" * 80_000 + '"',
    "f-strings with formats": 'f"' + "{x:{y}}" * 35_000 + '"',
    "brackets": "(" * 130_000,
    "brackets, closed": "(" * 100_000 + ")" * 100_000,
    "nested f-strings": "f'{" * 80_000,
    "signs": "-" * 200_000 + "1",
    "not": "not " * 60_000 + "1",
    "lambdas": "lambda: " * 30_000 + "1",
    "conditions": "1 if 1 else " * 20_000 + "1",
    "comparison of many": "1<" * 100_000 + "1",
    "sum of many": "1+" * 100_000 + "1",
    "attributes": "x" + ".x" * 100_000,
    "subscripts": "x" + "[0]" * 80_000,
    "elif": "if x:\n pass\n" + "elif x:\n pass\n" * 12_000,
    "nested blocks": "\n".join(" " * depth + "try:" for depth in range(700)),
    "long line": "x" * 200_000,
    "long integer": "1" * 200_000,
    "integer beyond the digit limit": "print(" + "1" * 5_000 + ")",
    "null byte": "x = 1\0",
    "lone surrogate": "x = '\ud800'",
    "statements": "x;" * 100_000,
    "decorators": "@a\n" * 60_000 + "def f(): pass",
    "backslashes": "\\\n" * 100_000,
    "deep class tree": "\n".join(f"class A{number}(A{number + 1}): pass" for number in range(5_000)),
    "invalid escapes": "'" + "\\d" * 100_000 + "'",
}


def make_request(*texts: str, cpu_s: float = 5.0, func_name: str | None = None) -> Request:
    return Request(func_name=func_name, cpu_s=cpu_s, blocks=[[text] for text in texts], final=[False] * len(texts))


@pytest.fixture
def parser():
    parser = ParserProcess()
    yield parser
    parser.close()


@pytest.fixture
def short_limit(monkeypatch):
    monkeypatch.setattr("evaluator.extraction._MAX_PARSE_CPU_S", 0.5)


@pytest.mark.heavy
@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_the_owner_nothing_and_the_next_answer_is_parsed(name):
    before = time.process_time()
    extraction = extract_code(f"```python\n{HOSTILE[name]}\n```\n", None)
    assert time.process_time() - before < 2  # without a process that can be killed, minutes
    assert (extraction.is_closed, extraction.blocks) == (True, 1)
    assert extract_code(f"```python\n{PROGRAM}```", None).code == PROGRAM


def test_process_that_runs_out_of_cpu_time_is_replaced(parser):
    assert parser.rate(make_request(HOSTILE["f-string of many parts"], PROGRAM, cpu_s=0.2)) == []
    assert parser.rate(make_request(PROGRAM)) == [Rating(Fit.COMPLETE, 0)]


@pytest.mark.heavy
def test_cpu_time_is_counted_per_request(parser):
    slow = "x;" * 5_000
    for _ in range(10):
        assert parser.rate(make_request(slow, cpu_s=1.0)) == [Rating(Fit.SNIPPET, 0)]


def test_process_killed_from_outside_is_replaced_within_the_request(parser):
    parser.rate(make_request(PROGRAM))
    os.kill(parser.pid, signal.SIGKILL)
    assert parser.rate(make_request(PROGRAM)) == [Rating(Fit.COMPLETE, 0)]


def test_slow_machine_does_not_end_a_request(parser, monkeypatch):
    monkeypatch.setattr("evaluator.parser_process.STALL_S", 0.05)
    ticks = itertools.count()
    monkeypatch.setattr(ParserProcess, "_read_cpu_ticks", lambda _: next(ticks))
    slow = "x;" * 20_000  # many timeouts
    assert parser.rate(make_request(slow)) == [Rating(Fit.SNIPPET, 0)]


def test_process_that_cannot_start_is_a_failure_of_the_evaluator(parser, monkeypatch):
    monkeypatch.setattr("evaluator.parser_process.sys.executable", "/nonexistent/python")
    with pytest.raises(SandboxError, match="failed twice"):
        parser.rate(make_request(PROGRAM))


@pytest.mark.heavy
def test_process_that_does_not_answer_is_a_failure_of_the_evaluator(parser, monkeypatch):
    monkeypatch.setattr("evaluator.parser_process.STALL_S", 0.2)
    start = ParserProcess._ensure_started

    def start_and_stop(self):
        connection = start(self)
        os.kill(self.pid, signal.SIGSTOP)
        return connection

    monkeypatch.setattr(ParserProcess, "_ensure_started", start_and_stop)
    with pytest.raises(SandboxError, match="timed out"):
        parser.rate(make_request(PROGRAM))
    assert parser.pid is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupted_request_leaves_no_reply_for_the_next_one(parser, monkeypatch, error):
    def interrupt(self, action):
        result = wait_for(self, action)
        if action.func == self._connection.send:
            raise error
        return result

    wait_for = ParserProcess._wait_for
    monkeypatch.setattr(ParserProcess, "_wait_for", interrupt)
    with pytest.raises(error):
        parser.rate(make_request("1"))
    monkeypatch.setattr(ParserProcess, "_wait_for", wait_for)
    assert parser.rate(make_request(PROGRAM)) == [Rating(Fit.COMPLETE, 0)]


def test_process_ends_with_its_connection(parser):
    parser.rate(make_request(PROGRAM))
    process = parser._process
    parser.close()
    assert process.returncode == 0
    assert parser.pid is None


def test_blocked_or_ignored_signals_of_the_owner_do_not_disable_the_limit(parser):
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
    old_handler = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        assert parser.rate(make_request(HOSTILE["f-string of many parts"], cpu_s=0.2)) == []
    finally:
        signal.signal(signal.SIGPROF, old_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)


def test_threads_share_the_process():
    programs = [f"print(input(), {number})\n" for number in range(40)]
    codes: list[str | None] = [None] * len(programs)

    def extract(number: int) -> None:
        codes[number] = extract_code(f"```python\n{programs[number]}```", None).code

    threads = [threading.Thread(target=extract, args=(number,)) for number in range(len(programs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == programs


@pytest.mark.heavy
@pytest.mark.usefixtures("short_limit")
def test_event_loop_runs_on_while_a_text_is_parsed():
    async def extract() -> tuple[Extraction, int]:
        task = asyncio.create_task(
            asyncio.to_thread(extract_code, f"```python\n{HOSTILE['f-string of many parts']}\n```", None)
        )
        turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        return task.result(), turns

    extraction, turns = asyncio.run(extract())
    assert extraction == Extraction(None, True, blocks=1)
    assert turns >= 5


def test_forked_child_gets_a_process_of_its_own():
    extract_code(f"```python\n{PROGRAM}```", None)
    parent_parser = shared_parser.pid
    pid = os.fork()
    if pid == 0:
        is_right = shared_parser.pid is None and extract_code(f"```python\n{PROGRAM}```", None).code == PROGRAM
        shared_parser.close()
        os._exit(0 if is_right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert extract_code(f"```python\n{PROGRAM}```", None).code == PROGRAM
    assert shared_parser.pid == parent_parser


@pytest.mark.heavy
def test_answer_of_many_megabytes_is_extracted_from_its_end():
    filler = 10_000 * ("```python\nx = 1  # " + "-" * 200 + "\n```\n")
    assert extract_code(f"{filler}```python\n{PROGRAM}```\n", None).code == PROGRAM
    assert extract_code("```python\n" + "x = 1\n" * 100_000 + f"```\n```python\n{PROGRAM}```\n", None).code == PROGRAM


def test_program_of_the_largest_size_is_accepted():
    table = "table = [" + "12345, " * 37_000 + "]\n"
    assert extract_code(f"```python\n{table}{PROGRAM}```", None).code == table + PROGRAM
