"""The file system of strict and hardened, built once per zygote: a root that contains only the interpreter's files.

The zygote enters its own mount namespace, copies the standard library into a fresh tmpfs and binds other files there,
read-only, and makes that its root.
Nothing else of the host exists below it, not even /proc. A read-only mount also leaves access times unchanged. At
``WORK`` each child mounts its own disk (strict), or the zygote mounts one for all (hardened), and ``/tmp`` leads there.
Runs in the zygote, so it uses only the standard library. Every function raises ``OSError`` if the kernel refuses. Not
covered: which files those are (``sandbox/readable.py``).

Sources: man 7 mount_namespaces, user_namespaces; man 2 pivot_root (the stacking trick of its NOTES).
"""

# ruff: noqa: PTH103, PTH110, PTH112, PTH114, PTH115, PTH120, PTH211
from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Collection, Sequence

from forewarn.sandbox.inside import kernel, library

WORK = "/box/work"
HOST_NAME = "sandbox"
_MOUNT_POINT = "/proc"
"""Where the new root is mounted before it becomes the root. Every Linux has this folder, and the new root needs nothing
below it, so that no folder has to be made or removed on the host's disk."""
_OOM_SCORE = 500
"""as if a child used half of the memory in addition to its own: more than a judge, less than a training run"""
ONCE = ("user namespace", "network namespace", "host name namespace", "own root", "own disk")
"""namespaces that a zygote enters once: a child can't change anything in them that another child would see"""


def open_proc() -> int:
    """Open a descriptor of /proc, which the new root lacks, under a number that the child's channel does not use."""
    return kernel.out_of_the_way(os.open("/proc", os.O_PATH | os.O_CLOEXEC))


def leave_first(proc: int) -> None:
    """If memory runs out, have the kernel end this process's children before the judge and its larger neighbours (man 5
    proc_pid_oom_score_adj). They inherit the score. ``proc``: a descriptor of /proc."""
    with contextlib.suppress(OSError, ValueError):  # a kernel without it, or one that does not allow it
        handle = os.open("self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC, dir_fd=proc)
        with open(handle, "r+b", buffering=0) as file:
            if int(file.read()) < _OOM_SCORE:
                file.write(str(_OOM_SCORE).encode())


def enter_namespaces(names: Collection[str], proc: int) -> None:
    """Enter the namespaces that all executions of a zygote share, including a mount namespace."""
    kernel.unshare(kernel.flags_of(names))
    if "user namespace" in names:
        kernel.map_own_ids(proc)
    if "host name namespace" in names:
        socket.sethostname(HOST_NAME)
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)


def enter(readable: Sequence[str], hidden: Sequence[str], *, copied: bool) -> None:
    """Make a root of ``readable`` without the content of the folders ``hidden``, and move into it.

    ``copied``: folders are copied into it instead of being bound (``library.py``).
    """
    new = _MOUNT_POINT
    library.read_ahead(os.path.realpath(sys.executable))  # not shown, but mapped into every child
    kernel.mount_tmpfs(new, "size=512m,nr_inodes=40000,mode=755")
    os.makedirs(new + WORK, 0o700)
    for path in readable:
        if copied and os.path.isdir(path) and not os.path.islink(path):
            library.copy(path, _inside(new, path), hidden)
        else:
            _show(new, path)
    for path in hidden:
        if os.path.isdir(new + path):
            flags = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            kernel.mount("none", new + path, "tmpfs", flags, "size=4k,nr_inodes=1,mode=555")
    if not os.path.lexists(new + "/tmp"):
        os.symlink(WORK, new + "/tmp")
    os.chdir(new)
    kernel.pivot_root(".", ".")
    kernel.unmount(".")  # the old root, stacked on the new one
    os.chdir("/")
    flags = kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("none", "/", None, flags)


def _inside(folder: str, path: str) -> str:
    """Return where ``path`` is once ``folder`` is the root. Links on the way are followed, but never out of it."""
    real = os.path.realpath(folder + path)
    return real if real.startswith(f"{folder}/") else folder + real


def _show(folder: str, path: str) -> None:
    """Bind ``path`` read-only below ``folder``; symbolic links (/lib) are recreated, and absent paths left out."""
    target = folder + path
    if not os.path.exists(path) or os.path.lexists(target):
        return  # a parent folder, or another name of it, is bound already
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.makedirs(target)
    else:
        library.read_ahead(path)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    kernel.mount(path, target, None, kernel.MS_BIND | kernel.MS_REC)
    # A remount must not clear the source's flags, so it repeats them.
    kept = os.statvfs(path).f_flag & (kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.mount("none", target, None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kept)
