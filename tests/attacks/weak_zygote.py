"""A zygote with defences missing. Runs in place of the real one, as ``python weak_zygote.py SETTINGS``.

The library has no switch for this: here its list of defences is edited, and a few of its functions are replaced.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from types import SimpleNamespace
from typing import Any


class _LeftError(BaseException):
    def __init__(self, status: int) -> None:
        self.status = status


def main() -> None:
    settings = json.loads(sys.argv[1])
    sys.path.append(settings["source_root"])
    from forewarn.judge.inside import defences, root, worker, zygote

    off = frozenset(settings["off"])
    for level, on in defences.OF_LEVEL.items():
        defences.OF_LEVEL[level] = on - off
    if "no core dump" in off:  # the limit may have been low before
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    if "own disk" in off:
        root.enter = with_shared_disk(root.enter)
    if "source as text" in off:
        worker.compile = compile_bytes  # type: ignore[attr-defined]
    if "fresh process" in off:
        zygote.execute = execute_here  # type: ignore[assignment]
    zygote.main()


def with_shared_disk(enter: Any) -> Any:
    """A disk that all executions share, in place of each one's own."""
    from forewarn.judge.inside import folder, kernel, root

    def entered(readable: Any) -> None:
        enter(readable)
        kernel.mount_tmpfs(root.WORK, folder.SMALL_DISK)

    return entered


def compile_bytes(source: str, *args: Any, **options: Any) -> Any:
    return compile(source.encode(), *args, **options)


def execute_here(zygote: Any, channel: int, timeout_s: float) -> dict[str, Any]:
    """Run the submission in the zygote itself."""
    from forewarn.judge.inside import worker

    def leave(status: int) -> None:
        raise _LeftError(status)

    worker.os = SimpleNamespace(read=os.read, write=os.write, _exit=leave)  # type: ignore[assignment]
    link = worker.Channel(channel)
    status = 0
    try:
        worker.run(link.receive(), link)
    except _LeftError as left:
        status = left.status
    os.close(channel)
    return {"status": status << 8, "killed": None, "fault": None, "seconds": 0.0, "waited": 0.0, "cpu": 0.0}


if __name__ == "__main__":
    main()
