"""BufferPool: buffers are reused, and never while a tensor over them lives."""

import torch

from actors.weights.receiver import BufferPool


def test_memory_of_a_tensor_that_is_gone_is_used_again():
    pool = BufferPool()
    first = pool.take(64)
    second = pool.take(64)
    place = first.data_ptr()
    assert second.data_ptr() != place
    del first
    assert pool.take(64).data_ptr() == place


def test_memory_stays_as_it_is_while_a_view_of_it_lives():
    pool = BufferPool()
    lent = pool.take(64).fill_(7)
    view = lent.view(torch.float32)[3:]
    expected = view.clone()
    del lent
    for _ in range(3):
        pool.take(64).fill_(1)
    assert torch.equal(view, expected)


def test_no_more_is_kept_than_was_held_at_once():
    pool = BufferPool()
    for held in (1, 3, 2, 3):
        tensors = [pool.take(8) for _ in range(held)]
        del tensors
    assert [len(free) for free in pool.free.values()] == [3]
