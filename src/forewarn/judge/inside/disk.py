"""Inside the sandbox: the files of a child's disk as data, and stand-ins for calls that the filter refuses.

Standard library alone.
"""

# ruff: noqa: PTH103, PTH106, PTH108, PTH109, PTH114, PTH118, PTH120
from __future__ import annotations

import os
from collections.abc import Mapping
from os import makedirs, rmdir, unlink, walk
from os.path import dirname, islink, join, realpath, relpath

TEMPORARY = "/tmp"
MAX_BYTES = 3 << 20
"""all files together"""
_own: list[str] = []
"""the root of this child's disk, once claimed; a child is forked for one execution, so this is its own"""
open_file = open
"""kept, as the functions imported by name are: a script may patch what it finds"""


def claim() -> None:
    """Find the child's own disk, before anything foreign runs. Raises ``OSError`` where ``/tmp`` is not on it.

    The child starts in its own folder. Where that is not where ``/tmp`` leads, ``/tmp`` is somebody else's, and
    ``write`` would empty it.
    """
    place = realpath(TEMPORARY)
    if place != realpath(os.getcwd()):
        raise OSError(f"this isolation level has no {TEMPORARY} of its own, which verifiers expect; use level strict")
    _own.append(place)


def root() -> str:
    """The disk that was claimed."""
    if not _own:
        raise OSError("no disk was claimed")
    return _own[0]


def read() -> dict[str, bytes | None]:
    """Path below the root -> content of a file, None for a folder. Links are left out.

    Raises ``OSError`` where that is more than ``MAX_BYTES``.
    """
    place = root()
    found: dict[str, bytes | None] = {}
    left = MAX_BYTES
    for folder, folders, files in walk(place):
        for name in folders:
            if not islink(join(folder, name)):
                found[relpath(join(folder, name), place)] = None
        for name in files:
            path = join(folder, name)
            if islink(path):
                continue
            with open_file(path, "rb") as file:
                data = file.read(left + 1)
            left -= len(data)
            if left < 0:
                raise OSError(f"more than {MAX_BYTES} bytes of files can't go along with a script")
            found[relpath(path, place)] = data
    return found


def write(files: Mapping[str, bytes | None]) -> None:
    """Make the disk hold exactly ``files``."""
    place = root()
    for folder, folders, names in walk(place, topdown=False):
        for name in names:
            path = join(folder, name)
            if relpath(path, place) not in files:
                unlink(path)
        for name in folders:
            path = join(folder, name)
            if islink(path):
                unlink(path)
            elif relpath(path, place) not in files:
                rmdir(path)
    for name, data in sorted(files.items()):
        path = join(place, name)
        if data is None:
            makedirs(path, exist_ok=True)
        else:
            makedirs(dirname(path), exist_ok=True)
            with open_file(path, "wb") as file:
                file.write(data)


def stand_in() -> None:
    """Owners, modes and times of files mean nothing on a disk that one execution has to itself: setting them does
    nothing, where the filter would refuse it and ``shutil.copy`` fail."""
    for name in ("chmod", "fchmod", "lchmod", "chown", "fchown", "lchown", "utime"):
        if hasattr(os, name):
            setattr(os, name, lambda *_, **__: None)
