"""Landlock: which files a process may use, whatever the file system's own permissions say.

Sources: Linux Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h. The three system calls have the
same numbers on every machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from forewarn.judge.inside import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
# File rights ("Filesystem flags"). Reading is READ_FILE and READ_DIR: loading a library needs no EXECUTE, only running
# a program does. The handled set grows with the ABI: REFER since 2, TRUNCATE since 3, IOCTL_DEV since 5.
_READ = (1 << 2) | (1 << 3)
_OF_A_FILE = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)
_WORK = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 14)


def abi() -> int:
    """The kernel's Landlock ABI; 0 where there is none."""
    return max(0, int(kernel.LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def restrict(readable: Sequence[str], work: str) -> None:
    """Allow reading below ``readable`` and using ``work``; refuse other files, TCP (ABI 4), outside signals and
    abstract sockets (ABI 6). ``no_new_privs`` must be set."""
    found = abi()
    if found < 1:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    handled = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        if found >= since:
            handled |= 1 << bit
    attributes = struct.pack("=Q", handled)
    if found >= 4:
        attributes += struct.pack("=Q", 0b11)
    if found >= 6:
        attributes += struct.pack("=Q", 0b11)
    size = ctypes.c_size_t(len(attributes))
    ruleset = kernel.check(kernel.LIBC.syscall(_CREATE_RULESET, attributes, size, ctypes.c_uint(0)), "landlock")
    for path, rights in (*((path, _READ) for path in readable), (work, _WORK)):
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        rights &= handled if os.path.isdir(path) else handled & _OF_A_FILE  # noqa: PTH112 - pathlib is slow to import
        rule = struct.pack("=Qi", rights, handle)
        kernel.check(kernel.LIBC.syscall(_ADD_RULE, ruleset, 1, rule, ctypes.c_uint(0)), f"landlock rule {path}")
        os.close(handle)
    kernel.check(kernel.LIBC.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint(0)), "landlock_restrict_self")
    os.close(ruleset)
