"""System calls that the standard library lacks, by ctypes: namespaces, mounts, capabilities, limits, the filter.

Each function raises ``OSError`` if the kernel refuses; the caller decides when to call it (``confine.py``).
Sources: man 7 user_namespaces, man 7 mount_namespaces, man 2 clone, capset, mount, pivot_root, prctl, getrlimit.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import struct
from collections.abc import Collection

from forewarn.sandbox.inside import seccomp

LIBC = ctypes.CDLL(None, use_errno=True)
_PY_LIBC = ctypes.PyDLL(None, use_errno=True)
_FORGETFUL = ctypes.PyDLL(None, use_errno=True).syscall
_FORGETFUL.restype = None
"""``syscall`` whose result is ignored"""
_IDS = os.geteuid(), os.getegid()

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38
PR_SET_THP_DISABLE = 41
NAMESPACES = {
    "user namespace": 0x10000000,
    "process namespace": 0x20000000,
    "network namespace": 0x40000000,
    "IPC namespace": 0x08000000,
    "host name namespace": 0x04000000,
    "own root": 0x00020000,
    "own disk": 0x00020000,
}
"""defence -> its CLONE_NEW* flag"""
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18

_CLONE, _CAPSET, _PIVOT_ROOT, _SECCOMP = (56, 220), (126, 91), (155, 41), (317, 277)
"""system call numbers on x86_64 and aarch64"""
_CLONE_PARENT = 0x8000
_NEW_LISTENER = 1 << 3


def check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def out_of_the_way(handle: int) -> int:
    """Return the same descriptor under a number that a child's own descriptors will not use."""
    high = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(handle)
    return high


def prctl(option: int, value: int) -> None:
    check(LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option})")


def limit(which: int, value: int) -> None:
    resource.setrlimit(which, (value, value))


def drop_capabilities() -> None:
    """Drop every capability for good (``capset`` of zero; the process never execs, so it can't regain one)."""
    header = struct.pack("=Ii", 0x20080522, 0)
    check(LIBC.syscall(ctypes.c_long(_CAPSET[seccomp.column()]), header, bytes(24)), "capset")


def flags_of(defences: Collection[str]) -> int:
    """Return the CLONE_NEW* flags of some defences; others have none."""
    flags = 0
    for name in defences:
        flags |= NAMESPACES.get(name, 0)
    return flags


def unshare(flags: int) -> None:
    check(LIBC.unshare(flags), "unshare")


def fork(flags: int) -> int:
    """Fork a child into fresh namespaces, as first process of its own process namespace if ``flags`` say so.

    Returns as ``os.fork`` does. It uses the raw ``clone``, because ``unshare`` needs a second fork to enter a process
    namespace. Use it only in a process with one thread: it runs the interpreter's fork handlers, but not libc's.
    """
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    number = ctypes.c_long(_CLONE[seccomp.column()])
    pid = int(_PY_LIBC.syscall(number, ctypes.c_ulong(flags | 17), 0, 0, 0, 0))  # 17: SIGCHLD
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    return check(pid, "clone")


def fork_sibling(flags: int) -> bool:
    """Fork a child of this process's own parent (CLONE_PARENT), which alone learns its process id. True in the child.

    The kernel returns the id to the forking process, too. It is not even converted to a Python integer here, since the
    interpreter's memory would keep that; the child recognises itself by its changed process id.
    """
    own = os.getpid()
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    ctypes.set_errno(0)
    _FORGETFUL(ctypes.c_long(_CLONE[seccomp.column()]), ctypes.c_ulong(flags | _CLONE_PARENT | 17), 0, 0, 0, 0)
    if os.getpid() != own:
        python.PyOS_AfterFork_Child()
        return True
    python.PyOS_AfterFork_Parent()
    number = ctypes.get_errno()
    if number:
        raise OSError(number, f"clone: {os.strerror(number)}")
    return False


def map_own_ids(proc: int) -> None:
    """Map only the own user and group id in a fresh user namespace. ``proc``: a descriptor of /proc."""
    uid, gid = _IDS
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        handle = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        os.write(handle, text.encode())
        os.close(handle)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    check(LIBC.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def mount_tmpfs(path: str, options: str) -> None:
    mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options)


def unmount(path: str) -> None:
    check(LIBC.umount2(path.encode(), 2), f"unmount {path}")  # MNT_DETACH


def pivot_root(new: str, old: str) -> None:
    number = ctypes.c_long(_PIVOT_ROOT[seccomp.column()])
    check(LIBC.syscall(number, new.encode(), old.encode()), "pivot_root")


def install_filter(program: bytes) -> None:
    """Install a seccomp filter for good. ``no_new_privs`` must be set."""
    header, _buffer = _filter(program)
    check(LIBC.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), header, 0, 0), "seccomp")


def install_listened_filter(program: bytes) -> int:
    """Install a filter with a listener, and return the listener's descriptor (Linux 5.0; one per process)."""
    header, _buffer = _filter(program)
    number = ctypes.c_long(_SECCOMP[seccomp.column()])
    return check(LIBC.syscall(number, ctypes.c_ulong(1), ctypes.c_ulong(_NEW_LISTENER), header), "seccomp")


def _filter(program: bytes) -> tuple[bytes, object]:
    """Return ``struct sock_fprog`` and the memory that it points to, which has to outlive it."""
    buffer = ctypes.create_string_buffer(program, len(program))
    return struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)), buffer
