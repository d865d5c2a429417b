"""Base classes of the errors that are meant for a person, with the exit status of a command that ends with one.

A command catches these two and prints the message alone, without a traceback; any other exception is a bug and keeps
its traceback. A subclass that callers also catch as a builtin exception names both bases, ours first:
``class ProblemError(UserError, ValueError)``. Its message is its first argument, so that it survives pickling: Ray
sends exceptions between processes.
"""

from __future__ import annotations

from typing import ClassVar


class UserError(Exception):
    """Something the user can put right before the work starts: a file, an argument, a missing resource."""

    exit_status: ClassVar[int] = 2


class RunFailed(Exception):
    """The work stopped under way, for a reason a person can act on: a full disk, a sandbox that does not start."""

    exit_status: ClassVar[int] = 1
