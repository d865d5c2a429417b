"""Waiting: its deadline, its errors, and what becomes of the rest."""

import asyncio
import logging
import threading

import pytest

from actors import waiting
from actors.waiting import DeadlineExceeded, Reminder, gather, in_thread
from tests.virtual_time import run_in_virtual_time


class Calls:
    """Awaitables that end as told, and a record of those that were cancelled."""

    def __init__(self):
        self.cancelled_so_far = []
        self.cancelled = self.seconds = None

    async def later(self, name, seconds, error=None):
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled_so_far.append(name)
            raise
        if error is not None:
            raise error
        return name

    def wait(self, deadline_s=30.0, **ends):
        """``gather`` over one awaitable per name, ending after so many seconds or with (seconds, error)."""

        async def run():
            waits = {name: self.later(name, *(end if isinstance(end, tuple) else (end,))) for name, end in ends.items()}
            return await gather(waits, "the work", deadline_s)

        return self.run(run())

    def run(self, work):
        """Run ``work``; keep its virtual seconds and who was cancelled by it: in the end the loop cancels the rest."""

        async def watched():
            started = asyncio.get_running_loop().time()
            try:
                return await work
            finally:
                self.seconds = asyncio.get_running_loop().time() - started
                await asyncio.sleep(0.01)
                self.cancelled = sorted(self.cancelled_so_far)

        return run_in_virtual_time(watched())


@pytest.fixture
def calls():
    return Calls()


def test_results_come_in_order(calls):
    assert calls.wait(a=0.03, b=0.0, c=0.01) == ["a", "b", "c"]
    assert calls.cancelled == []


def test_nothing_to_wait_for(calls):
    assert calls.wait() == []


def test_the_deadline_names_what_is_pending(calls):
    with pytest.raises(DeadlineExceeded) as caught:
        calls.wait(deadline_s=0.05, slow=20.0, quick=0.0, stuck=30.0)
    assert str(caught.value) == "the work did not finish within 0.05 s; pending: slow, stuck"
    assert calls.cancelled == ["slow", "stuck"]


def test_many_pending_names_are_shortened(calls):
    with pytest.raises(DeadlineExceeded, match=r"pending: n00, n01, n02, n03, n04, n05, n06, n07 and 4 more$"):
        calls.wait(deadline_s=0.02, **{f"n{place:02d}": 20.0 for place in range(12)})


def test_the_deadline_is_for_all_together(calls):
    """Something that ends now and then must not push the deadline away."""
    with pytest.raises(DeadlineExceeded):
        calls.wait(deadline_s=0.1, stuck=30.0, **{f"n{place}": place * 0.03 for place in range(10)})
    assert calls.seconds == pytest.approx(0.1, abs=1e-3)


def test_the_first_error_wins_at_once(calls):
    with pytest.raises(ValueError, match="first"):
        calls.wait(late=(20.0, KeyError("late")), early=(0.02, ValueError("first")), fine=0.0, slow=20.0)
    assert calls.seconds == pytest.approx(0.02, abs=1e-3)
    assert calls.cancelled == ["late", "slow"]


def test_a_cancelled_wait_cancels_what_it_waits_for(calls):
    async def run():
        waiting_task = asyncio.ensure_future(gather({"slow": calls.later("slow", 20.0)}, "the work", 30.0))
        await asyncio.sleep(0.02)
        waiting_task.cancel()
        await asyncio.gather(waiting_task, return_exceptions=True)

    calls.run(run())
    assert calls.cancelled == ["slow"]


def test_a_long_wait_is_logged(calls, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "REMIND_S", 0.02)
    with caplog.at_level(logging.WARNING):
        calls.wait(slow=0.07, quick=0.0)
    assert {record.getMessage() for record in caplog.records} == {"still waiting for the work: slow"}
    assert len(caplog.records) >= 2


def test_progress_is_not_logged(calls, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "REMIND_S", 0.2)
    with caplog.at_level(logging.WARNING):
        calls.wait(a=0.1, b=0.3, c=0.5)
    assert caplog.records == []


def test_a_short_wait_is_not_logged(calls, caplog):
    with caplog.at_level(logging.WARNING):
        calls.wait(slow=0.05, quick=0.0)
    assert caplog.records == []


def test_what_takes_twice_the_median_is_named_once():
    reminder = Reminder(started=100.0, waits=4)
    assert not reminder.due(120.0)  # nobody can say what is late
    reminder.finished.extend([103.0, 104.0])
    assert not reminder.due(106.9)
    assert reminder.due(107.1)
    assert not reminder.due(110.0)
    assert reminder.due(104.0 + waiting.REMIND_S)
    assert not reminder.due(110.0 + waiting.REMIND_S)


def test_nothing_is_late_within_seconds():
    reminder = Reminder(started=0.0, waits=2, finished=[0.1])
    assert not reminder.due(waiting.LATE_S)
    assert reminder.due(waiting.LATE_S + 0.1)


def test_late_is_logged_while_waiting(calls, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "LATE_S", 0.05)
    monkeypatch.setattr(waiting, "POLL_S", 0.02)
    with caplog.at_level(logging.WARNING):
        calls.wait(slow=0.4, quick=0.0, other=0.01)
    assert [record.getMessage() for record in caplog.records] == ["still waiting for the work: slow"]


def test_the_loop_goes_on_while_a_thread_works():
    async def run():
        go = threading.Event()
        asyncio.get_running_loop().call_later(0.01, go.set)
        return await in_thread(lambda: go.wait(10.0), "the work", 10.0)

    assert asyncio.run(run()) is True


def test_what_a_thread_raises_is_raised():
    def work():
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        asyncio.run(in_thread(work, "the work", 10.0))


def test_a_thread_has_a_deadline():
    go = threading.Event()

    async def run():
        try:
            with pytest.raises(DeadlineExceeded, match="the work did not finish"):
                await in_thread(lambda: go.wait(10.0), "the work", 0.05)
        finally:
            go.set()

    asyncio.run(run())
