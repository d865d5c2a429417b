"""What can be tested of the weight transfer without a learner or an engine; the rest is an integration test."""

from __future__ import annotations

import pytest

from actors.weights.transfer import choose_backend


@pytest.mark.parametrize(
    ("devices", "nodes", "expected"),
    [
        (("cpu", "cpu"), ("a", "a", "a"), "shared_memory"),
        (("cpu", "cpu"), ("a", "b", "a"), "gloo"),
        (("cuda", "cuda"), ("a", "a"), "nccl"),
        (("cuda", "cuda"), ("a", "b"), "nccl"),
        (("cuda", "cpu"), ("a", "a"), "gloo"),
    ],
)
def test_the_transport_follows_from_where_the_actors_are(devices, nodes, expected):
    assert choose_backend("auto", devices, nodes) == expected


@pytest.mark.parametrize("asked", ["shared_memory", "gloo", "nccl"])
def test_a_transport_that_is_asked_for_is_taken(asked):
    assert choose_backend(asked, ("cpu", "cuda"), ("a", "b")) == asked
