"""DAPO's soft overlong punishment (arXiv 2503.14476 eq. 13): a penalty that grows as a response nears the limit."""

from __future__ import annotations


def overlong_penalty(length: int, max_tokens: int, cache: int) -> float:
    """Penalty in [-1, 0]: 0 for short responses, falling linearly to -1 over the last ``cache`` tokens (eq. 13).

    Args:
        length: length of the response in tokens.
        max_tokens: L_max, the length in tokens at which generation stops.
        cache: L_cache, the number of tokens before the limit over which the penalty grows; at least 1.

    >>> [overlong_penalty(length, 20, 4) for length in (16, 17, 20, 21)]
    [0.0, -0.25, -1.0, -1.0]
    """
    over = length - (max_tokens - cache)
    return -min(1.0, over / cache) if over > 0 else 0.0
