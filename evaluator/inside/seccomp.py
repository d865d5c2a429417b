"""System-call filter: calls that no program needs, or that could bypass the other fences, fail with EPERM.

Namespaces and dropped capabilities already deny most of these calls. The filter also works on hosts without namespaces,
and keeps rarely tested parts of the kernel out of reach. Calls that programs do need for themselves, but that can also
act on other processes, are refused by their arguments. The numbers are from the kernel's system-call tables.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass

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
    "process_mrelease": (448, 448),
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
    # Objects whose number the kernel limits for the whole host or for the user.
    "io_setup": (206, 0),
    "inotify_init": (253, 26),  # aarch64 has only the second one
    "inotify_init1": (294, 26),
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
"""Refused, entirely or for some processes, only if Landlock does not scope signals."""
ATTRIBUTE_CALLS = {
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
}
"""Answered as by a file system without extended attributes, which a program could leave for its next test."""
_NEW_NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWCGROUP
)
_PR_SCHED_CORE = 62
_IOPRIO_WHO_PROCESS = 1
_F_SETOWN = 8
_F_SETSIG = 10
_F_SETOWN_EX = 15
_F_SETPIPE_SZ = 1031
_FIOSETOWN = 0x8901
_SIOCSPGRP = 0x8902
_SOCKET_TYPE_MASK = 0xF  # without SOCK_NONBLOCK and SOCK_CLOEXEC
_SOCK_DGRAM = 2
_SOCK_RAW = 3  # the kernel makes it a SOCK_DGRAM in the family AF_UNIX
_AF_UNIX = 1

# Classic BPF: load a word, and, jump if equal or greater or equal, return.
_LOAD = 0x20
_AND = 0x54
_EQUAL = 0x15
_AT_LEAST = 0x35
_RETURN = 0x06
# Offsets in struct seccomp_data.
_NUMBER = 0
_ARCH = 4
_ARGUMENTS = 16
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_SECCOMP_MODE_FILTER = 2
_X32 = 0x40000000  # x86_64's second table of system calls
_WORD = 0xFFFFFFFF

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, value. Jumps are numbers of instructions to skip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """Condition on the low or high 32 bits of one argument of a call.

    The kernel ignores the high half of arguments that are declared as 32-bit integers, such as process ids.

    Attributes:
        word: index of the 32-bit word: twice the index of the argument for its low half, one more for its high half.
        value: value to compare with.
        equal: True if the word must be equal to ``value``, False if it must differ.
        mask: bits of the word to compare.
    """

    word: int
    value: int
    equal: bool = True
    mask: int = _WORD


@dataclass(frozen=True, kw_only=True, slots=True)
class CallRule:
    """Rule for one call: it fails with ``error`` if all conditions of one of ``refusals`` hold.

    Attributes:
        numbers: number of the call on x86_64 and on aarch64.
        refusals: alternatives. One without conditions refuses every call.
        error: number of the error.
    """

    numbers: tuple[int, int]
    refusals: tuple[tuple[Condition, ...], ...] = ((),)
    error: int = errno.EPERM


def _low(argument: int, value: int, *, equal: bool = True, mask: int = _WORD) -> Condition:
    return Condition(word=2 * argument, value=value & _WORD, equal=equal, mask=mask)


def _not_zero(argument: int) -> Condition:
    return _low(argument, 0, equal=False)


_ARGUMENT_RULES = (
    # Of another process. A limit without a new value only reads.
    CallRule(
        numbers=(302, 261),  # prlimit64
        refusals=((_not_zero(0), _not_zero(2)), (_not_zero(0), Condition(word=5, value=0, equal=False))),
    ),
    CallRule(numbers=(142, 118), refusals=((_not_zero(0),),)),  # sched_setparam
    CallRule(numbers=(144, 119), refusals=((_not_zero(0),),)),  # sched_setscheduler
    CallRule(numbers=(203, 122), refusals=((_not_zero(0),),)),  # sched_setaffinity
    CallRule(numbers=(314, 274), refusals=((_not_zero(0),),)),  # sched_setattr
    CallRule(numbers=(256, 238), refusals=((_not_zero(0),),)),  # migrate_pages
    CallRule(numbers=(279, 239), refusals=((_not_zero(0),),)),  # move_pages
    CallRule(numbers=(141, 140), refusals=((_not_zero(0),), (_not_zero(1),))),  # setpriority: PRIO_PROCESS is 0
    CallRule(numbers=(251, 30), refusals=((_low(0, _IOPRIO_WHO_PROCESS, equal=False),), (_not_zero(1),))),  # ioprio_set
    # A descriptor that sends a signal to another process, or a pipe that takes its user's share of all pipes.
    CallRule(
        numbers=(72, 25),  # fcntl
        refusals=tuple((_low(1, command),) for command in (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETPIPE_SZ)),
    ),
    CallRule(numbers=(16, 29), refusals=((_low(1, _FIOSETOWN),), (_low(1, _SIOCSPGRP),))),  # ioctl
    # A datagram socket can send to any socket file of the host. Other families are only needed with the network.
    CallRule(
        numbers=(53, 199),  # socketpair
        refusals=(
            (_low(0, _AF_UNIX, equal=False),),
            (_low(1, _SOCK_DGRAM, mask=_SOCKET_TYPE_MASK),),
            (_low(1, _SOCK_RAW, mask=_SOCKET_TYPE_MASK),),
        ),
    ),
    # An undumpable process hides its memory from the template.
    CallRule(
        numbers=(157, 167),  # prctl
        refusals=((_low(0, kernel.PR_SET_DUMPABLE), _low(1, 1, equal=False)), (_low(0, _PR_SCHED_CORE), _not_zero(2))),
    ),
    CallRule(numbers=(56, 220), refusals=((_low(0, 0, equal=False, mask=_NEW_NAMESPACES),),)),  # clone
    CallRule(numbers=(435, 435), error=errno.ENOSYS),  # clone3, whose flags are in memory: libc falls back to clone
)


def build_rules() -> list[CallRule]:
    """Return the rules for all programs."""
    denied = [CallRule(numbers=numbers) for numbers in DENIED_CALLS.values()]
    attributes = [CallRule(numbers=numbers, error=errno.EOPNOTSUPP) for numbers in ATTRIBUTE_CALLS.values()]
    return [*denied, *attributes, *_ARGUMENT_RULES]


def build_signal_rules(protected: tuple[int, ...] | None) -> list[CallRule]:
    """Return rules that refuse signals to the processes ``protected``, their groups, and all processes at once.

    With None, all signals are refused.
    """
    if protected is None:
        return [CallRule(numbers=numbers) for numbers in SIGNAL_CALLS.values()]
    threads = tuple((_low(0, pid),) for pid in protected)
    targets = (*threads, *((_low(0, -pid),) for pid in protected), (_low(0, -1),))
    refusals = {
        "kill": targets,
        "rt_sigqueueinfo": targets,
        "tkill": threads,
        "tgkill": threads,
        "rt_tgsigqueueinfo": threads,
        "pidfd_send_signal": ((),),
    }
    return [CallRule(numbers=numbers, refusals=refusals[name]) for name, numbers in SIGNAL_CALLS.items()]


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def build_instructions(machine: str, rules: list[CallRule]) -> list[Instruction]:
    """Return the filter. Each rule is a block of its own, which is skipped unless the number of the call matches."""
    head = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    column = _COLUMN_OF_MACHINE[machine]
    blocks = [instruction for rule in rules for instruction in _build_block(rule, column)]
    return [*head, *blocks, (_RETURN, 0, 0, _ALLOW)]


def _build_block(rule: CallRule, column: int) -> list[Instruction]:
    body: list[Instruction] = []
    for conditions in rule.refusals:
        body += _build_refusal(conditions, rule.error)
    if rule.refusals[-1]:  # otherwise it always returns
        body.append((_RETURN, 0, 0, _ALLOW))
    return [(_EQUAL, 0, len(body), rule.numbers[column]), *body]


def _build_refusal(conditions: tuple[Condition, ...], error: int) -> list[Instruction]:
    """Return instructions that return ``error`` if all conditions hold, and otherwise continue after their end."""
    block: list[Instruction] = [(_RETURN, 0, 0, _ERRNO | error)]
    for condition in reversed(conditions):
        to_end = len(block)
        jump = (0, to_end) if condition.equal else (to_end, 0)
        mask: list[Instruction] = [] if condition.mask == _WORD else [(_AND, 0, 0, condition.mask)]
        load: Instruction = (_LOAD, 0, 0, _ARGUMENTS + 4 * condition.word)
        block = [load, *mask, (_EQUAL, *jump, condition.value), *block]
    return block


class SeccompFilter:
    """Filter that is ready to be installed, permanently, in the process that calls ``install``. Requires no_new_privs.

    Raises OSError on a machine whose system-call numbers are not known here.
    """

    def __init__(self, rules: list[CallRule]) -> None:
        machine = os.uname().machine
        if machine not in _COLUMN_OF_MACHINE:
            raise OSError(f"no system-call numbers for {machine}")
        instructions = build_instructions(machine, rules)
        self._instructions = (_Instruction * len(instructions))(*(_Instruction(*step) for step in instructions))
        self._program = _FilterProgram(len(instructions), self._instructions)

    def install(self) -> None:
        """Install the filter in this process and all its future children. Raises OSError."""
        kernel.call("prctl", kernel.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._program), 0, 0)
