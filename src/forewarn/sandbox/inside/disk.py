"""Inside the sandbox: the files of a child's disk as data, packed for another child and unpacked there, and
replacements for calls that the filter refuses.

It uses only the standard library.
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
"""path below the root -> content of a file, or None for a folder"""
TEMPORARY = "/tmp"
MAX_BYTES = 16 << 20
"""bytes of all files together: the size of the disk"""
MAX_PACKED_CHARS = 7 << 20
"""characters of packed files: the limit of one message to the parent, less its other content"""
MAX_LIST_BYTES = 1 << 20
"""characters for the names and sizes of all files"""
_own: list[str] = []
"""the root of this child's disk, once claimed; a child is forked for one execution, so this is its own"""
open_file = open
"""kept here, like the functions imported by name, since a script may patch the modules"""


def claim() -> None:
    """Find the child's own disk, before any foreign code runs. Raises ``OSError`` if ``/tmp`` is not on it.

    The child starts in its own folder. If ``/tmp`` leads elsewhere, it belongs to somebody else, and ``write`` would
    empty it.
    """
    place = realpath(TEMPORARY)
    if place != realpath(os.getcwd()):
        raise OSError(f"this isolation level has no {TEMPORARY} of its own, which verifiers expect; use level strict")
    _own.append(place)


def root() -> str:
    """Return the claimed disk."""
    if not _own:
        raise OSError("no disk was claimed")
    return _own[0]


def pack(files: Files) -> str:
    """Return files as compressed text. Raises ``OSError`` if it is longer than ``MAX_PACKED_CHARS``."""
    names = dumps([(path, None if data is None else len(data)) for path, data in files.items()]).encode()
    content = b"".join(data for data in files.values() if data is not None)
    text = b64encode(compress(len(names).to_bytes(4, "little") + names + content, 1)).decode("ascii")
    if len(text) > MAX_PACKED_CHARS:
        raise OSError(f"files that take {len(text)} bytes when compressed can't go along with a script")
    return text


def unpack(text: str) -> dict[str, bytes | None]:
    """Return the files in a text made by ``pack``. The text may be forged: for any other text it raises ``ValueError``,
    ``TypeError`` or ``zlib.error``, and it reads at most as much as fits on a disk."""
    opened = decompressobj()
    data = opened.decompress(b64decode(text, validate=True), MAX_BYTES + MAX_LIST_BYTES)
    if not opened.eof:
        raise ValueError("the files are cut short, or do not fit on a disk")
    at = 4 + int.from_bytes(data[:4], "little")
    files: dict[str, bytes | None] = {}
    for path, size in loads(data[4:at]):
        if not isinstance(path, str) or not (size is None or (type(size) is int and 0 <= size <= len(data) - at)):
            raise ValueError("the list of files is not a list")
        files[path] = None if size is None else data[at : at + size]
        at += size or 0
    return files


def read() -> dict[str, bytes | None]:
    """Return path below the root -> content of a file, or None for a folder. Links are left out.

    Raises ``OSError`` if the files exceed ``MAX_BYTES``.
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
    """Replace the content of the disk by ``files``."""
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
    """Make setting owners, modes and times of files do nothing. They don't matter on a disk that belongs to one
    execution, and otherwise the filter would refuse the call and ``shutil.copy`` would fail."""
    for name in ("chmod", "fchmod", "lchmod", "chown", "fchown", "lchown", "utime"):
        if hasattr(os, name):
            setattr(os, name, lambda *_, **__: None)
