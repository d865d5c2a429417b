"""Spare threads give way to the process's others, and do what they are given."""

import os

from actors.weights.spare_thread import spare_thread


def test_a_spare_thread_has_the_policy_of_background_work_and_the_caller_keeps_its_own():
    with spare_thread("test") as thread:
        assert thread.submit(os.sched_getscheduler, 0).result(20.0) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_where_the_policy_is_forbidden_the_thread_works_all_the_same(monkeypatch):
    def refuse(*arguments):
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with spare_thread("test") as thread:
        assert thread.submit(lambda: 7).result(20.0) == 7
