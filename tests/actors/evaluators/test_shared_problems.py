"""Problems in the object store: put for the first user, released after the last one."""

import gc
import weakref

import pytest

from actors.evaluators.shared_problems import SharedProblems
from tests.factories import make_problem


class FakeReference:
    """Stands in for the reference that ``ray.put`` returns: the stored copy lives as long as this object."""

    def __init__(self, problem):
        self.question_id = problem.question_id


def test_all_users_share_a_copy_until_the_last_one_ends():
    puts = []

    def put(problem):
        reference = FakeReference(problem)
        puts.append(weakref.ref(reference))
        return reference

    shared = SharedProblems(put)
    problem = make_problem()
    with shared.use(problem) as first:
        with shared.use(problem) as second:
            assert first is second
        del second
        with shared.use(problem) as third:
            assert third is first
        del first, third
        gc.collect()
        assert (len(puts), puts[0]() is not None) == (1, True)
    gc.collect()
    assert (len(shared), puts[0]()) == (0, None)
    with shared.use(problem):
        assert len(puts) == 2


def test_problems_with_equal_ids_have_separate_copies():
    shared = SharedProblems(FakeReference)
    problem = make_problem("q")
    other = make_problem("q")
    with shared.use(problem) as first, shared.use(other) as second:
        assert first is not second
        assert len(shared) == 2


def test_copy_is_released_after_an_error():
    shared = SharedProblems(FakeReference)
    with pytest.raises(KeyError), shared.use(make_problem()):
        raise KeyError
    assert len(shared) == 0


def test_failed_put_leaves_no_entry():
    def put(problem):
        raise MemoryError

    shared = SharedProblems(put)
    with pytest.raises(MemoryError), shared.use(make_problem()):
        pass
    assert len(shared) == 0
