"""Linux calls that Python does not wrap, by way of libc."""

from __future__ import annotations

import ctypes
import os
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
_CAP_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)
_at_once = ctypes.PyDLL(None)  # neither releases the interpreter's lock nor keeps errno


def call(name: str, *arguments: Any) -> int:
    """A libc function that returns -1 on failure; raises OSError then."""
    result: int = libc[name](*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


class Prepared:
    """A call of small integers whose function and arguments are converted in advance.

    For a process just forked: each page that it touches must be copied first, and an ordinary call touches forty.
    """

    def __init__(self, name: str, *arguments: int) -> None:
        self._name = name
        self._function = _at_once[name]
        self._arguments = [ctypes.c_long(value) for value in arguments]

    def __call__(self) -> None:
        if self._function(*self._arguments) == -1:
            raise OSError(f"{self._name} failed")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument; raises OSError."""
    call("prctl", option, value, 0, 0, 0)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2); raises OSError."""
    call("mount", source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), options.encode())


def unmount(target: str) -> None:
    """Detach what is mounted on ``target``, also while it is in use; raises OSError."""
    call("umount2", target.encode(), MNT_DETACH)


def make_read_only(target: str) -> None:
    """Every mount from ``target`` down becomes read-only; raises OSError."""
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, size)


def drop_capabilities() -> None:
    """Give up every capability for good; raises OSError."""
    call("capset", (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0), (ctypes.c_uint32 * 6)())


def write_file(path: str, text: str) -> None:
    """Write an existing file of /proc."""
    with open(path, "w") as handle:
        handle.write(text)
