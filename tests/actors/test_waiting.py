"""``gather`` and ``run_in_thread``: deadlines, errors, and cancellation of the remaining waits."""

import asyncio
import logging
import threading

import pytest

from actors import waiting
from actors.waiting import DeadlineExceeded, Reminder, gather, run_in_thread
from tests.virtual_time import run_in_virtual_time


class FakeWaits:
    """Awaitables that end after a set time, and a record of those that were cancelled.

    Attributes:
        cancelled: sorted names of the awaitables cancelled by the last ``run``.
        seconds: virtual seconds that the last ``run`` took.
    """

    def __init__(self):
        self.cancelled_so_far = []
        self.cancelled = self.seconds = None

    async def wait(self, name, seconds, error=None):
        """Return ``name``, or raise ``error`` if given, after ``seconds``."""
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled_so_far.append(name)
            raise
        if error is not None:
            raise error
        return name

    def gather(self, deadline_s=30.0, **ends):
        """Run ``gather`` over an awaitable per name, each ending after ``seconds`` or (``seconds``, ``error``)."""

        async def run():
            awaitables = {
                name: self.wait(name, *(end if isinstance(end, tuple) else (end,))) for name, end in ends.items()
            }
            return await gather(awaitables, "the work", deadline_s)

        return self.run(run())

    def run(self, work):
        """Run ``work``; record its virtual seconds and the awaitables that it cancelled.

        They are recorded before the loop ends, because the loop cancels all that are left.
        """

        async def recorded():
            started = asyncio.get_running_loop().time()
            try:
                return await work
            finally:
                self.seconds = asyncio.get_running_loop().time() - started
                await asyncio.sleep(0.01)
                self.cancelled = sorted(self.cancelled_so_far)

        return run_in_virtual_time(recorded())


@pytest.fixture
def waits():
    return FakeWaits()


def test_gather_returns_results_in_order_of_names(waits):
    assert waits.gather(a=0.03, b=0.0, c=0.01) == ["a", "b", "c"]
    assert waits.cancelled == []


def test_gather_of_nothing_returns_empty_list(waits):
    assert waits.gather() == []


def test_deadline_error_names_pending_waits(waits):
    with pytest.raises(DeadlineExceeded) as caught:
        waits.gather(deadline_s=0.05, slow=20.0, quick=0.0, stuck=30.0)
    assert str(caught.value) == "the work did not finish within 0.05 s; pending: slow, stuck"
    assert waits.cancelled == ["slow", "stuck"]


def test_deadline_error_abbreviates_many_names(waits):
    with pytest.raises(DeadlineExceeded, match=r"pending: n00, n01, n02, n03, n04, n05, n06, n07 and 4 more$"):
        waits.gather(deadline_s=0.02, **{f"n{place:02d}": 20.0 for place in range(12)})


def test_deadline_covers_all_waits_together(waits):
    """A wait that ends must not extend the deadline of the others."""
    with pytest.raises(DeadlineExceeded):
        waits.gather(deadline_s=0.1, stuck=30.0, **{f"n{place}": place * 0.03 for place in range(10)})
    assert waits.seconds == pytest.approx(0.1, abs=1e-3)


def test_first_error_is_raised_at_once(waits):
    with pytest.raises(ValueError, match="first"):
        waits.gather(late=(20.0, KeyError("late")), early=(0.02, ValueError("first")), fine=0.0, slow=20.0)
    assert waits.seconds == pytest.approx(0.02, abs=1e-3)
    assert waits.cancelled == ["late", "slow"]


def test_cancelling_gather_cancels_its_waits(waits):
    async def run():
        waiting_task = asyncio.ensure_future(gather({"slow": waits.wait("slow", 20.0)}, "the work", 30.0))
        await asyncio.sleep(0.02)
        waiting_task.cancel()
        await asyncio.gather(waiting_task, return_exceptions=True)

    waits.run(run())
    assert waits.cancelled == ["slow"]


def test_long_wait_is_logged(waits, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "REMINDER_INTERVAL_S", 0.02)
    with caplog.at_level(logging.WARNING):
        waits.gather(slow=0.07, quick=0.0)
    assert {record.getMessage() for record in caplog.records} == {"still waiting for the work: slow"}
    assert len(caplog.records) >= 2


def test_gather_with_regular_progress_logs_nothing(waits, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "REMINDER_INTERVAL_S", 0.2)
    with caplog.at_level(logging.WARNING):
        waits.gather(a=0.1, b=0.3, c=0.5)
    assert caplog.records == []


def test_short_wait_is_not_logged(waits, caplog):
    with caplog.at_level(logging.WARNING):
        waits.gather(slow=0.05, quick=0.0)
    assert caplog.records == []


def test_reminder_is_due_once_after_twice_the_median():
    reminder = Reminder(started=100.0, total=4)
    assert not reminder.check_due(120.0)  # no wait has finished, so there is no median
    reminder.finish_times.extend([103.0, 104.0])
    assert not reminder.check_due(106.9)
    assert reminder.check_due(107.1)
    assert not reminder.check_due(110.0)
    assert reminder.check_due(104.0 + waiting.REMINDER_INTERVAL_S)
    assert not reminder.check_due(110.0 + waiting.REMINDER_INTERVAL_S)


def test_reminder_is_not_due_before_the_minimum_wait():
    reminder = Reminder(started=0.0, total=2, finish_times=[0.1])
    assert not reminder.check_due(waiting.MIN_LATE_S)
    assert reminder.check_due(waiting.MIN_LATE_S + 0.1)


def test_late_wait_is_logged_before_gather_ends(waits, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "MIN_LATE_S", 0.05)
    monkeypatch.setattr(waiting, "POLL_S", 0.02)
    with caplog.at_level(logging.WARNING):
        waits.gather(slow=0.4, quick=0.0, other=0.01)
    assert [record.getMessage() for record in caplog.records] == ["still waiting for the work: slow"]


def test_event_loop_runs_while_a_thread_works():
    async def run():
        go = threading.Event()
        asyncio.get_running_loop().call_later(0.01, go.set)
        return await run_in_thread(lambda: go.wait(10.0), "the work", 10.0)

    assert asyncio.run(run()) is True


def test_error_in_a_thread_is_raised():
    def work():
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        asyncio.run(run_in_thread(work, "the work", 10.0))


def test_work_in_a_thread_has_a_deadline():
    go = threading.Event()

    async def run():
        try:
            with pytest.raises(DeadlineExceeded, match="the work did not finish"):
                await run_in_thread(lambda: go.wait(10.0), "the work", 0.05)
        finally:
            go.set()

    asyncio.run(run())
