"""System-call filter: calls that no program needs, or that could bypass the other fences, fail with EPERM.

Namespaces and dropped capabilities already deny most of these calls. The filter also works on hosts without namespaces,
and keeps rarely tested parts of the kernel out of reach. The numbers are from the kernel's system-call tables.
"""

from __future__ import annotations

import ctypes
import errno
import os

from evaluator.inside import kernel

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN_OF_MACHINE = {"x86_64": 0, "aarch64": 1}

DENIED_CALLS = {
    # Other processes: tracing them, reading their memory, taking their descriptors.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    # The network, and socket files of the host. socketpair stays allowed, because asyncio needs it.
    "socket": (41, 198),
    # Objects that outlive a process without being files: System V and POSIX queues, shared memory, keys.
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # Mounts, roots and namespaces.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    # Large, rarely used parts of the kernel.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_secret": (447, 447),
    # The machine itself.
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "personality": (135, 92),
}
SIGNAL_CALLS = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}
"""Denied only if no other fence scopes signals, because a candidate could then kill the evaluator itself."""
CLONE = (56, 220)
CLONE3 = (435, 435)
_NEW_NAMESPACES = (
    *(kernel.CLONE_NEWNS, kernel.CLONE_NEWUTS, kernel.CLONE_NEWIPC, kernel.CLONE_NEWUSER, kernel.CLONE_NEWPID),
    *(kernel.CLONE_NEWNET, kernel.CLONE_NEWCGROUP),
)

# Classic BPF: load a word, jump if equal, greater or equal or any bit is set, return.
_LOAD = 0x20
_EQUAL = 0x15
_AT_LEAST = 0x35
_ANY_BIT = 0x45
_RETURN = 0x06
# Offsets in struct seccomp_data.
_NUMBER = 0
_ARCH = 4
_FIRST_ARGUMENT = 16
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_SECCOMP_MODE_FILTER = 2
_X32 = 0x40000000  # x86_64's second table of system calls


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def build_instructions(machine: str, deny_signals: bool) -> list[tuple[int, int, int, int]]:
    """Return the filter as tuples (code, if true, if false, value). Jumps are numbers of instructions to skip."""
    column = _COLUMN_OF_MACHINE[machine]
    denied = sorted(numbers[column] for numbers in {**DENIED_CALLS, **(SIGNAL_CALLS if deny_signals else {})}.values())
    mask = 0
    for flag in _NEW_NAMESPACES:
        mask |= flag
    tail = [
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),  # for clone3, whose flags are in memory: libc falls back to clone
    ]
    checks: list[tuple[int, str, str, int]] = [
        (_AT_LEAST, "deny", "", _X32),
        *[(_EQUAL, "deny", "", number) for number in denied],
        (_EQUAL, "absent", "", CLONE3[column]),
        (_EQUAL, "", "allow", CLONE[column]),
    ]
    last = [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, mask)]  # continues at allow, or jumps to deny
    body = []
    for index, (code, if_true, if_false, value) in enumerate(checks):
        to_tail = len(checks) - index - 1 + len(last)
        targets = {"": 0, "allow": to_tail, "deny": to_tail + 1, "absent": to_tail + 2}
        body.append((code, targets[if_true], targets[if_false], value))
    head = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, AUDIT_ARCH[machine]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    return head + body + last + tail


class SeccompFilter:
    """Filter that is ready to be installed, permanently, in the process that calls ``install``. Requires no_new_privs.

    Raises OSError on a machine whose system-call numbers are not known here.
    """

    def __init__(self, deny_signals: bool) -> None:
        machine = os.uname().machine
        if machine not in _COLUMN_OF_MACHINE:
            raise OSError(f"no system-call numbers for {machine}")
        instructions = build_instructions(machine, deny_signals)
        self._instructions = (_Instruction * len(instructions))(*(_Instruction(*step) for step in instructions))
        self._program = _FilterProgram(len(instructions), self._instructions)

    def install(self) -> None:
        """Install the filter in this process and all its future children. Raises OSError."""
        kernel.call("prctl", kernel.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._program), 0, 0)
