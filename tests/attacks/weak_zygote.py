"""A zygote with defences missing. Runs in place of the real one, as ``python weak_zygote.py FD DEFENCE...``.

The library has no switch for this: here its list of defences is edited, and a few of its functions are replaced.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

WIDE = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64")
"""folders with libraries, and with much else"""


class _LeftError(BaseException):
    def __init__(self, status: int) -> None:
        self.status = status


def main() -> None:
    sys.path.append(str(Path(__file__).parents[2] / "src"))
    from forewarn.sandbox.inside import defences, keeper, worker, zygote

    off = frozenset(sys.argv[2:])
    if "bare library" in off:
        off |= {"copied library"}  # all libraries of the host are too much to copy
    for level, on in defences.OF_LEVEL.items():
        defences.OF_LEVEL[level] = on - off
    if "no core dump" in off:  # the limit may have been low before
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    if "bare library" in off:
        prepare = zygote.prepare
        zygote.prepare = lambda settings, made: prepare(widened(settings), made)
    if "settings apart" in off:
        start = zygote.prepare
        zygote.prepare = lambda settings, made: start(on_command_line(settings), made)
    if "source as text" in off:
        worker.compile = compile_bytes  # type: ignore[attr-defined]
    if "fresh process" in off:
        keeper.execute = execute_here
    if "template apart" in off:
        keeper.order = fork_here
    zygote.main()


def widened(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with which more of the host can be read."""
    return {**settings, "readable": [*WIDE, *settings["readable"]], "hidden": []}


def on_command_line(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings that were also left where a command line's would be."""
    sys.orig_argv = [str(settings)]
    return settings


def compile_bytes(source: str, *args: Any, **options: Any) -> Any:
    return compile(source.encode(), *args, **options)


def fork_here(keeper: Any, channel: int, line: Any) -> None:
    """Fork a child off the process that learns of each child's end."""
    from forewarn.sandbox.inside import confine, kernel, template

    if kernel.fork(confine.namespaces(keeper.confinement.on)) == 0:
        keeper.orders.close()
        template.as_child(keeper.confinement, channel, line.detach())
    os.close(channel)


def execute_here(keeper: Any, channel: int, timeout_s: float) -> dict[str, Any]:
    """Run the submission in the zygote itself."""
    from forewarn.sandbox.inside import worker

    def leave(status: int) -> None:
        raise _LeftError(status)

    worker.os = SimpleNamespace(read=os.read, write=os.write, _exit=leave)  # type: ignore[assignment]
    link = worker.ParentSocket(channel)
    status = 0
    try:
        worker.run(link.receive(), link)
    except _LeftError as left:
        status = left.status
    os.close(channel)
    return {"status": status << 8, "killed": None, "fault": None, "seconds": 0.0, "waited": 0.0, "cpu": 0.0}


if __name__ == "__main__":
    main()
