"""The same answer to the same problem is judged once: a group of a trained policy holds many that are equal."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from evaluator.verdict import Status
from learner.rollout import Judgement

MOST = 4096  # answers remembered; each with its program, some kilobytes
Key = tuple[str, bytes]


@dataclass
class _Known:
    """A judgement, there or being made, and how many wait for it."""

    task: asyncio.Task[Judgement]
    waiting: int = 0


class RepeatedPrograms:
    """Remembers judgements by problem and answer, the latest ``most`` of them; ``told`` of each that is given again.

    A failure of the evaluator (``sandbox_error``, or an error) is not remembered.
    """

    def __init__(self, told: Callable[[], None], most: int = MOST) -> None:
        self.told = told
        self.most = most
        self.known: OrderedDict[Key, _Known] = OrderedDict()

    async def judgement(
        self, question_id: str, text: str, judge: Callable[[], Coroutine[Any, Any, Judgement]]
    ) -> Judgement:
        """What ``judge`` says, or has said of an equal answer, or is about to say. It ends with its last caller."""
        key = (question_id, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = _Known(asyncio.ensure_future(judge()))
            known.task.add_done_callback(lambda task: self._forget_failure(key, task))
            if len(self.known) > self.most:
                self.known.popitem(last=False)
        else:
            self.told()
            self.known.move_to_end(key)
        known.waiting += 1
        try:
            # Shielded: others that wait for it must not end with a caller that is cancelled.
            return await asyncio.shield(known.task)
        finally:
            known.waiting -= 1
            if not known.waiting:
                known.task.cancel()  # without effect where it is done

    def _forget_failure(self, key: Key, task: asyncio.Task[Judgement]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if not failed and task.result().verdict.status is not Status.SANDBOX_ERROR:
            return
        if key in self.known and self.known[key].task is task:
            del self.known[key]
