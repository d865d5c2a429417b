"""Memory of received tensors: used again, and never while anybody can still see it."""

import torch

from actors.weights.receiver import Memory


def test_memory_of_a_tensor_that_is_gone_is_used_again():
    memory = Memory()
    first, second = memory.take(64), memory.take(64)
    place = first.data_ptr()
    assert second.data_ptr() != place
    del first
    assert memory.take(64).data_ptr() == place


def test_memory_stays_as_it_is_while_a_view_of_it_lives():
    memory = Memory()
    lent = memory.take(64).fill_(7)
    view = lent.view(torch.float32)[3:]
    expected = view.clone()
    del lent
    for _ in range(3):
        memory.take(64).fill_(1)
    assert torch.equal(view, expected)


def test_no_more_is_kept_than_was_held_at_once():
    memory = Memory()
    for held in (1, 3, 2, 3):
        tensors = [memory.take(8) for _ in range(held)]
        del tensors
    assert [len(free) for free in memory.free.values()] == [3]
