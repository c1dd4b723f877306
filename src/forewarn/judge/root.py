"""The strict level's file system, built once per zygote: a read-only root that holds the interpreter's files alone.

The zygote enters a user and a mount namespace of its own, binds those files read-only below a fresh tmpfs, and makes
that its root. Nothing else of the host exists below it, /proc included. Each child later mounts a private tmpfs on
``WORK``. Runs in the zygote, so the standard library alone. Every function raises ``OSError`` where the kernel refuses.

Sources: man 7 mount_namespaces, user_namespaces; man 2 pivot_root (the stacking trick of its NOTES).
"""

# ruff: noqa: PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH120, PTH211
from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence

from forewarn.judge import confine

WORK = "/work"
READABLE = ["/usr/lib", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/urandom", "/dev/null"]
"""what the interpreter may need besides its own library: shared libraries (time zones lie in the library or in none)"""


def open_proc() -> int:
    """A descriptor of /proc, which the new root does not have; its number is out of the way of the child's channel."""
    proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    high = fcntl.fcntl(proc, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(proc)
    return high


def enter(folder: str, readable: Sequence[str], proc: int) -> None:
    """Make a root of ``readable``, mounted on ``folder``, and move into it."""
    confine.unshare(confine.CLONE_NEWUSER | confine.CLONE_NEWNS)
    confine.map_own_ids(proc)
    confine.mount("none", "/", None, confine.MS_REC | confine.MS_PRIVATE)
    confine.mount("tmpfs", folder, "tmpfs", confine.MS_NOSUID | confine.MS_NODEV, "size=1m,nr_inodes=512,mode=755")
    os.mkdir(folder + WORK, 0o700)
    for path in readable:
        _show(folder, path)
    os.chdir(folder)
    confine.pivot_root(".", ".")
    confine.unmount(".")  # the old root, stacked on the new one
    os.chdir("/")
    confine.mount("none", "/", None, confine.MS_REMOUNT | confine.MS_RDONLY | confine.MS_NOSUID | confine.MS_NODEV)


def bound_folder(work: str, proc: int) -> None:
    """For level hardened: a small tmpfs on the working folder, so that no submission fills the disk.

    Where namespaces do not work it stays a plain folder: then only the size of each file is bounded.
    """
    with contextlib.suppress(OSError):
        confine.unshare(confine.CLONE_NEWUSER | confine.CLONE_NEWNS)
        confine.map_own_ids(proc)
        confine.private_tmpfs(work)


def _show(folder: str, path: str) -> None:
    """Bind ``path`` read-only below ``folder``; symbolic links (/lib) are remade, absent paths left out."""
    target = folder + path
    if not os.path.exists(path) or os.path.lexists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.makedirs(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    confine.mount(path, target, None, confine.MS_BIND | confine.MS_REC)
    # A remount may not lift the flags that the source came with, so it repeats them.
    kept = os.statvfs(path).f_flag & (confine.MS_NOSUID | confine.MS_NODEV | confine.MS_NOEXEC)
    confine.mount("none", target, None, confine.MS_REMOUNT | confine.MS_BIND | confine.MS_RDONLY | kept)
