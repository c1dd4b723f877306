"""The system call filter: an allow-list of the calls that an interpreter needs, as classic BPF.

A call is on the list if its effects end with the process and it does not reveal what other processes do. If that is
true only for some arguments, ``CONDITIONS`` says which. ``docs/sandbox-calls.md`` explains every call.

Sources: Linux Documentation/userspace-api/seccomp_filter.rst, man 2 seccomp, include/uapi/linux/{filter,audit}.h; the
numbers are those of the kernel's own tables for the two machines.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Sequence

# Name -> number on (x86_64, aarch64); None if that machine lacks the call.
ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # open files
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "pwrite64": (18, 68),
    "lseek": (8, 62), "close": (3, 57), "fstat": (5, 80), "ftruncate": (77, 46),
    "fallocate": (285, 47), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "poll": (7, None),
    "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "epoll_create": (213, None),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    "eventfd": (284, None), "eventfd2": (290, 19), "sendfile": (40, 71), "copy_file_range": (326, 285),
    # names of files: the root and Landlock say which
    "creat": (85, None), "stat": (4, None), "lstat": (6, None),
    "newfstatat": (262, 79), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "getdents": (78, None),
    "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "mkdir": (83, None),
    "mkdirat": (258, 34), "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "umask": (95, 166),
    "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11),
    "llistxattr": (195, 12), "flistxattr": (196, 13),
    # own memory
    "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214),
    # own signals and timers: handlers, not sending
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132), "pause": (34, None),
    "alarm": (37, None), "setitimer": (38, 103), "getitimer": (36, 102), "restart_syscall": (219, 128),
    # own threads
    "exit": (60, 93), "exit_group": (231, 94), "set_robust_list": (273, 99), "set_tid_address": (218, 96),
    "rseq": (334, 293), "getcpu": (309, 168), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126),
    # who and where it is
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getpgrp": (111, None), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150), "uname": (63, 160),
    "getrlimit": (97, 163), "getrusage": (98, 165), "times": (100, 153),
    # the time
    "time": (201, None), "gettimeofday": (96, 169), "nanosleep": (35, 101), "getrandom": (318, 278),
}  # fmt: skip
DONE: dict[str, tuple[int | None, int | None]] = {
    "fsync": (74, 82), "fdatasync": (75, 83), "msync": (26, 227), "flock": (73, 32), "sched_yield": (24, 124),
}  # fmt: skip
"""calls that report success without doing anything: a disk that belongs to one process needs neither locks nor
flushing, and on a shared file these calls would be a message to others, or a load on the machine's disk. A process that
gives its core away would wait for one by choice, and waiting is not charged to it (``watch.py``)"""
_F_SETLK, _F_SETLKW = 6, 7
# duplicate; descriptor and status flags. Not F_SETOWN and its like, which send signals, nor pipe sizes, leases, seals.
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)
# TCGETS, TIOCGWINSZ (is it a terminal?), FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
_IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# Advice that allocators give on their own memory. Not WILLNEED, COLD, PAGEOUT, which move shared pages, nor MERGEABLE.
_ADVICE = (0, 1, 2, 4, 8, 14, 15, 16, 17)
_RLIMIT_STACK = 3
_CLOCKS = tuple(range(12))
"""the system's clocks and the process's own CPU time; a negative number is another process's CPU time"""
_THREAD_FLAGS, _THREAD_NEEDS = 0x7D0F00, 0x10F00
"""clone flags that a thread may have (CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID,
CHILD_CLEARTID, DETACHED), and those that it must have so that it shares everything that can be shared"""
_MAP_HUGETLB = 0x40000
_SHARED_ANONYMOUS = 0x21
"""MAP_SHARED with MAP_ANONYMOUS. The kernel keeps such memory whole until its last page is unmapped, while the limit of
address space counts only what is still mapped; and a process that can't fork has nobody to share it with"""
_CLOSE_RANGE_UNSHARE = 2
"""gives the calling thread its own table of open files, with a limit of its own"""
_O_ACCMODE, _O_WRONLY, _O_RDWR, _O_TRUNC = 3, 1, 2, 0x200
_FUTEX_PRIVATE, _FUTEX_COMMAND = 128, 127
_FUTEX_WAITS = (0, 9)
"""FUTEX_WAIT and WAIT_BITSET. Joining a thread waits this way, and the kernel wakes it. Any other call on a word that
is not private to the process would reach every process that has the same library mapped."""

