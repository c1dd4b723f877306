"""The zygote: a small process that imports the standard library once and forks a confined child per execution.

``python -s -P -S zygote.py SETTINGS`` (isolated mode, but for PYTHONHASHSEED=0, which makes set order the same in
every run; the environment holds nothing else). It never imports torch or numpy: forking a large process costs tens of
milliseconds. It never sees a request or a result either: those pass between parent and child on a socket of their own,
so that no child finds in its memory what an earlier one was asked or answered. What it does is keep the deadline,
whatever the parent is busy with. Every process dies with the one above it, and the zygote removes its folder.
Not covered: what the child does (``worker.py``), what it may do (``confine.py``, ``root.py``), when its time is up
(``watch.py``).

Control messages (SOCK_SEQPACKET): the parent sends ``<d`` seconds and one file descriptor; the zygote answers, once the
child is gone, with JSON ``{"status", "killed", "fault", "seconds", "waited", "cpu"}``. One byte in between asks for the
child's death.
"""

# ruff: noqa: PTH120
from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from forewarn.judge.inside.confine import Cell

PRELOAD = (
    "abc", "argparse", "array", "ast", "base64", "bisect", "calendar", "cmath", "collections.abc", "contextlib",
    "copy", "ctypes", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "gc", "hashlib", "heapq",
    "inspect", "io", "itertools", "json", "logging", "math", "numbers", "operator", "os", "pathlib", "pprint", "queue",
    "random", "re", "secrets", "statistics", "string", "struct", "sys", "textwrap", "threading", "time", "traceback",
    "types", "typing", "unicodedata", "unittest", "uuid", "warnings", "zlib",
)  # fmt: skip


@dataclass(frozen=True)
class Zygote:
    """What a zygote holds between executions."""

    cell: Cell
    control: socket.socket
    parent: int
    """readable once the parent is gone (man 2 pidfd_open), even where a process forked off it still holds the socket"""
    own: int
    """the zygote's own process descriptor: readable to a child once the zygote is gone"""
    mounted: bool
    """the working folder is a tmpfs of the zygote's own"""


def serve(zygote: Zygote) -> None:
    """Run children, one at a time, until the parent closes its end or dies."""
    poll = select.poll()
    poll.register(zygote.control, select.POLLIN)
    poll.register(zygote.parent, select.POLLIN)
    while True:
        if zygote.parent in {handle for handle, _ in poll.poll()}:
            return
        data, handles, _, _ = socket.recv_fds(zygote.control, 8, 1)
        if not data:
            return
        if len(data) < 8 or not handles:  # a request to kill that came too late
            continue
        (timeout_s,) = struct.unpack("<d", data)
        answer = execute(zygote, handles[0], timeout_s)
        try:
            zygote.control.send(json.dumps(answer).encode())
        except ConnectionError:
            return


def execute(zygote: Zygote, channel: int, timeout_s: float) -> dict[str, Any]:
    """Fork a child on ``channel`` and wait for its end, at most ``timeout_s`` seconds. Returns the answer."""
    from forewarn.judge.inside import confine, kernel, watch

    cell, on = zygote.cell, zygote.cell.on
    start = time.monotonic()
    flags = confine.namespaces(on)
    try:
        pid = kernel.fork_into_namespaces(flags) if flags else os.fork()
    except OSError as error:
        os.close(channel)
        return {"status": None, "killed": None, "fault": f"can't fork: {error}", "seconds": 0.0, "waited": 0.0}
    if pid == 0:
        as_child(channel, zygote, timeout_s)
    os.close(channel)
    limit_s = timeout_s if "deadline" in on else None
    killed = watch.watch((zygote.control.fileno(), zygote.parent), pid, start, limit_s, cell.proc)
    waited = watch.waited_s(cell.proc, pid)
    if "killed whole" in on:
        watch.kill_group(pid)
    elif killed is not None:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - start
    clean_up(zygote)
    cpu = usage.ru_utime + usage.ru_stime
    fault = f"the machine is too busy: the child waited {waited:.1f} s for a core" if killed == "starved" else None
    if killed is None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        # The child can send no signal, so this one came from the CPU limit or from outside. The limit counts by ticks
        # of the clock, up to several times too many on a crowded machine; this count is exact.
        if cpu >= timeout_s:
            killed = "cpu"
        else:
            fault = "killed from outside"
    return {"status": status, "killed": killed, "fault": fault, "seconds": seconds, "waited": waited, "cpu": cpu}


