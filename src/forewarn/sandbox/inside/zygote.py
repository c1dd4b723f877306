"""The zygote: a small process that imports the standard library once and then serves executions.

It is started as ``python -s -P -S zygote.py FD``, with the number of its control socket. The settings come over that
socket, since children could read them on a command line. This is isolated mode, except for PYTHONHASHSEED=0, which
makes set order the same in every run; the environment has nothing else. The zygote never imports torch or numpy, since
forking a large process takes tens of milliseconds. Once set up it is two processes: the ``keeper``, which talks to the
host, and the ``template``, which forks a confined child per execution and learns nothing about it, so that a child
can't find traces of an earlier one in its memory. Every process dies with its parent; the keeper removes its folder.

Settings (one message of JSON): level, memory_mb, tmp, parent (the host's process id), source_root, readable and hidden
(see ``sandbox/readable.py``). The first answer: ``{"fault", "folder", "missing"}``.
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
    from forewarn.sandbox.inside.confine import Confinement
    from forewarn.sandbox.inside.keeper import Keeper

PRELOAD = (
    "abc", "argparse", "array", "ast", "base64", "bisect", "calendar", "cmath", "collections.abc", "contextlib",
    "copy", "ctypes", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "gc", "hashlib", "heapq",
    "inspect", "io", "itertools", "json", "logging", "math", "numbers", "operator", "os", "pathlib", "pprint", "queue",
    "random", "re", "secrets", "statistics", "string", "struct", "sys", "textwrap", "threading", "time", "traceback",
    "types", "typing", "unicodedata", "unittest", "uuid", "warnings", "zlib",
)  # fmt: skip
MAX_SETTINGS_BYTES = 1 << 20


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(control.recv(MAX_SETTINGS_BYTES))
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
    sys.argv, sys.orig_argv = [""], [""]
    on = defences.OF_LEVEL[settings["level"]]
    if "empty environment" in on:
        os.environ.clear()
    made: list[str] = []
    try:
        confinement, mounted, missing = prepare(settings, made)
        alarm = os.pidfd_open(settings["parent"])
        if os.getppid() != settings["parent"]:
            raise OSError("the parent has ended")
        settings.clear()  # children could read it in calling frames
        kept = divide(confinement, control, alarm, mounted=mounted)
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


def prepare(settings: dict[str, Any], made: list[str]) -> tuple[Confinement, bool, list[str]]:
    """Set up what the level needs once per zygote. Returns the confinement of its children, whether they share a
    mounted disk, and the defences that this kernel lacks. ``made``: gets the plain folder to remove, if there is one.
    """
    from forewarn.sandbox.inside import confine, counter, defences, folder, kernel, landlock, root, seccomp

    on = defences.OF_LEVEL[settings["level"]]
    if "killed whole" in on:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    proc = root.open_proc()
    root.leave_first(proc)
    missing: list[str] = []
    listed: list[str] = []
    readable = ["/"]
    rooted = _enter_root(settings, on, proc)
    if "own root" in on and not rooted:
        missing += ["own root", "copied library", "small disk"]
    if rooted:
        work, below = root.WORK, os.path.dirname(root.WORK)
    else:
        made.append(folder.make(settings["tmp"])[0])
        work, below = folder.inner(made[0]), made[0]
        readable, listed = landlock.without(settings["readable"], settings["hidden"])
    mounted = rooted and "own disk" not in on
    if mounted:
        kernel.mount_tmpfs(work, folder.SMALL_DISK if "small disk" in on else folder.ANY_DISK)
    # With its own root, a kernel without Landlock is enough; without it, Landlock is the only protection of files.
    locked = "Landlock" in on and (not rooted or landlock.abi() > 0)
    if "Landlock" in on and not locked:
        missing.append("Landlock")
    rules = landlock.ruleset(readable, below, listed) if locked else None
    counted = "counted threads" in on and counter.works()
    if "counted threads" in on and not counted:
        missing.append("counted threads")
    threads = counted or "counted threads" not in on  # uncounted threads can't be started
    on_disk = "small disk" in on and not rooted  # folders are slow to remove from the machine's disk
    program = seccomp.program(threads=threads, folders=counted or not on_disk) if "system call filter" in on else b""
    asking = seccomp.asking_program(folders=on_disk) if counted else b""
    own = os.pidfd_open(os.getpid())
    return confine.Confinement(on, settings["memory_mb"], work, rules, program, asking, own, proc), mounted, missing


def _enter_root(settings: dict[str, Any], on: frozenset[str], proc: int) -> bool:
    """Move into the zygote's own root. Returns False if the level has none, or works without one and has to."""
    from forewarn.sandbox.inside import root

    def enter(names: list[str]) -> None:
        root.enter_namespaces(names, proc)
        if "own root" in on:
            root.enter(settings["readable"], settings["hidden"], copied="copied library" in on)

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
    """Return whether a step that can't be undone works, by trying it in a fork."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            step()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def divide(confinement: Confinement, control: socket.socket, alarm: int, *, mounted: bool) -> Keeper | None:
    """Fork the template. The keeper's half returns the keeper; the template's half serves, and returns None.

    ``alarm``: the host's process descriptor.

    The template is forked before the keeper has handled any child, and has no connection to the host.
    """
    from forewarn.sandbox.inside import confine, keeper, template

    orders, taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.collect()
    gc.freeze()
    pid = os.fork()
    if pid:
        taken.close()
        return keeper.Keeper(confinement, control, alarm, orders, pid, mounted)
    try:
        confine.die_with_parent(confinement.keeper)
        control.close()
        orders.close()
        os.close(alarm)
        template.serve(confinement, taken)
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