_FUTEX_OWN = (0, 1, 9, 10, 3, 4, 5)
"""what a process may do on its private words: wait, wake and requeue. Not the locks with priority inheritance: their
word names a thread, and the answer tells whether the machine has a process with that number"""

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""machine -> column of the table, AUDIT_ARCH"""
_LAST_KNOWN = 449
"""anything newer answers "not implemented", as on an older kernel, so that libraries fall back"""

_LOAD, _AND, _JEQ, _JGE, _JSET, _RET = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _ABSENT, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
_AS_DONE, _ASK = 0x00050000, 0x7FC00000
_NUMBER, _ARCH = 0, 4
"""offsets in ``struct seccomp_data``"""

_Line = tuple[int, int, int, int]


def _argument(n: int, *, high: bool = False) -> _Line:
    """Load one half of an argument; both machines are little-endian."""
    return _LOAD, 0, 0, 16 + 8 * n + 4 * high


def _if_one_of(n: int, values: Sequence[int], answer: int = _ALLOW) -> list[_Line]:
    """Return ``answer`` if argument ``n``, an int, is one of ``values``; otherwise continue."""
    lines = [_argument(n)]
    for value in values:
        lines += [(_JEQ, 0, 1, value), (_RET, 0, 0, answer)]
    return lines


def _unless_it_empties(n: int) -> list[_Line]:
    """Open a file by the flags in argument ``n``. Truncation needs the right to write, which Landlock checks in every
    version; before Linux 6.2 it does not check the truncation of a file opened for reading only."""
    return [
        _argument(n), (_JSET, 1, 0, _O_TRUNC), (_RET, 0, 0, _ALLOW),
        (_AND, 0, 0, _O_ACCMODE), (_JEQ, 0, 1, _O_WRONLY), (_RET, 0, 0, _ALLOW), (_JEQ, 0, 1, _O_RDWR),
        (_RET, 0, 0, _ALLOW),
    ]  # fmt: skip


# Call -> (its numbers on x86_64 and aarch64, the deciding instructions); if these do not decide, it is refused.
CONDITIONS: dict[str, tuple[tuple[int | None, int | None], list[_Line]]] = {
    "open": ((2, None), _unless_it_empties(1)),
    "openat": ((257, 56), _unless_it_empties(2)),
    "mmap": (
        (9, 222),
        [_argument(3), (_JSET, 3, 0, _MAP_HUGETLB), (_AND, 0, 0, _SHARED_ANONYMOUS),
         (_JEQ, 1, 0, _SHARED_ANONYMOUS), (_RET, 0, 0, _ALLOW)],
    ),
    "close_range": ((436, 436), [_argument(2), (_JSET, 1, 0, _CLOSE_RANGE_UNSHARE), (_RET, 0, 0, _ALLOW)]),
    "madvise": ((28, 233), _if_one_of(2, _ADVICE)),
    "futex": (
        (202, 98),
        [_argument(1), (_AND, 0, 0, _FUTEX_PRIVATE | _FUTEX_COMMAND),
         *_if_one_of(1, [*(_FUTEX_PRIVATE | command for command in _FUTEX_OWN), *_FUTEX_WAITS])[1:]],
    ),
    "clone": (
        (56, 220),
        [_argument(0), (_JSET, 3, 0, 0xFFFFFFFF & ~_THREAD_FLAGS), (_AND, 0, 0, _THREAD_NEEDS),
         (_JEQ, 0, 1, _THREAD_NEEDS), (_RET, 0, 0, _ALLOW)],
    ),
    "fcntl": ((72, 25), [*_if_one_of(1, _FCNTL_COMMANDS), *_if_one_of(1, (_F_SETLK, _F_SETLKW), _AS_DONE)[1:]]),
    "ioctl": ((16, 29), _if_one_of(1, _IOCTL_REQUESTS)),
    # its own limits: read any of them, set only that of the stack
    "prlimit64": (
        (302, 261),
        [_argument(0), (_JEQ, 0, 7, 0), _argument(1), (_JEQ, 4, 0, _RLIMIT_STACK),
         _argument(2), (_JEQ, 0, 3, 0), _argument(2, high=True), (_JEQ, 0, 1, 0), (_RET, 0, 0, _ALLOW)],
    ),
    "clock_gettime": ((228, 113), _if_one_of(0, _CLOCKS)),
    "clock_getres": ((229, 114), _if_one_of(0, _CLOCKS)),
    "clock_nanosleep": ((230, 115), _if_one_of(0, _CLOCKS)),
    # only for the caller, 0
    "sched_getaffinity": ((204, 123), _if_one_of(0, (0,))),
    "sched_getparam": ((143, 121), _if_one_of(0, (0,))),
    "sched_getscheduler": ((145, 120), _if_one_of(0, (0,))),
    "getpgid": ((121, 155), _if_one_of(0, (0,))),
    "getsid": ((124, 156), _if_one_of(0, (0,))),
    "getpriority": ((140, 141), [_argument(0), (_JEQ, 0, 3, 0), *_if_one_of(1, (0,))]),
}  # fmt: skip
_ABSENT_CALLS: dict[str, tuple[int, int]] = {"clone3": (435, 435), "statx": (332, 291)}
"""calls whose arguments are in memory, which a filter can't read: libraries fall back to the older calls"""


