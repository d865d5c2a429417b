"""The load of a pool between two looks at it."""

import pytest

from actors.evaluators.load import EvaluatorLoad, LoadMeter


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_share_is_over_time_and_the_queue_is_the_longest():
    clock = Clock()
    meter = LoadMeter(clock)
    meter.now_is(queue=0, busy=0, sandboxes=2, actors=1)
    clock.now += 6
    meter.now_is(queue=7, busy=2, sandboxes=2, actors=1)
    clock.now += 1
    meter.now_is(queue=3, busy=4, sandboxes=4, actors=2)
    meter.retried()
    meter.lost()
    meter.repeated()
    clock.now += 2
    # 2 x 6 + 2 x 1 + 4 x 2 = 22 s of sandboxes, 2 x 1 + 4 x 2 = 10 s of them with a program.
    assert meter.take() == EvaluatorLoad(7, pytest.approx(10 / 22), 2, 1, 1, 1)


def test_a_look_starts_a_new_stretch_with_what_there_is():
    clock = Clock()
    meter = LoadMeter(clock)
    meter.now_is(queue=9, busy=2, sandboxes=2, actors=1)
    clock.now += 1
    meter.retried()
    meter.take()
    clock.now += 5
    assert meter.take() == EvaluatorLoad(9, 1.0, 1, 0, 0, 0)
    meter.now_is(queue=0, busy=0, sandboxes=0, actors=0)
    meter.take()
    clock.now += 5
    assert meter.take() == EvaluatorLoad(0, 0.0, 0, 0, 0, 0)
