"""Problems in the object store: put once, let go with the last user."""

import gc
import weakref

import pytest

from actors.evaluators.shared_problems import SharedProblems
from tests.factories import problem


class Copy:
    """What a ``put`` gives; its life is that of the stored copy."""

    def __init__(self, of):
        self.of = of.question_id


def test_one_copy_for_all_users_until_the_last():
    puts = []

    def put(one):
        copy = Copy(one)
        puts.append(weakref.ref(copy))
        return copy

    shared = SharedProblems(put)
    one = problem()
    with shared.use(one) as first:
        with shared.use(one) as second:
            assert first is second
        del second
        with shared.use(one) as third:
            assert third is first
        del first, third
        gc.collect()
        assert (len(puts), puts[0]() is not None) == (1, True)
    gc.collect()
    assert (len(shared), puts[0]()) == (0, None)
    with shared.use(one):
        assert len(puts) == 2


def test_equal_names_are_not_the_same_problem():
    shared = SharedProblems(Copy)
    one = problem("q")
    other = problem("q")
    with shared.use(one) as first, shared.use(other) as second:
        assert first is not second
        assert len(shared) == 2


def test_an_error_lets_go_too():
    shared = SharedProblems(Copy)
    with pytest.raises(KeyError), shared.use(problem()):
        raise KeyError
    assert len(shared) == 0


def test_a_put_that_fails_leaves_nothing():
    def put(one):
        raise MemoryError

    shared = SharedProblems(put)
    with pytest.raises(MemoryError), shared.use(problem()):
        pass
    assert len(shared) == 0
