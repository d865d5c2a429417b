"""A free address of this node, at which a process group can initialize."""

from __future__ import annotations

import socket

import ray


def find_free_address() -> str:
    """Return a free ``host:port`` on this node."""
    with socket.socket() as free:
        free.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"
