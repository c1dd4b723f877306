"""The zygote: a small process that imports the standard library once and forks a confined child per execution.

``python -s -P -S zygote.py SETTINGS`` (isolated mode, but for PYTHONHASHSEED=0, which makes set order the same in
every run; the environment holds nothing else). It never imports torch or numpy: forking a large process costs tens of
milliseconds. It never sees a request or a result either: those pass between parent and child on a socket of their own,
so that no child finds in its memory what an earlier one was asked or answered. What it does is keep the deadline,
whatever the parent is busy with. Every process dies with the one above it.
Not covered: what the child does (``worker.py``), what it may do (``confine.py``, ``root.py``).

Control messages (SOCK_SEQPACKET): the parent sends ``<d`` seconds and one file descriptor; the zygote answers, once the
child is gone, with JSON ``{"status", "killed", "fault", "seconds", "waited"}``. One byte in between asks for the
child's death.
"""

# ruff: noqa: PTH103, PTH108, PTH114, PTH118, PTH120
from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, NoReturn

STRETCH = 5.0
"""a child that waits for a core gets that time on top of its own, up to this many times its own in all"""
CHANNEL = 3
"""the child's only open file besides the null device on 0, 1 and 2"""
PRELOAD = (
    "abc", "argparse", "array", "ast", "base64", "bisect", "calendar", "cmath", "collections.abc", "contextlib",
    "copy", "ctypes", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "gc", "hashlib", "heapq",
    "inspect", "io", "itertools", "json", "logging", "math", "numbers", "operator", "os", "pathlib", "pprint", "queue",
    "random", "re", "secrets", "statistics", "string", "struct", "sys", "textwrap", "threading", "time", "traceback",
    "types", "typing", "unicodedata", "unittest", "uuid", "warnings", "zlib",
)  # fmt: skip


def serve(control: socket.socket, settings: dict[str, Any]) -> None:
    """Run children, one at a time, until the parent closes its end."""
    while True:
        data, handles, _, _ = socket.recv_fds(control, 8, 1)
        if not data:
            return
        if len(data) < 8 or not handles:  # a request to kill that came too late
            continue
        (timeout_s,) = struct.unpack("<d", data)
        control.send(json.dumps(execute(control, handles[0], timeout_s, settings)).encode())


def execute(control: socket.socket, channel: int, timeout_s: float, settings: dict[str, Any]) -> dict[str, Any]:
    """Fork a child on ``channel`` and wait for its end, at most ``timeout_s`` seconds. Returns the answer."""
    from forewarn.judge import confine

    start = time.monotonic()
    try:
        pid = confine.fork_into_namespaces() if settings["level"] == "strict" else os.fork()
    except OSError as error:
        os.close(channel)
        return {"status": None, "killed": None, "fault": f"can't fork: {error}", "seconds": 0.0, "waited": 0.0}
    if pid == 0:
        as_child(channel, settings, timeout_s)
    os.close(channel)
    killed = watch(control, pid, start, timeout_s, settings["proc"])
    waited = waited_s(settings["proc"], pid)
    end_all(pid, settings)
    _, status, usage = os.wait4(pid, 0)
    fault = f"the machine is too busy: the child waited {waited:.1f} s for a core" if killed == "starved" else None
    if killed is None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        # The child can send no signal, so this one came from the CPU limit or from outside.
        if usage.ru_utime + usage.ru_stime >= cpu_seconds(timeout_s):
            killed = "cpu"
        else:
            fault = "killed from outside"
    return {"status": status, "killed": killed, "fault": fault, "seconds": time.monotonic() - start, "waited": waited}


def waited_s(proc: int, pid: int) -> float:
    """Seconds that a process has stood ready without a core; 0 where the kernel keeps no account of it."""
    try:
        handle = os.open(f"{pid}/schedstat", os.O_RDONLY, dir_fd=proc)
    except OSError:
        return 0.0
    with open(handle) as file:
        return int(file.read().split()[1]) / 1e9


