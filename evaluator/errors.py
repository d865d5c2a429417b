"""Base classes of errors addressed to the user, each with the exit status of a command that fails with it.

Commands catch these two classes and print only the message. Any other exception is a bug and keeps its traceback. A
subclass that callers may also catch as a builtin exception names both bases, ours first:
``class ProblemError(UserError, ValueError)``. The message must be the first argument, so that the exception survives
pickling when Ray sends it between processes.
"""

from __future__ import annotations

from typing import ClassVar


class UserError(Exception):
    """Error that the user can fix before the work starts, such as a bad file, a bad argument or a missing resource."""

    exit_status: ClassVar[int] = 2


class RunFailed(Exception):
    """Failure while the work was running that the user can act on, such as a full disk or a sandbox that fails."""

    exit_status: ClassVar[int] = 1
