"""Drops a child's privileges, step by step, in the only order that works.

Runs in the template's children (``python -S``), so it uses only the standard library. Each step raises ``OSError`` if
the kernel refuses. Not covered: control groups (memory is bounded by RLIMIT_AS, processes by the filter, threads by
``counter.py``).
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
from collections.abc import Collection
from dataclasses import dataclass

from forewarn.sandbox.inside import folder, kernel, landlock, watch

CHANNEL = 3
"""the child's only open file besides the null device on 0, 1 and 2"""
NULL = "/dev/null"
COUNT = b"t"
"""the message with which the keeper gets the listener for a child's threads"""
FILE_MB = 16
OPEN_FILES = 32
THREADS = 256
_MB = 1 << 20
_PER_CHILD = ("user namespace", "process namespace", "IPC namespace", "own disk")


@dataclass(frozen=True)
class Confinement:
    """The limits that one zygote sets for all of its children."""

    on: frozenset[str]
    """the level's defences"""
    memory_mb: int
    """MiB of address space"""
    work: str
    """the working folder"""
    rules: int | None
    """a descriptor of Landlock's rules, or None"""
    filter: bytes
    """the system call filter"""
    asking: bytes
    """the filter through which the keeper counts threads; empty if it does not"""
    keeper: int
    """the keeper's process descriptor: readable in a child once the keeper has ended"""
    proc: int
    """a descriptor of /proc"""


def namespaces(on: Collection[str]) -> int:
    """Return the flags of the namespaces that are new for every child; 0 for none."""
    return kernel.flags_of([name for name in _PER_CHILD if name in on])


def last_resort_s(timeout_s: float) -> int:
    """Return RLIMIT_CPU in case the keeper hangs: more than a child can use or be charged before its deadline.

    The kernel charges CPU time by clock ticks, and a program can choose to be awake at the ticks. With a lower limit it
    could get itself killed by SIGKILL long before it had used the time, which looks like a sandbox fault.
    """
    return int(watch.longest_s(timeout_s) * (os.cpu_count() or 1)) + 2


def die_with_parent(parent: int) -> None:
    """Die when the parent dies: the keeper, for its children and the template. ``parent``: its process descriptor.

    The signal covers only deaths from now on (man 2 PR_SET_PDEATHSIG). A parent that died since the fork is detected by
    its descriptor, since its process id is meaningless in a process namespace.
    """
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([parent], [], [], 0)[0]:
        os._exit(4)


def give_up_power(confinement: Confinement, timeout_s: float, line: int) -> None:
    """Apply every defence that ``confinement.on`` names. This can't be undone.

    ``line``: a socket to the keeper, which is closed.
    """
    on = confinement.on
    if "own descriptions" in on:
        reopen_null()
    if "user namespace" in on:
        kernel.map_own_ids(confinement.proc)
    if "own disk" in on:
        kernel.mount_tmpfs(confinement.work, folder.SMALL_DISK if "small disk" in on else folder.ANY_DISK)
    os.chdir(confinement.work)
    os.umask(0o077)
    _limit(confinement, timeout_s)
    if {"Landlock", "system call filter", "counted threads"} & on:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if confinement.rules is not None:
        landlock.restrict(confinement.rules)
    if confinement.asking:
        _have_threads_counted(confinement.asking, line)
    os.close(line)
    if "closed descriptors" in on:
        os.closerange(CHANNEL + 1, 1 << 20)
    if "no capabilities" in on:
        kernel.drop_capabilities()
    if "system call filter" in on:
        kernel.install_filter(confinement.filter)


def reopen_null() -> None:
    """Reopen descriptors 0 to 2 for the child: flags and locks belong to open file descriptions, and all children
    share inherited ones."""
    handle = os.open(NULL, os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(handle, number)
    if handle > 2:
        os.close(handle)


def _have_threads_counted(asking: bytes, line: int) -> None:
    listener = kernel.install_listened_filter(asking)
    with socket.socket(fileno=os.dup(line)) as to_keeper:
        socket.send_fds(to_keeper, [COUNT], [listener])
    os.close(listener)


def _limit(confinement: Confinement, timeout_s: float) -> None:
    """Set the resource limits.

    RLIMIT_NPROC is set only in the child's own user namespace: elsewhere it counts all of the user's processes, and
    root is exempt anyway. The filter refuses processes, and the keeper counts threads.
    """
    on = confinement.on
    if "CPU limit" in on:
        kernel.limit(
            resource.RLIMIT_CPU, last_resort_s(timeout_s)
        )  # soft equals hard, so that the signal can't be caught
    if "memory limit" in on:
        kernel.limit(resource.RLIMIT_AS, confinement.memory_mb * _MB)
        # A huge page stays whole until its last part is unmapped; the limit counts only the parts still mapped.
        kernel.prctl(kernel.PR_SET_THP_DISABLE, 1)
        if "user namespace" in on:
            kernel.limit(resource.RLIMIT_NPROC, THREADS)
    if "file size limit" in on:
        kernel.limit(resource.RLIMIT_FSIZE, FILE_MB * _MB)
    if "open files limit" in on:
        kernel.limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    if "no core dump" in on:
        kernel.limit(resource.RLIMIT_CORE, 0)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # a core handler behind a pipe ignores the limit