def watch(control: socket.socket, pid: int, start: float, timeout_s: float, proc: int) -> str | None:
    """Wait for the child's end. Returns why it has to be killed, None if it ended by itself.

    "deadline": it had ``timeout_s`` of wall clock, waits for a core not counted. "starved": it did not get that
    within ``STRETCH`` times as long.
    """
    process = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(control, select.POLLIN)
        while True:
            spent = time.monotonic() - start
            left = timeout_s - spent
            if left <= 0:
                left += waited_s(proc, pid)
                if left <= 0:
                    return "deadline"
                if spent >= STRETCH * timeout_s:
                    return "starved"
            ready = {handle for handle, _ in poll.poll(left * 1000 + 1)}
            if process in ready:
                return None
            if control.fileno() in ready:
                return "asked"
    finally:
        os.close(process)


def end_all(pid: int, settings: dict[str, Any]) -> None:
    """Kill the child, not yet waited for, and what it left. A pid namespace dies with its first process."""
    os.kill(pid, signal.SIGKILL)
    if settings["level"] != "strict":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        empty(settings["work"])


def empty(work: str) -> None:
    """Remove what a child left in a folder that outlives it; symbolic links are not followed."""
    for folder, folders, files in os.walk(work, topdown=False, followlinks=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            path = os.path.join(folder, name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)


def cpu_seconds(timeout_s: float) -> int:
    """RLIMIT_CPU for a wall-clock limit: behind it, for threads that burn several cores."""
    return int(timeout_s) + 2


def as_child(channel: int, settings: dict[str, Any], timeout_s: float) -> NoReturn:
    """The child: read the request, give up all power, run the submission. Never returns."""
    from forewarn.judge import confine, worker

    status = 4
    try:
        confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        if channel != CHANNEL:
            os.dup2(channel, CHANNEL)
        link = worker.Channel(CHANNEL)
        request = link.receive()
        try:
            give_up_power(settings, timeout_s)
        except OSError as error:
            link.send(b"!", str(error))
            os._exit(4)
        worker.run(request, link)
    finally:
        os._exit(status)


def give_up_power(settings: dict[str, Any], timeout_s: float) -> None:
    """Namespaces, rlimits, Landlock, capabilities, system call filter: in the only order that works."""
    from forewarn.judge import confine

    level = settings["level"]
    if level == "strict":
        confine.map_own_ids(settings["proc"])
        confine.private_tmpfs(settings["work"])
    os.closerange(CHANNEL + 1, 1 << 20)
    os.chdir(settings["work"])
    os.umask(0o077)
    confine.limit(cpu_s=cpu_seconds(timeout_s), memory_mb=settings["memory_mb"], file_mb=16)
    if level != "weak":
        confine.prctl(confine.PR_SET_NO_NEW_PRIVS, 1)
        if level == "hardened" or confine.landlock_abi() > 0:  # strict has its read-only root beside it
            confine.landlock(settings["readable"], settings["work"])
        confine.drop_capabilities()
        confine.install_filter(settings["filter"])


def main() -> None:
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=settings["fd"])
    sys.path.append(settings["source_root"])
    from forewarn.judge import confine, root, worker  # noqa: F401 - children find them imported

    sys.path.remove(settings["source_root"])
    for name in PRELOAD:
        __import__(name)
    sys.argv = [""]
    os.environ.clear()
    settings["readable"] = [*root.READABLE, os.path.dirname(os.__file__)]
    settings["proc"] = root.open_proc()
    try:
        if settings["level"] == "strict":
            root.enter(settings["folder"], settings["readable"], settings["proc"])
            settings["work"], settings["readable"] = root.WORK, ["/"]
        else:
            settings["work"] = os.path.join(settings["folder"], "work")
            os.makedirs(settings["work"], mode=0o700, exist_ok=True)
            if settings["level"] == "hardened":
                root.bound_folder(settings["work"], settings["proc"])
        if settings["level"] != "weak":
            settings["filter"] = confine.seccomp_program()
    except OSError as error:
        control.send(json.dumps({"fault": str(error)}).encode())
        return
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"fault": None}).encode())
    serve(control, settings)


if __name__ == "__main__":
    main()
