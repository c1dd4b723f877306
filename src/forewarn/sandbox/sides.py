"""Returns child sides that are separate files (``inside/*_side.py``) as source for a checker."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FUTURE = "from __future__ import annotations\n"


@cache
def side_of(*names: str) -> str:
    """Return the sources of these files as one, with a single ``__future__`` import at its beginning."""
    inside = Path(__file__).with_name("inside")
    sources = [inside.joinpath(f"{name}_side.py").read_text(encoding="utf-8") for name in names]
    return "\n\n".join([sources[0], *(source.replace(_FUTURE, "") for source in sources[1:])])


def joined(source: str, *names: str) -> str:
    """Return a checker's own side, followed by those of these files."""
    return "\n\n".join([source, *(side_of(name).replace(_FUTURE, "") for name in names)])
