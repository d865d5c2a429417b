"""Choice of the weight transport. Transfers between a learner and engines are tested in tests/integration."""

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
def test_auto_backend_follows_from_devices_and_nodes(devices, nodes, expected):
    assert choose_backend("auto", devices, nodes) == expected


@pytest.mark.parametrize("backend", ["shared_memory", "gloo", "nccl"])
def test_explicit_backend_is_kept(backend):
    assert choose_backend(backend, ("cpu", "cuda"), ("a", "b")) == backend
