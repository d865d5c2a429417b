"""The evaluator that all reward functions of this process share: started when first used, closed at exit.

After a fork, the child starts its own when it needs one. It never uses or closes that of its parent, whose threads do
not exist in the child.
"""

from __future__ import annotations

import os
import threading

from evaluator.comparison import Policy
from evaluator.rewards.reward_evaluator import RewardEvaluator, RewardSettings
from evaluator.sandbox import Limits, SandboxError


class _ProcessState:
    """Settings and evaluator of this process."""

    def __init__(self) -> None:
        self.settings = RewardSettings()
        self.evaluator: RewardEvaluator | None = None
        self.is_exiting = False
        self.lock = threading.Lock()

    def forget_parent(self) -> None:
        """Drop the parent's evaluator and its lock, which a thread of the parent may have held during the fork."""
        self.evaluator = None
        self.lock = threading.Lock()

    def close_at_exit(self) -> None:
        self.is_exiting = True
        close()


_state = _ProcessState()
os.register_at_fork(after_in_child=_state.forget_parent)
# Not atexit, whose functions run only after concurrent.futures has worked through all queues, so after all waiting
# programs have been judged. These run in reverse order of their registration, so before that of concurrent.futures.
threading._register_atexit(_state.close_at_exit)  # type: ignore[attr-defined]


def configure(
    limits: Limits | None = None,
    workers: int | None = None,
    *,
    policy: Policy = "judge",
    strict: bool = False,
    adaptive_timeout: bool = False,
) -> None:
    """Set the limits and the number of workers of this process's evaluator, before its first reward.

    Args:
        limits: limits of each test; a problem's own ``time_limit_s`` and ``memory_limit_mb`` apply if they are lower.
        workers: number of programs judged at the same time. Default: the CPUs that this process may use, divided by
            LOCAL_WORLD_SIZE.
        policy: comparison policy, see ``evaluator.comparison``.
        strict: raise SandboxError if the host does not support all sandbox isolation.
        adaptive_timeout: lower the time limit of a problem once a program has solved it (see ``Evaluator``).

    Raises:
        ValueError: ``workers`` is not positive.
        RuntimeError: the evaluator is running with other settings.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    settings = RewardSettings(
        limits=limits or Limits(),
        workers=workers,
        policy=policy,
        strict=strict,
        adaptive_timeout=adaptive_timeout,
    )
    with _state.lock:
        if _state.evaluator is not None and settings != _state.settings:
            raise RuntimeError(
                "the evaluator of this process is running with other settings: call configure() before the first "
                "reward, or close() first"
            )
        _state.settings = settings


def get_evaluator() -> RewardEvaluator:
    """Return the evaluator of this process; start it if necessary. Raises SandboxError if no sandbox starts."""
    with _state.lock:
        if _state.is_exiting:
            raise SandboxError("no reward can be computed, because this process is exiting")
        if _state.evaluator is None:
            _state.evaluator = RewardEvaluator(_state.settings)
        return _state.evaluator


def close() -> None:
    """Stop the evaluator of this process and its sandboxes. The next reward starts it again. Not needed at exit."""
    with _state.lock:
        evaluator = _state.evaluator
        _state.evaluator = None
    if evaluator is not None:
        evaluator.close()
