"""The working folder of a zygote's children, where it is not each child's own disk.

At hardened it is a small tmpfs below the root, where user namespaces allow that; else, and at level weak, it is a plain
folder on disk, made anew for each child: a folder that was only emptied keeps the size that it had, and its times. It
lies in a folder of the zygote's, in which no child can make anything. That one is locked by its zygote, which removes
it at its end; one whose zygote was killed is no longer locked, and the next zygote that makes a folder removes it.
"""

# ruff: noqa: PTH101, PTH102, PTH106, PTH112, PTH118, PTH120, PTH208
from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat

from forewarn.sandbox.inside import kernel

PREFIX = "forewarn-work-"
INNER = "work"
SMALL_DISK = "size=16m,nr_inodes=256,mode=700"
ANY_DISK = "mode=700"


def remount(path: str) -> None:
    """An empty tmpfs in place of the last one: unlike removing files, nothing in it can refuse."""
    kernel.unmount(path)
    kernel.mount_tmpfs(path, SMALL_DISK)


def inner(zygotes: str) -> str:
    """The working folder in a zygote's, made."""
    path = os.path.join(zygotes, INNER)
    _make_inner(path)
    return path


def renew(path: str) -> None:
    """A new working folder in place of the last one."""
    os.chmod(os.path.dirname(path), 0o700)
    remove(path)
    _make_inner(path)


def _make_inner(path: str) -> None:
    os.mkdir(path, 0o700)
    os.chmod(os.path.dirname(path), 0o500)


def make(parent: str) -> tuple[str, int]:
    """A new folder below ``parent`` and the descriptor that holds its lock. Removes what dead zygotes left there."""
    sweep(parent)
    while True:
        path = os.path.join(parent, PREFIX + secrets.token_hex(8))
        os.mkdir(path, 0o700)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.isdir(path):  # else a sweep was quicker
                return path, kernel.out_of_the_way(lock)
        os.close(lock)


def sweep(parent: str) -> None:
    """Remove own folders below ``parent`` that no zygote holds."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if not name.startswith(PREFIX):
            continue
        with contextlib.suppress(OSError):  # another user's, in use, or gone meanwhile
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
            finally:
                os.close(lock)


def remove(path: str) -> None:
    """Remove a folder with all that is in it."""
    os.chmod(path, 0o700)
    empty(path)
    os.rmdir(path)


def empty(path: str) -> None:
    """Remove what is in a folder that nobody uses any more: at any depth, folders without permissions too.

    Symbolic links are not followed. Inner folders move up one by one, as a path to the innermost might be too long.
    """
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    token, n_moved = secrets.token_hex(8), 0
    try:
        while names := os.listdir(top):
            for name in names:
                if not _is_folder(name, top):
                    os.unlink(name, dir_fd=top)
                    continue
                inner = _open_folder(name, top)
                try:
                    for deeper in os.listdir(inner):
                        if _is_folder(deeper, inner):
                            os.chmod(deeper, 0o700, dir_fd=inner)  # moving a folder writes to it
                            os.rename(deeper, f"{token}-{n_moved}", src_dir_fd=inner, dst_dir_fd=top)
                            n_moved += 1
                        else:
                            os.unlink(deeper, dir_fd=inner)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode)


def _open_folder(name: str, folder: int) -> int:
    os.chmod(name, 0o700, dir_fd=folder)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
