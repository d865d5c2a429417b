"""Cache of verdicts: equal answers to a problem are judged once. Groups of a trained policy contain many of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from evaluator.verdict import Status
from learner.rollout import Judgement

MAX_ENTRIES = 4096  # each holds a judgement with its program, some kilobytes
Key = tuple[str, bytes]


@dataclass
class _Entry:
    """Judgement, finished or in progress; ``waiting`` counts the callers that await it."""

    task: asyncio.Task[Judgement]
    waiting: int = 0


class VerdictCache:
    """LRU cache of judgements by problem and answer text, with at most ``capacity`` entries.

    ``on_hit`` is called for every judgement that is served from the cache. Failures of the evaluator (an exception, or
    the status ``sandbox_error``) are not cached.
    """

    def __init__(self, on_hit: Callable[[], None], capacity: int = MAX_ENTRIES) -> None:
        self.on_hit = on_hit
        self.capacity = capacity
        self.entries: OrderedDict[Key, _Entry] = OrderedDict()

    async def get_or_judge(
        self, question_id: str, text: str, judge: Callable[[], Coroutine[Any, Any, Judgement]]
    ) -> Judgement:
        """Return the judgement of an equal answer, finished or in progress, else start ``judge`` and return its result.

        A judgement in progress is cancelled when its last caller is.
        """
        key = (question_id, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = _Entry(asyncio.ensure_future(judge()))
            entry.task.add_done_callback(lambda task: self._evict_failure(key, task))
            if len(self.entries) > self.capacity:
                self.entries.popitem(last=False)
        else:
            self.on_hit()
            self.entries.move_to_end(key)
        entry.waiting += 1
        try:
            # Shielded: a cancelled caller must not cancel the judgement that others wait for.
            return await asyncio.shield(entry.task)
        finally:
            entry.waiting -= 1
            if not entry.waiting:
                entry.task.cancel()  # no effect if it is finished

    def _evict_failure(self, key: Key, task: asyncio.Task[Judgement]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if not failed and task.result().verdict.status is not Status.SANDBOX_ERROR:
            return
        if key in self.entries and self.entries[key].task is task:
            del self.entries[key]
