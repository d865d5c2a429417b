"""Session of calls with a fake process at the other end: replies, their time limit, and what a slow sender costs."""

import json
import socket
import threading
import time

import pytest

from evaluator.calls import TICK_S, CallSession, Reply, read_reply

MAX_REPLY_BYTES = 1 << 20


class FakeProgram:
    """Loaded program of which ``uncounted_s`` seconds of each call do not count."""

    alive = True

    def __init__(self, uncounted_s=0.0):
        self.uncounted_s = uncounted_s

    def check_budget(self):
        pass

    def request_uncounted_time(self, start_time):
        return self.uncounted_s

    def last_stderr_line(self):
        return "its last words"


class CountingSocket(socket.socket):
    """Socket that counts the calls of ``recv``."""

    received = 0

    def recv(self, *arguments):
        self.received += 1
        return super().recv(*arguments)


def call(answer, wall_s=60.0, program=None):
    """Call a process that ``answer(connection, nonce)`` plays. Returns the reply, the session and its socket."""
    owner_end, child_end = socket.socketpair()
    owner_end = CountingSocket(fileno=owner_end.detach())

    def serve():
        with child_end:
            request = json.loads(child_end.recv(65536)[4:])
            answer(child_end, request["nonce"])

    thread = threading.Thread(target=serve)
    with owner_end:
        thread.start()
        session = CallSession(owner_end, program or FakeProgram(), wall_s, MAX_REPLY_BYTES)
        reply = session.call("1")
    thread.join()
    return reply, session, owner_end


def encode(nonce, text):
    frame = json.dumps([nonce, "value", text]).encode()
    return len(frame).to_bytes(8, "big") + frame


def test_reply_is_returned():
    reply, session, _ = call(lambda connection, nonce: connection.sendall(encode(nonce, "7")))
    assert (reply, session.has_ended) == (Reply("value", "7"), False)


def test_sender_of_single_bytes_does_not_keep_the_owner_busy():
    def trickle(connection, nonce):
        for byte in encode(nonce, "x" * 3000):
            connection.sendall(bytes([byte]))

    start_time = time.monotonic()
    reply, _, owner_end = call(trickle)
    assert reply == Reply("value", "x" * 3000)
    assert owner_end.received <= 4 + (time.monotonic() - start_time) / TICK_S


def test_closed_connection_is_the_end_of_the_process():
    reply, session, _ = call(lambda connection, nonce: connection.sendall(encode(nonce, "7")[:-1]))
    assert (reply, session.has_ended) == (Reply("exited", "its last words"), True)


def test_uncounted_time_extends_the_limit_of_a_call():
    def wait_for_the_owner(connection, nonce):
        while connection.recv(65536):
            pass

    reply, session, _ = call(wait_for_the_owner, 0.1, FakeProgram())
    assert (reply.kind, session.has_ended) == ("timeout", False)

    def answer_late(connection, nonce):
        time.sleep(0.3)
        connection.sendall(encode(nonce, "7"))

    reply, _, _ = call(answer_late, 0.1, FakeProgram(uncounted_s=600.0))
    assert reply == Reply("value", "7")


@pytest.mark.parametrize("text", ["", "3", 'a "quoted" \\ line\n', "é\ud800", "x" * 100_000])
@pytest.mark.parametrize("kind", ["value", "error", "type"])
def test_replies_are_read_back(kind, text):
    assert read_reply(json.dumps(["0a", kind, text]).encode(), "0a") == Reply(kind, text)


@pytest.mark.parametrize(
    "frame",
    [
        *("", "[", '["0a"', '["0a", "value"]', '["0a", "value", 3]', '["0a", "value", "3]', '["0a", "value", "3"'),
        *('["0a", "value", "3"]]', '["0b", "value", "3"]', '["0a", "passed", "3"]', '{"0a": "value"}', "é"),
        '["0a", "value", ' + "[],[]," * 100_000 + "[]]",
    ],
)
def test_malformed_reply_raises(frame):
    with pytest.raises(ValueError):
        read_reply(frame.encode(), "0a")
