"""BufferPool reuses buffers, but never while a tensor still refers to them."""

import torch

from actors.weights.receiver import BufferPool


def test_pool_reuses_the_buffer_of_a_freed_tensor():
    pool = BufferPool()
    first = pool.take(64)
    second = pool.take(64)
    address = first.data_ptr()
    assert second.data_ptr() != address
    del first
    assert pool.take(64).data_ptr() == address


def test_pool_does_not_reuse_a_buffer_while_a_view_exists():
    pool = BufferPool()
    tensor = pool.take(64).fill_(7)
    view = tensor.view(torch.float32)[3:]
    expected = view.clone()
    del tensor
    for _ in range(3):
        pool.take(64).fill_(1)
    assert torch.equal(view, expected)


def test_pool_keeps_no_more_buffers_than_were_in_use_at_once():
    pool = BufferPool()
    for in_use in (1, 3, 2, 3):
        tensors = [pool.take(8) for _ in range(in_use)]
        del tensors
    assert [len(free) for free in pool.free.values()] == [3]