def clean_up(zygote: Zygote) -> None:
    """End what a child left. A pid namespace died with its first process, a disk of its own with its namespace."""
    from forewarn.judge.inside import folder, watch

    on = zygote.cell.on
    if "killed whole" in on:
        watch.kill_orphans(zygote.cell.proc)
    if "clean folder" in on and "own disk" not in on:
        if zygote.mounted:
            folder.remount(zygote.cell.work)
        else:
            folder.empty(zygote.cell.work)


def as_child(channel: int, zygote: Zygote, timeout_s: float) -> NoReturn:
    """The child: read the request, give up all power, run the submission. Never returns."""
    from forewarn.judge.inside import confine, worker

    status = 4
    try:
        confine.die_with_parent(zygote.own)
        os.setpgid(0, 0)  # no session of its own: each would be a scheduling group to make and to starve
        if channel != confine.CHANNEL:
            os.dup2(channel, confine.CHANNEL)
        link = worker.Channel(confine.CHANNEL)
        request = link.receive()
        try:
            confine.give_up_power(zygote.cell, timeout_s)
        except OSError as error:
            link.send(b"!", str(error))
            os._exit(4)
        worker.run(request, link)
    finally:
        os._exit(status)


def prepare(settings: dict[str, Any], control: socket.socket) -> tuple[Zygote, str | None]:
    """What the level needs once a zygote. Also the plain folder that the zygote has to remove, where it made one."""
    from forewarn.judge.inside import confine, defences, folder, kernel, landlock, root, seccomp

    on = defences.OF_LEVEL[settings["level"]]
    parent = os.pidfd_open(settings["parent"])
    if os.getppid() != settings["parent"]:
        raise OSError("the parent is gone")
    if "killed whole" in on:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    readable = [*root.READABLE, os.path.dirname(os.__file__)]
    proc = root.open_proc()
    made = work = None
    if "own root" in on or "own disk" in on:
        root.enter_namespaces(on, proc)
    if "own root" in on:
        root.enter(readable)
        work, readable = root.WORK, ["/"]
    elif "small disk" in on and "own disk" not in on:
        work = folder.mounted(readable, proc)
    mounted = work is not None and "own root" not in on
    if work is None:
        made, _ = folder.make(settings["tmp"])
        work = made
    below = os.path.dirname(work) if "own root" in on or mounted else work
    # At strict the root stands beside Landlock, so a kernel without Landlock will do; at hardened it is all there is.
    locked = "Landlock" in on and ("own root" not in on or landlock.abi() > 0)
    rules = landlock.ruleset(readable, below) if locked else None
    program = seccomp.program() if "system call filter" in on else b""
    cell = confine.Cell(on, settings["memory_mb"], work, rules, program, proc)
    return Zygote(cell, control, parent, os.pidfd_open(os.getpid()), mounted), made


def main() -> None:
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=settings["fd"])
    sys.path.append(settings["source_root"])
    from forewarn.judge.inside import (  # noqa: F401 - children find them imported
        confine,
        defences,
        disk,
        folder,
        landlock,
        processes,
        watch,
        worker,
    )

    sys.path.remove(settings["source_root"])
    for name in PRELOAD:
        __import__(name)
    sys.argv = [""]
    if "empty environment" in defences.OF_LEVEL[settings["level"]]:
        os.environ.clear()
    try:
        zygote, made = prepare(settings, control)
    except OSError as error:
        control.send(json.dumps({"fault": str(error)}).encode())
        return
    gc.collect()
    gc.freeze()
    missing = [
        name
        for name, there in (
            ("Landlock", landlock.abi() > 0),
            ("small disk", zygote.mounted or "own disk" in zygote.cell.on),
        )
        if name in zygote.cell.on and not there
    ]
    control.send(json.dumps({"fault": None, "folder": made, "missing": missing}).encode())
    try:
        serve(zygote)
    finally:
        if made is not None:
            folder.remove(made)


if __name__ == "__main__":
    main()
