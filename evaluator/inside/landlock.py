"""Landlock: restricts files, network and signals without privileges or namespaces (Linux 5.13 to 6.12).

It is a second fence behind a private root. Without a private root, it alone keeps the host's files unreadable.
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
_RIGHTS_OF_VERSION_1 = (1 << 13) - 1
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEVICE = 1 << 15
_TCP = 3  # rights to bind and to connect
SCOPE_ABSTRACT_SOCKETS = 1
SCOPE_SIGNALS = 2
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE


def get_version() -> int:
    """Return the kernel's Landlock version. Raises OSError if the kernel has no Landlock."""
    return kernel.call("syscall", _CREATE_RULESET, None, 0, _GET_VERSION)


def get_file_rights(landlock_version: int) -> int:
    """Return all rights on files that this version of Landlock knows, as a bit mask."""
    later_rights = (_REFER, 2), (_TRUNCATE, 3), (_IOCTL_DEVICE, 5)
    return _RIGHTS_OF_VERSION_1 | sum(right for right, since in later_rights if landlock_version >= since)


def create_file_ruleset(readable: Iterable[str], writable: Iterable[str], listable: Iterable[str] = ()) -> int:
    """Create a ruleset: read and execute below ``readable``, everything below ``writable``, and no TCP.

    Below ``listable``, the names of files can be read.

    Returns its descriptor. Raises OSError if the kernel has no Landlock. Paths that do not exist are skipped.
    """
    landlock_version = get_version()
    handled = get_file_rights(landlock_version)
    network = _TCP if landlock_version >= 4 else 0
    ruleset = _create(handled, network, SCOPE_ABSTRACT_SOCKETS if landlock_version >= 6 else 0)
    rights_of_paths = (listable, _READ_DIR), (readable, _EXECUTE | _READ_FILE | _READ_DIR), (writable, handled)
    for paths, rights in rights_of_paths:
        for path in paths:
            _allow(ruleset, path, rights & handled)
    return ruleset


def create_signal_ruleset() -> int:
    """Create a ruleset whose processes can only signal each other.

    Returns its descriptor. Raises OSError before Linux 6.12.
    """
    if get_version() < 6:
        raise OSError("Linux 6.12 or later is needed to restrict signals with Landlock")
    return _create(0, 0, SCOPE_SIGNALS)


def restrict_self(ruleset: int) -> None:
    """Restrict this thread and its children by ``ruleset`` permanently. Requires no_new_privs. Raises OSError."""
    prepare_restriction(ruleset)()


def prepare_restriction(ruleset: int) -> kernel.PreparedCall:
    """Prepare a fast call of ``restrict_self``."""
    return kernel.PreparedCall("syscall", _RESTRICT_SELF, ruleset, 0)


def _create(files: int, network: int, scopes: int) -> int:
    attributes = struct.pack("=QQQ", files, network, scopes)
    # Older kernels reject a structure longer than theirs unless the rest is zero, which is the case for them.
    return kernel.call("syscall", _CREATE_RULESET, attributes, len(attributes), 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, handle)
        buffer = ctypes.create_string_buffer(rule, len(rule))
        kernel.call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, buffer, 0)
    finally:
        os.close(handle)
