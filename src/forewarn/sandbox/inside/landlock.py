"""Landlock: restricts which files a process may use, whatever the file system's own permissions say.

Sources: Linux Documentation/userspace-api/landlock.rst, include/uapi/linux/landlock.h. The three system calls have the
same numbers on every machine.
"""

# ruff: noqa: PTH112, PTH114, PTH208 - pathlib is slow to import
from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from forewarn.sandbox.inside import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
# File rights ("Filesystem flags"). Reading is READ_FILE and READ_DIR: loading a library needs no EXECUTE, only running
# a program does. The handled set grows with the ABI: REFER since 2, TRUNCATE since 3, IOCTL_DEV since 5.
_LIST = 1 << 3
_READ = (1 << 2) | _LIST
_OF_A_FILE = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)
_WORK = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8) | (1 << 14)


def abi() -> int:
    """Return the kernel's Landlock ABI version; 0: it has no Landlock."""
    return max(0, int(kernel.LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def without(readable: Sequence[str], hidden: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the paths to read, and the folders to list. Rules can only add rights, so a folder with a hidden part is
    replaced by the rest of its content. Hidden folders may still be listed, since imports need that."""
    whole, listed = [], []
    for path in readable:
        if path in hidden or (
            os.path.islink(path) and os.path.isdir(path)
        ):  # a rule would apply to the target of a link
            continue
        if any(below.startswith(f"{path}/") for below in hidden):
            listed.append(path)
            inner = without([f"{path}/{name}" for name in os.listdir(path)], hidden)
            whole += inner[0]
            listed += inner[1]
        else:
            whole.append(path)
    return whole, listed


def ruleset(readable: Sequence[str], usable: str, listed: Sequence[str] = ()) -> int:
    """Return a descriptor of rules: read files below ``readable``, list folders below ``listed``, use files below
    ``usable``, including a disk mounted there. Other files, TCP (ABI 4), outside signals and abstract sockets (ABI 6)
    are refused."""
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
    low = kernel.check(kernel.LIBC.syscall(_CREATE_RULESET, attributes, size, ctypes.c_uint(0)), "landlock")
    rules = (*((path, _READ) for path in readable), *((path, _LIST) for path in listed), (usable, _WORK))
    for path, rights in rules:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        rights &= handled if os.path.isdir(path) else handled & _OF_A_FILE
        rule = struct.pack("=Qi", rights, handle)
        kernel.check(kernel.LIBC.syscall(_ADD_RULE, low, 1, rule, ctypes.c_uint(0)), f"landlock rule {path}")
        os.close(handle)
    return kernel.out_of_the_way(low)


def restrict(rules: int) -> None:
    """Apply the rules of a descriptor to this process for good. ``no_new_privs`` must be set."""
    kernel.check(kernel.LIBC.syscall(_RESTRICT_SELF, rules, ctypes.c_uint(0)), "landlock_restrict_self")
