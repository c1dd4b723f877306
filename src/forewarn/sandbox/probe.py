"""What a submission could read that it may not: tried by a child that is confined like any other.

A file that holds references or expected values makes every verdict worthless, wherever the leak lies: in a mount, a
rule, or a place that nobody thought of. So forewarn's own files, and those that the caller names, are tried at each
start of a zygote. Not covered: what is shown (``readable.py``).
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
    """The files of this package, compiled ones too."""
    return tuple(sorted(str(path) for path in Path(forewarn.__file__).parent.rglob("*") if path.is_file()))


def request(paths: Sequence[str]) -> dict[str, codec.Tree]:
    """Asks for the first of the files that can be read."""
    return {"code": _SOURCE, "entry_point": "first_readable", "cases": [codec.encode((list(paths),))], "child": ""}


def found(frames: bytes, paths: Sequence[str]) -> str | None:
    """The file that could be read; None if none could. Raises ``ValueError`` where the child did not say."""
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
