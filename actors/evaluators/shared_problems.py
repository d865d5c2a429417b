"""Problems in Ray's object store: one copy each, for as long as completions of it are judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from evaluator.problem import Problem


@dataclass(eq=False)
class _Shared:
    problem: Problem  # kept, so that its id stays its own
    reference: Any
    users: int = 0


class SharedProblems:
    """Puts a problem, which may have megabytes of tests, when its first user comes, and lets go with its last.

    ``put`` is ``ray.put``: where the reference it gave is dropped, Ray frees the copy.
    """

    def __init__(self, put: Callable[[Problem], Any]) -> None:
        self._put = put
        self._shared: dict[int, _Shared] = {}

    def __len__(self) -> int:
        return len(self._shared)

    @contextlib.contextmanager
    def use(self, problem: Problem) -> Iterator[Any]:
        """The reference to ``problem``'s copy, which is there until the last ``with`` ends."""
        key = id(problem)  # to compare or hash megabytes would cost what sharing saves
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _Shared(problem, self._put(problem))
        shared.users += 1
        try:
            yield shared.reference
        finally:
            shared.users -= 1
            if shared.users == 0:
                del self._shared[key]
