"""Linux system calls that Python does not wrap, called through libc."""

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
CAP_SYS_PTRACE = 19
_CAP_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_gil = ctypes.PyDLL(None)  # neither releases the interpreter lock nor saves errno


def call(name: str, *arguments: Any) -> int:
    """Call a libc function that returns -1 on failure. Raises OSError on failure."""
    result: int = libc[name](*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


class PreparedCall:
    """Libc call with small integer arguments whose function and arguments are converted in advance.

    It is for freshly forked processes, where each page that is written must first be copied: an ordinary call writes
    forty pages.
    """

    def __init__(self, name: str, *arguments: int) -> None:
        self._name = name
        self._function = _libc_holding_gil[name]
        self._arguments = [ctypes.c_long(value) for value in arguments]

    def __call__(self) -> None:
        if self._function(*self._arguments) == -1:
            raise OSError(f"{self._name} failed")


def prctl(option: int, value: int) -> None:
    """Call prctl(2) with one argument. Raises OSError."""
    call("prctl", option, value, 0, 0, 0)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Call mount(2). Raises OSError."""
    call("mount", source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), options.encode())


def unmount(target: str) -> None:
    """Detach the mount at ``target``, even if it is in use. Raises OSError."""
    call("umount2", target.encode(), MNT_DETACH)


def make_read_only(target: str) -> None:
    """Make ``target`` and all mounts below it read-only. Raises OSError."""
    attributes = (ctypes.c_uint64 * 4)(MS_RDONLY | MS_NOSUID, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, size)


_capability_header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
_no_capabilities = (ctypes.c_uint32 * 6)()


def drop_capabilities(kept: int | None = None) -> None:
    """Drop all capabilities permanently, except the one with number ``kept``. Raises OSError."""
    bits = 0 if kept is None else 1 << kept
    call("capset", _capability_header, (ctypes.c_uint32 * 6)(bits, bits))  # effective, permitted, not inheritable


def prepare_drop_capabilities() -> PreparedCall:
    """Prepare a fast call of ``drop_capabilities`` that keeps none."""
    return PreparedCall("capset", ctypes.addressof(_capability_header), ctypes.addressof(_no_capabilities))


def write_file(path: str, text: str) -> None:
    """Write to an existing file of /proc."""
    with open(path, "w") as handle:
        handle.write(text)
