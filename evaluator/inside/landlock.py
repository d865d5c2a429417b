"""Landlock: a file-system, network and signal fence that needs no privilege and no namespace (Linux 5.13 to 6.12).

It is a second fence behind a private root, and where there is none the only one that keeps the host's files unread.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from evaluator.inside import kernel

_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_GET_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE = 1
_WRITE_FILE = 2
_READ_FILE = 4
_READ_DIR = 8
_ALL_OF_VERSION_1 = (1 << 13) - 1
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEVICE = 1 << 15
_TCP = 3  # bind and connect
SCOPE_ABSTRACT_SOCKETS = 1
SCOPE_SIGNALS = 2
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE


def version() -> int:
    """The kernel's Landlock version; raises OSError where there is none."""
    return kernel.call("syscall", _CREATE_RULESET, None, 0, _GET_VERSION)


def file_rights(landlock: int) -> int:
    """All rights on files that this version of Landlock knows."""
    later = (_REFER, 2), (_TRUNCATE, 3), (_IOCTL_DEVICE, 5)
    return _ALL_OF_VERSION_1 | sum(right for right, since in later if landlock >= since)


def file_ruleset(readable: Iterable[str], writable: Iterable[str]) -> int:
    """Descriptor of a ruleset: read and execute below ``readable``, everything below ``writable``, and no TCP.

    Raises OSError where the kernel has no Landlock. Paths that do not exist are left out.
    """
    landlock = version()
    handled = file_rights(landlock)
    ruleset = _create(handled, _TCP if landlock >= 4 else 0, SCOPE_ABSTRACT_SOCKETS if landlock >= 6 else 0)
    for paths, rights in ((readable, _EXECUTE | _READ_FILE | _READ_DIR), (writable, handled)):
        for path in paths:
            _allow(ruleset, path, rights & handled)
    return ruleset


def signal_ruleset() -> int:
    """Descriptor of a ruleset whose processes can signal nobody outside of it. Raises OSError before Linux 6.12."""
    if version() < 6:
        raise OSError("this kernel's Landlock does not scope signals")
    return _create(0, 0, SCOPE_SIGNALS)


def restrict_self(ruleset: int) -> None:
    """Put this thread, and what it forks, behind ``ruleset`` for good; needs no_new_privs. Raises OSError."""
    prepare_restriction(ruleset)()


def prepare_restriction(ruleset: int) -> kernel.Prepared:
    """``restrict_self``, to be called later and then fast."""
    return kernel.Prepared("syscall", _RESTRICT_SELF, ruleset, 0)


def _create(files: int, network: int, scopes: int) -> int:
    attributes = struct.pack("=QQQ", files, network, scopes)
    # Older kernels refuse a structure longer than theirs unless the rest is zero, which it then is.
    return kernel.call("syscall", _CREATE_RULESET, attributes, len(attributes), 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, handle)
        buffer = ctypes.create_string_buffer(rule, len(rule))
        kernel.call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, buffer, 0)
    finally:
        os.close(handle)