def column() -> int:
    """Return this machine's column in the tables. Raises ``OSError`` on other machines."""
    try:
        return _MACHINES[platform.machine()][0]
    except KeyError:
        raise OSError(errno.ENOSYS, f"no system call table for {platform.machine()}") from None


def program(*, threads: bool = True, folders: bool = True) -> bytes:
    """Return the filter. Allowed calls pass, other known calls get EPERM, newer ones ENOSYS; another ABI's calls kill.

    ``threads``, ``folders``: False if they are not counted, so that none can be started or made.
    """
    here = column()
    code: list[_Line] = [
        (_LOAD, 0, 0, _ARCH), (_JEQ, 1, 0, _MACHINES[platform.machine()][1]), (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JGE, 0, 1, _LAST_KNOWN + 1), (_RET, 0, 0, _ABSENT),  # the x32 ABI (bit 30) too
    ]  # fmt: skip
    for absent in _ABSENT_CALLS.values():
        code += [(_JEQ, 0, 1, absent[here]), (_RET, 0, 0, _ABSENT)]
    for done in DONE.values():
        code += [(_JEQ, 0, 1, _known(done, here)), (_RET, 0, 0, _AS_DONE)]
    for call in () if folders else folder_calls():
        code += [(_JEQ, 0, 1, call), (_RET, 0, 0, _REFUSE)]
    for name, (numbers, deciding) in CONDITIONS.items():
        number = numbers[here]
        if number is not None:
            lines = [(_RET, 0, 0, _REFUSE)] if name == "clone" and not threads else [*deciding, (_RET, 0, 0, _REFUSE)]
            code += [(_JEQ, 0, len(lines), number), *lines]
    code += _search(_borders(here))
    return _packed(code)


def asking_program(*, folders: bool = False) -> bytes:
    """Return a second filter that lets every ``clone`` wait for an answer (man 2 seccomp, SECCOMP_RET_USER_NOTIF); the
    main filter still applies. ``folders``: also every call that makes a folder."""
    here = column()
    asked = [_known(CONDITIONS["clone"][0], here), *(folder_calls() if folders else ())]
    lines: list[_Line] = [(_LOAD, 0, 0, _NUMBER)]
    for number in asked:
        lines += [(_JEQ, 0, 1, number), (_RET, 0, 0, _ASK)]
    return _packed([*lines, (_RET, 0, 0, _ALLOW)])


def folder_calls() -> list[int]:
    """Return the numbers of the calls that make a folder."""
    numbers = [ALLOWED[name][column()] for name in ("mkdir", "mkdirat")]
    return [number for number in numbers if number is not None]


def _known(numbers: tuple[int | None, int | None], here: int) -> int:
    number = numbers[here]
    if number is None:
        raise OSError(errno.ENOSYS, "a system call that the filter decides on is not in this machine's table")
    return number


def _packed(code: Sequence[_Line]) -> bytes:
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def _borders(here: int) -> list[int]:
    """Return the numbers at which refusing turns into allowing and back, in order; 0 itself may be one."""
    allowed = {numbers[here] for numbers in ALLOWED.values()}
    return [n for n in range(_LAST_KNOWN + 2) if (n in allowed) != (n - 1 in allowed)]


def _search(borders: Sequence[int], allows: bool = False) -> list[_Line]:
    """Return a binary search of the number among ``borders``; below the first of them the answer is ``allows``.

    One comparison per call would be too slow: on installing, the kernel runs the filter for every number, per child.
    """
    if not borders:
        return [(_RET, 0, 0, _ALLOW if allows else _REFUSE)]
    middle = len(borders) // 2
    below = _search(borders[:middle], allows)
    above = _search(borders[middle + 1 :], allows == bool(middle % 2))
    return [(_JGE, len(below), 0, borders[middle]), *below, *above]
