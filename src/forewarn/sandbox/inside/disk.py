"""Inside the sandbox: the files of a child's disk as data, packed for the way to another child and unpacked there, and
stand-ins for calls that the filter refuses.

Standard library alone.
"""

# ruff: noqa: PTH103, PTH106, PTH108, PTH109, PTH114, PTH118, PTH120
from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from json import dumps, loads
from os import makedirs, rmdir, unlink, walk
from os.path import dirname, islink, join, realpath, relpath
from zlib import compress, decompressobj

Files = Mapping[str, bytes | None]
"""path below the root -> content of a file, None for a folder"""
TEMPORARY = "/tmp"
MAX_BYTES = 16 << 20
"""all files together: as much as the disk holds"""
MAX_PACKED_CHARS = 7 << 20
"""of files when packed: what one message to the parent holds, less what else is in it"""
MAX_LIST_BYTES = 1 << 20
"""names and sizes of all files"""
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


def pack(files: Files) -> str:
    """Files as a text, compressed. Raises ``OSError`` where it is longer than ``MAX_PACKED_CHARS``."""
    names = dumps([(path, None if data is None else len(data)) for path, data in files.items()]).encode()
    content = b"".join(data for data in files.values() if data is not None)
    text = b64encode(compress(len(names).to_bytes(4, "little") + names + content, 1)).decode("ascii")
    if len(text) > MAX_PACKED_CHARS:
        raise OSError(f"files that take {len(text)} bytes when compressed can't go along with a script")
    return text


def unpack(text: str) -> dict[str, bytes | None]:
    """The files in a text of ``pack``'s. Whoever wrote it may lie: raises ``ValueError``, ``TypeError`` or
    ``zlib.error`` for any other, and reads no more of it than a disk holds."""
    opened = decompressobj()
    data = opened.decompress(b64decode(text, validate=True), MAX_BYTES + MAX_LIST_BYTES)
    if not opened.eof:
        raise ValueError("the files are cut short, or more than a disk holds")
    at = 4 + int.from_bytes(data[:4], "little")
    files: dict[str, bytes | None] = {}
    for path, size in loads(data[4:at]):
        if not isinstance(path, str) or not (size is None or (type(size) is int and 0 <= size <= len(data) - at)):
            raise ValueError("the list of files is none")
        files[path] = None if size is None else data[at : at + size]
        at += size or 0
    return files


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


def write(files: Files) -> None:
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
