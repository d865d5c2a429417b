"""Problems in Ray's object store: one copy per problem, kept while any of its completions is judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from evaluator.problem import Problem


@dataclass(eq=False)
class _SharedProblem:
    problem: Problem  # kept alive, so that no other object gets its id
    reference: Any
    users: int = 0


class SharedProblems:
    """Reference-counted copies of problems, each of which may have megabytes of tests.

    A problem is put into the store for its first user and dropped after its last. ``put`` is ``ray.put``; Ray frees the
    copy when the reference that ``put`` returned is dropped.
    """

    def __init__(self, put: Callable[[Problem], Any]) -> None:
        self._put = put
        self._shared: dict[int, _SharedProblem] = {}

    def __len__(self) -> int:
        return len(self._shared)

    @contextlib.contextmanager
    def use(self, problem: Problem) -> Iterator[Any]:
        """Yield a reference to the copy of ``problem``, which stays valid until the context ends."""
        key = id(problem)  # comparing or hashing megabytes would cost what sharing saves
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _SharedProblem(problem, self._put(problem))
        shared.users += 1
        try:
            yield shared.reference
        finally:
            shared.users -= 1
            if shared.users == 0:
                del self._shared[key]
