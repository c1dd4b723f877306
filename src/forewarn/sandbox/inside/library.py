"""Copies the interpreter's folders into the root of a sandbox, in memory, so that they keep no trace of who looked.

The kernel remembers on a disk's file system which names were looked for and are missing, and which pages of a file were
read. Both make the next look faster, for any process and for as long as memory lasts, so executions could tell each
other thousands of bits. A file system in memory remembers no missing name, and all of its pages are there from the
start. Runs in the zygote, so it uses only the standard library.
"""

# ruff: noqa: PTH103, PTH114, PTH115, PTH118, PTH211
from __future__ import annotations

import contextlib
import mmap
import os
import stat
from collections.abc import Collection

_LEFT_OUT = frozenset({"test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip"})
"""folders of the standard library that programs do not need: tests, windows, and tools of the interpreter's makers"""
_OPTIMISED = (".opt-1.pyc", ".opt-2.pyc")


def copy(source: str, target: str, hidden: Collection[str]) -> None:
    """Copy a folder without the folders ``hidden``, with the times of files, by which compiled ones are checked."""
    for folder, folders, files in os.walk(source):
        place = target + folder[len(source) :]
        os.makedirs(place, exist_ok=True)
        for name in list(folders):
            path = os.path.join(folder, name)
            if os.path.islink(path) and not os.path.lexists(os.path.join(place, name)):
                os.symlink(os.readlink(path), os.path.join(place, name))
            if os.path.islink(path) or path in hidden or name in _LEFT_OUT or name.startswith("config-"):
                folders.remove(name)
        for name in files:
            if not name.endswith(_OPTIMISED):
                # What this user can't read, a submission can't either; a part of another folder is there already.
                with contextlib.suppress(PermissionError, FileExistsError):
                    _copy_file(os.path.join(folder, name), os.path.join(place, name))


def _copy_file(source: str, target: str) -> None:
    found = os.lstat(source)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(source), target)
    if not stat.S_ISREG(found.st_mode):
        return
    from_, to = os.open(source, os.O_RDONLY | os.O_CLOEXEC), -1
    try:
        to = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, found.st_mode & 0o555 | 0o400)
        left = found.st_size
        while left > 0 and (sent := os.sendfile(to, from_, None, left)):
            left -= sent
        os.utime(to, ns=(found.st_mtime_ns, found.st_mtime_ns))
    finally:
        os.close(from_)
        if to >= 0:
            os.close(to)


def read_ahead(path: str) -> None:
    """Read the whole of a file that is shown, not copied, into memory, so that a child finds no page missing.

    A request to read ahead (``posix_fadvise``) would stop after the first megabyte or two of a large file.
    """
    with contextlib.suppress(OSError, ValueError):  # it can't be read, or it is empty or not a file
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mmap.mmap(handle, 0, mmap.MAP_PRIVATE | mmap.MAP_POPULATE, mmap.PROT_READ).close()
        finally:
            os.close(handle)
