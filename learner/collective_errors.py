"""Errors of one rank, raised on all ranks at once.

When one rank fails in work that every rank does for itself (such as writing its file), the others would otherwise wait
for it in the next collective call until the process group's timeout.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch.distributed as dist


@contextlib.contextmanager
def raise_on_all_ranks(message: str, error: type[Exception]) -> Iterator[None]:
    """Run the body of the ``with`` block on every rank; if it raises on any rank, raise ``error`` on all of them.

    Collective: every rank must enter the block. The body must not make collective calls itself. When the block ends
    without an error, the body has succeeded on every rank.

    Args:
        message: start of the error's message.
        error: type of the error to raise.

    Raises:
        error: with ``message`` and the reason of each rank that failed.
    """
    try:
        yield
    except Exception as reason:
        own = str(reason) if isinstance(reason, error) else f"{type(reason).__name__}: {reason}"
        raise error(f"{message}: {_exchange_reasons(own)}") from reason
    elsewhere = _exchange_reasons(None)
    if elsewhere:
        raise error(f"{message}: {elsewhere}")


def _exchange_reasons(own: str | None) -> str:
    """Gather the failure reason of every rank (None if it did not fail) and format them as one text. Collective."""
    reasons: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(reasons, own)
    if own is not None and reasons == [own] * len(reasons):
        return own
    return "; ".join(f"rank {rank}: {reason}" for rank, reason in enumerate(reasons) if reason is not None)
