"""The system call filter: a list of the calls an interpreter needs, as classic BPF. Everything else is refused.

Sources: Linux Documentation/userspace-api/seccomp_filter.rst, man 2 seccomp, include/uapi/linux/{filter,audit}.h; the
numbers are those of the kernel's own tables for the two machines.
"""

from __future__ import annotations

import errno
import platform
import struct

# Name -> number on (x86_64, aarch64); None where that machine has no such call.
ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # open files
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "pwrite64": (18, 68),
    "lseek": (8, 62), "close": (3, 57), "close_range": (436, 436), "fstat": (5, 80), "ftruncate": (77, 46),
    "fallocate": (285, 47), "fsync": (74, 82), "fdatasync": (75, 83), "flock": (73, 32), "fadvise64": (221, 223),
    "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24), "pipe": (22, None), "pipe2": (293, 59), "poll": (7, None),
    "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72), "epoll_create": (213, None),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    "eventfd": (284, None), "eventfd2": (290, 19), "sendfile": (40, 71), "copy_file_range": (326, 285),
    # names of files: the root and Landlock say which
    "open": (2, None), "openat": (257, 56), "creat": (85, None), "stat": (4, None), "lstat": (6, None),
    "newfstatat": (262, 79), "statx": (332, 291), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "getdents": (78, None),
    "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "mkdir": (83, None),
    "mkdirat": (258, 34), "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "truncate": (76, 45), "umask": (95, 166), "statfs": (137, 43), "fstatfs": (138, 44),
    "getxattr": (191, 8), "lgetxattr": (192, 9), "fgetxattr": (193, 10), "listxattr": (194, 11),
    "llistxattr": (195, 12), "flistxattr": (196, 13),
    # own memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233),
    "brk": (12, 214), "msync": (26, 227), "mincore": (27, 232),
    # own signals and timers: handlers, not sending
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133), "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132), "pause": (34, None),
    "alarm": (37, None), "setitimer": (38, 103), "getitimer": (36, 102), "restart_syscall": (219, 128),
    # own threads
    "exit": (60, 93), "exit_group": (231, 94), "futex": (202, 98), "futex_waitv": (449, 449),
    "set_robust_list": (273, 99), "set_tid_address": (218, 96), "rseq": (334, 293), "membarrier": (324, 283),
    "arch_prctl": (158, None), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getcpu": (309, 168),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126), "getpriority": (140, 141),
    # who and where it is
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getpgid": (121, 155), "getpgrp": (111, None),
    "getsid": (124, 156), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150), "uname": (63, 160),
    "sysinfo": (99, 179), "getrlimit": (97, 163), "setrlimit": (160, 164), "getrusage": (98, 165), "times": (100, 153),
    "capget": (125, 90),
    # the time
    "time": (201, None), "gettimeofday": (96, 169), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "nanosleep": (35, 101), "getrandom": (318, 278),
}  # fmt: skip
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""machine -> column of the table, AUDIT_ARCH"""
_CLONE, _CLONE3, _PRLIMIT, _FCNTL, _IOCTL = (56, 220), (435, 435), (302, 261), (72, 25), (16, 29)
_LAST_KNOWN = 449
"""anything newer answers "not implemented", as on an older kernel, so that libraries fall back"""
_CLONE_THREAD = 0x10000
# duplicate; descriptor and status flags; locks. Not F_SETOWN and its like, which send signals.
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
# TCGETS, TIOCGWINSZ (is it a terminal?), FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
_IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)

_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _ABSENT, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
_NUMBER, _ARCH, _ARGUMENT_0, _ARGUMENT_1 = 0, 4, 16, 24
"""offsets in ``struct seccomp_data``; of an argument, its low half (both machines are little-endian)"""

_Line = tuple[int, int, int, int]


def column() -> int:
    """This machine's column in ``ALLOWED``. Raises ``OSError`` on machines that are not in it."""
    try:
        return _MACHINES[platform.machine()][0]
    except KeyError:
        raise OSError(errno.ENOSYS, f"no system call table for {platform.machine()}") from None


def program() -> bytes:
    """The filter. Allowed calls pass, known others get EPERM, newer ones ENOSYS; another ABI's calls kill."""
    here = column()
    code: list[_Line] = [
        (_LOAD, 0, 0, _ARCH), (_JEQ, 1, 0, _MACHINES[platform.machine()][1]), (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JGE, 0, 1, _LAST_KNOWN + 1), (_RET, 0, 0, _ABSENT),  # the x32 ABI (bit 30) too
        (_JEQ, 0, 1, _CLONE3[here]), (_RET, 0, 0, _ABSENT),  # its flags lie in memory; libc falls back to clone
        # clone: a thread only
        (_JEQ, 0, 4, _CLONE[here]), (_LOAD, 0, 0, _ARGUMENT_0), (_JSET, 0, 1, _CLONE_THREAD), (_RET, 0, 0, _ALLOW),
        (_RET, 0, 0, _REFUSE),
        # prlimit64: pid 0, itself, only
        (_JEQ, 0, 4, _PRLIMIT[here]), (_LOAD, 0, 0, _ARGUMENT_0), (_JEQ, 0, 1, 0), (_RET, 0, 0, _ALLOW),
        (_RET, 0, 0, _REFUSE),
    ]  # fmt: skip
    code += _one_of(_FCNTL[here], _FCNTL_COMMANDS) + _one_of(_IOCTL[here], _IOCTL_REQUESTS)
    for numbers in ALLOWED.values():
        number = numbers[here]
        if number is not None:
            code += [(_JEQ, 0, 1, number), (_RET, 0, 0, _ALLOW)]
    code.append((_RET, 0, 0, _REFUSE))
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def _one_of(call: int, commands: tuple[int, ...]) -> list[_Line]:
    """Allow ``call`` where its second argument is one of ``commands``, else refuse it."""
    tests: list[_Line] = []
    for command in commands:
        tests += [(_JEQ, 0, 1, command), (_RET, 0, 0, _ALLOW)]
    return [(_JEQ, 0, len(tests) + 2, call), (_LOAD, 0, 0, _ARGUMENT_1), *tests, (_RET, 0, 0, _REFUSE)]
