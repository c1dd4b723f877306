"""Tries to read protected files from a child that is confined like any other.

If a submission can read a file with references or expected values, every verdict is worthless, whatever the cause: a
mount, a rule, or an unforeseen place. So at each start of a zygote, a child tries to read forewarn's own files and
those that the caller names. Not covered: which files are shown (``readable.py``).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from pathlib import Path

import forewarn
from forewarn.sandbox import codec

TIMEOUT_S = 30.0
_SOURCE = """
def first_readable(paths):
    for index, path in enumerate(paths):
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError:
            continue
        return index
    return -1
"""


@functools.cache
def own_files() -> tuple[str, ...]:
    """Return the files of this package, including compiled ones."""
    return tuple(sorted(str(path) for path in Path(forewarn.__file__).parent.rglob("*") if path.is_file()))


def request(paths: Sequence[str]) -> dict[str, codec.Tree]:
    """Return a request for the index of the first file that can be read."""
    return {"code": _SOURCE, "entry_point": "first_readable", "cases": [codec.encode((list(paths),))], "child": ""}


def found(frames: bytes, paths: Sequence[str]) -> str | None:
    """Return the file that could be read, or None. Raises ``ValueError`` if the child gave no answer."""
    at = 0
    while at + 5 <= len(frames):
        (size,) = struct.unpack_from("<I", frames, at)
        if frames[at + 4 : at + 5] == b"r":
            frame = codec.loads(frames[at + 5 : at + 5 + size])
            index = frame["v"] if isinstance(frame, dict) else None
            if isinstance(index, int) and -1 <= index < len(paths):
                return None if index < 0 else paths[index]
        at += 5 + size
    raise ValueError("the child that tries what can be read gave no answer")
