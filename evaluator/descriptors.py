"""Limit on open descriptors of this process, which its workers and the programs that they test share."""

from __future__ import annotations

import os
import resource

from evaluator.errors import UserError
from evaluator.sandbox import Limits

# Descriptors that a worker opens at most: for each of its sandboxes, the channels and files of the program that runs.
DESCRIPTORS_PER_WORKER = 40
SPARE_DESCRIPTORS = 16


class DescriptorLimitError(UserError, ValueError):
    """Error for a hard limit on open descriptors that is too low for the number of workers or the limits of a test."""


def raise_descriptor_limit(workers: int, limits: Limits, name: str = "workers") -> None:
    """Raise the soft limit on open descriptors, if necessary, to what ``workers`` and the tests need.

    A program that is tested cannot get a higher limit than this process. Raises DescriptorLimitError, whose message
    calls the number of workers ``name``, if the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserved = len(os.listdir("/proc/self/fd")) + SPARE_DESCRIPTORS
    needed = max(limits.files, reserved + DESCRIPTORS_PER_WORKER * workers)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        possible = (hard - reserved) // DESCRIPTORS_PER_WORKER
        advice = f"use at most {possible} workers, or raise" if hard >= limits.files and possible > 0 else "raise"
        raise DescriptorLimitError(
            f"{name} {workers}: needs a limit of {needed} open files, but {hard} is the highest that this process"
            f" may set (ulimit -Hn): {advice} the hard limit"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
