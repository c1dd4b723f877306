"""The zygote: a small process that imports the standard library once and serves executions from then on.

``python -s -P -S zygote.py SETTINGS`` (isolated mode, but for PYTHONHASHSEED=0, which makes set order the same in
every run; the environment holds nothing else). It never imports torch or numpy: forking a large process costs tens of
milliseconds. Once set up it is two processes: the ``keeper``, which the host talks to, and the ``template``, which
forks a confined child per execution and learns nothing about it, so that no child finds in its memory what became of
an earlier one. Every process dies with the one above it, and the keeper removes its folder.

Settings (JSON): level, memory_mb, tmp, fd (of the control socket), parent (the host's process id), source_root,
readable and hidden (see ``sandbox/readable.py``). The first answer: ``{"fault", "folder", "missing"}``.
"""

# ruff: noqa: PTH120
from __future__ import annotations

import gc
import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forewarn.sandbox.inside.confine import Cell
    from forewarn.sandbox.inside.keeper import Keeper

PRELOAD = (
    "abc", "argparse", "array", "ast", "base64", "bisect", "calendar", "cmath", "collections.abc", "contextlib",
    "copy", "ctypes", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "gc", "hashlib", "heapq",
    "inspect", "io", "itertools", "json", "logging", "math", "numbers", "operator", "os", "pathlib", "pprint", "queue",
    "random", "re", "secrets", "statistics", "string", "struct", "sys", "textwrap", "threading", "time", "traceback",
    "types", "typing", "unicodedata", "unittest", "uuid", "warnings", "zlib",
)  # fmt: skip


def main() -> None:
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=settings["fd"])
    sys.path.append(settings["source_root"])
    from forewarn.sandbox.inside import (  # noqa: F401 - children find them imported
        defences,
        disk,
        folder,
        keeper,
        processes,
        template,
    )

    sys.path.remove(settings["source_root"])
    for name in PRELOAD:
        __import__(name)
    sys.argv = [""]
    on = defences.OF_LEVEL[settings["level"]]
    if "empty environment" in on:
        os.environ.clear()
    made: list[str] = []
    host = settings["parent"]
    try:
        cell, mounted, missing = prepare(settings, made)
        settings.clear()  # children could read it in the frames above them
        kept = divide(cell, control, host, mounted=mounted)
    except OSError as error:
        control.send(json.dumps({"fault": str(error), "folder": None, "missing": []}).encode())
        return
    if kept is None:
        return
    control.send(json.dumps({"fault": None, "folder": made[0] if made else None, "missing": missing}).encode())
    try:
        keeper.serve(kept)
    finally:
        keeper.dismiss(kept)
        for path in made:
            folder.remove(path)


def prepare(settings: dict[str, Any], made: list[str]) -> tuple[Cell, bool, list[str]]:
    """What the level needs once a zygote: the cell of its children; whether they share a disk that is mounted; what
    this kernel lacks. ``made``: takes the plain folder that has to be removed, where one is made."""
    from forewarn.sandbox.inside import confine, counter, defences, folder, kernel, landlock, root, seccomp

    on = defences.OF_LEVEL[settings["level"]]
    if "killed whole" in on:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    proc = root.open_proc()
    missing: list[str] = []
    listed: list[str] = []
    readable = ["/"]
    rooted = _enter_root(settings, on, proc)
    if "own root" in on and not rooted:
        missing += ["own root", "small disk"]
    if rooted:
        work, below = root.WORK, os.path.dirname(root.WORK)
    else:
        made.append(folder.make(settings["tmp"])[0])
        work = below = made[0]
        readable, listed = landlock.without(settings["readable"], settings["hidden"])
    mounted = rooted and "own disk" not in on
    if mounted:
        kernel.mount_tmpfs(work, folder.SMALL_DISK if "small disk" in on else folder.ANY_DISK)
    # Behind a root of its own a kernel without Landlock will do; where there is none, Landlock is all there is.
    locked = "Landlock" in on and (not rooted or landlock.abi() > 0)
    if "Landlock" in on and not locked:
        missing.append("Landlock")
    rules = landlock.ruleset(readable, below, listed) if locked else None
    counted = "counted threads" in on and counter.works()
    if "counted threads" in on and not counted:
        missing.append("counted threads")
    threads = counted or "counted threads" not in on  # those that nobody counts are not begun
    on_disk = "small disk" in on and not rooted  # folders are slow to remove from a disk of the machine
    program = seccomp.program(threads=threads, folders=counted or not on_disk) if "system call filter" in on else b""
    asking = seccomp.asking_program(folders=on_disk) if counted else b""
    own = os.pidfd_open(os.getpid())
    return confine.Cell(on, settings["memory_mb"], work, rules, program, asking, own, proc), mounted, missing


def _enter_root(settings: dict[str, Any], on: frozenset[str], proc: int) -> bool:
    """Move into a root of the zygote's own. False where the level has none, or can do without one and has to."""
    from forewarn.sandbox.inside import root

    def enter(names: list[str]) -> None:
        root.enter_namespaces(names, proc)
        if "own root" in on:
            root.enter(settings["readable"], settings["hidden"])

    if settings["level"] == "strict":
        if "own root" in on or "own disk" in on:
            enter([name for name in root.ONCE if name in on])
    elif "own root" in on:
        names = ["user namespace", "own root"]
        if not _goes(lambda: enter(names)):
            return False
        enter(names)
    return "own root" in on


def _goes(step: Any) -> bool:
    """Whether a step that can't be taken back works: tried in a fork."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            step()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def divide(cell: Cell, control: socket.socket, host: int, *, mounted: bool) -> Keeper | None:
    """Fork the template off. The keeper's half returns what it holds; the template's serves, and returns None.

    The template is forked before the keeper has dealt with any child, and holds no way to the host.
    """
    from forewarn.sandbox.inside import confine, keeper, template

    alarm = os.pidfd_open(host)
    if os.getppid() != host:
        raise OSError("the parent is gone")
    orders, taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.collect()
    gc.freeze()
    pid = os.fork()
    if pid:
        taken.close()
        return keeper.Keeper(cell, control, alarm, orders, pid, mounted)
    try:
        confine.die_with_parent(cell.keeper)
        control.close()
        orders.close()
        os.close(alarm)
        template.serve(cell, taken)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
