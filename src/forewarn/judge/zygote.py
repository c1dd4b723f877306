"""The zygote: a small process that imports the standard library once and forks a confined child per execution.

``python -s -P -S zygote.py SETTINGS`` (isolated mode, but for PYTHONHASHSEED=0, which makes set order the same in
every run; the environment holds nothing else). Per request it forks a supervisor, which makes the namespaces, forks
the child, keeps the deadline, collects the frames and answers the parent; then the next request. Every process dies
with the one above it. Never imports torch or numpy: forking a large process costs tens of milliseconds.
Not covered: what the child does (``worker.py``), what it may do (``confine.py``).

Request: ``<IId``: bytes of public part, bytes of secret part, seconds; then both. Reply: ``<II`` and two parts: JSON
``{"status", "killed", "fault", "seconds"}`` and the child's frames. The secret part holds expected values: only the
supervisor reads it, after the child is forked, so that the child's memory never held it.
"""

# ruff: noqa: PTH108, PTH114, PTH118, PTH120
from __future__ import annotations

import gc
import json
import os
import select
import signal
import struct
import sys
import time
from typing import Any, NoReturn

HEADER = struct.Struct("<IId")
MAX_OUTPUT_BYTES = 16 << 20
UP, DOWN = 3, 4
PRELOAD = (
    "abc", "argparse", "array", "ast", "base64", "bisect", "calendar", "cmath", "collections.abc", "contextlib",
    "copy", "ctypes", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "gc", "hashlib",
    "heapq", "inspect", "io", "itertools", "json", "logging", "math", "numbers", "operator", "os", "pathlib",
    "pprint", "queue", "random", "re", "secrets", "statistics", "string", "struct", "sys", "textwrap", "threading",
    "time", "traceback", "types", "typing", "unicodedata", "unittest", "uuid", "warnings", "zlib",
)  # fmt: skip


def _read(handle: int, size: int) -> bytes | None:
    parts = []
    while size:
        piece = os.read(handle, min(size, 1 << 20))
        if not piece:
            return None
        parts.append(piece)
        size -= len(piece)
    return b"".join(parts)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def serve(parent: int, settings: dict[str, Any]) -> int:
    """Answer requests until the parent closes its end. Returns the zygote's exit status."""
    while True:
        head = _read(parent, HEADER.size)
        if head is None:
            return 0
        public_size, secret_size, timeout_s = HEADER.unpack(head)
        public = _read(parent, public_size)
        if public is None:
            return 0
        pid = os.fork()
        if pid == 0:
            _as_supervisor(parent, public, secret_size, timeout_s, settings)
        if os.waitpid(pid, 0)[1] != 0:
            return 1  # the stream to the parent may be cut anywhere: the parent starts another zygote


def _as_supervisor(
    parent: int, public: bytes, secret_size: int, timeout_s: float, settings: dict[str, Any]
) -> NoReturn:
    status = 3
    try:
        _die_with_parent()
        answer, frames = Supervisor(parent, settings).run(public, secret_size, timeout_s)
        meta = json.dumps(answer).encode()
        _write(parent, struct.pack("<II", len(meta), len(frames)) + meta + frames)
        status = 0
    finally:
        os._exit(status)


def _die_with_parent() -> None:
    from forewarn.judge import confine

    above = os.getppid()
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != above:
        os._exit(3)


class Supervisor:
    """Runs one child: the only process that holds its expected values, its deadline and its output."""

    def __init__(self, parent: int, settings: dict[str, Any]) -> None:
        self.parent, self.settings = parent, settings
        self.frames = bytearray()
        self.parsed = 0
        self.secrets: list[Any] = []
        self.down: int | None = None

    def run(self, public: bytes, secret_size: int, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        up_read, up_write = os.pipe()
        down_read, down_write = os.pipe() if secret_size else (None, None)
        fault, pid, start = None, 0, time.monotonic()
        try:
            enter(self.settings)
            start = time.monotonic()
            pid = os.fork()
        except OSError as error:
            fault = f"can't start a child: {error}"
        if pid == 0 and fault is None:
            as_child(public, up_write, down_read, self.settings, timeout_s)
        os.close(up_write)
        if down_read is not None and down_write is not None:
            os.close(down_read)
            os.set_blocking(down_write, False)
            self.down = down_write
        secret = _read(self.parent, secret_size)
        self.secrets = json.loads(secret) if secret else []
        if fault is not None:
            return {"status": None, "killed": None, "fault": fault, "seconds": 0.0}, b""
        killed = self._collect(up_read, pid, start + timeout_s)
        os.kill(pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
        _, status, usage = os.wait4(pid, 0)
        leave(self.settings)
        seconds = time.monotonic() - start
        cpu_spent = usage.ru_utime + usage.ru_stime >= cpu_seconds(timeout_s)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and killed is None:
            killed = "cpu" if cpu_spent else None
            fault = None if cpu_spent else "killed from outside"
        return {"status": status, "killed": killed, "fault": fault, "seconds": seconds}, bytes(self.frames)

    def _collect(self, up: int, pid: int, deadline: float) -> str | None:
        """Read frames until the child is dead. Returns why it has to be killed, None if it ended by itself."""
        process = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(up, select.POLLIN)
        poll.register(process, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return "deadline"
            ready = {handle for handle, _ in poll.poll(left * 1000 + 1)}
            if up in ready:
                piece = os.read(up, 1 << 18)
                if not piece:
                    poll.unregister(up)
                self.frames += piece
                if len(self.frames) > MAX_OUTPUT_BYTES:
                    return "flood"
                if self.down is not None:
                    self._answer(deadline)
            elif process in ready:
                return None

    def _answer(self, deadline: float) -> None:
        while len(self.frames) - self.parsed >= 5:
            (size,) = struct.unpack_from("<I", self.frames, self.parsed)
            end = self.parsed + 5 + size
            if len(self.frames) < end:
                return
            if self.frames[self.parsed + 4 : self.parsed + 5] == b"?":
                index = bytes(self.frames[self.parsed + 5 : end])
                if index.isdigit() and len(index) < 9 and int(index) < len(self.secrets):
                    data = json.dumps(self.secrets[int(index)]).encode()
                    self._give(struct.pack("<I", len(data)) + data, deadline)
            self.parsed = end

    def _give(self, data: bytes, deadline: float) -> None:
        """Send an expected value, but never wait past the deadline for a child that does not read."""
        assert self.down is not None
        view = memoryview(data)
        while view and time.monotonic() < deadline:
            try:
                view = view[os.write(self.down, view) :]
            except BlockingIOError:
                select.select([], [self.down], [], max(0.0, deadline - time.monotonic()))
            except OSError:
                return


def cpu_seconds(timeout_s: float) -> int:
    """RLIMIT_CPU for a wall-clock limit: behind it, for threads that burn both cores."""
    return int(timeout_s) + 2


def enter(settings: dict[str, Any]) -> None:
    """In the supervisor, before the child: namespaces and the child's private folder."""
    from forewarn.judge import confine

    if settings["level"] == "strict":
        confine.unshare_all()
        confine.mount("none", "/", None, confine.MS_REC | confine.MS_PRIVATE)
        flags = confine.MS_NOSUID | confine.MS_NODEV
        confine.mount("tmpfs", settings["work"], "tmpfs", flags, "size=16m,nr_inodes=256,mode=700")


def leave(settings: dict[str, Any]) -> None:
    """After the child: an own tmpfs goes with its namespace, a shared folder is emptied here."""
    if settings["level"] != "strict":
        for folder, folders, files in os.walk(settings["work"], topdown=False, followlinks=False):
            for name in files:
                os.unlink(os.path.join(folder, name))
            for name in folders:
                path = os.path.join(folder, name)
                (os.unlink if os.path.islink(path) else os.rmdir)(path)


def as_child(public: bytes, up: int, down: int | None, settings: dict[str, Any], timeout_s: float) -> NoReturn:
    """The child: give up all power, then run the submission. Never returns."""
    from forewarn.judge import worker

    status = 4
    try:
        os.setsid()
        _die_with_parent_or_namespace(settings)
        high = os.dup(up), None if down is None else os.dup(down)
        os.dup2(high[0], UP)
        if high[1] is not None:
            os.dup2(high[1], DOWN)
        os.closerange(UP + 1 if down is None else DOWN + 1, 1 << 20)
        channel = worker.Channel(UP, None if down is None else DOWN)
        try:
            give_up_power(settings, timeout_s)
        except OSError as error:
            channel.send(b"!", str(error))
            os._exit(4)
        channel.send(b"+", None)
        worker.run(json.loads(public), channel)
    finally:
        os._exit(status)


def _die_with_parent_or_namespace(settings: dict[str, Any]) -> None:
    from forewarn.judge import confine

    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)


def give_up_power(settings: dict[str, Any], timeout_s: float) -> None:
    """Rlimits, then Landlock, capabilities and the system call filter, in the only order that works."""
    from forewarn.judge import confine

    os.chdir(settings["work"])
    os.environ.clear()
    os.umask(0o077)
    strict = settings["level"] == "strict"
    confine.limit(
        cpu_s=cpu_seconds(timeout_s), memory_mb=settings["memory_mb"], file_mb=16 if strict else 1, processes=None
    )
    if settings["level"] != "weak":
        confine.prctl(confine.PR_SET_NO_NEW_PRIVS, 1)
        confine.landlock(settings["readable"], settings["work"])
        confine.drop_capabilities()
        confine.install_filter(bytes.fromhex(settings["filter"]))


def main() -> int:
    settings = json.loads(sys.argv[1])
    sys.path.append(settings["source_root"])
    from forewarn.judge import confine, worker  # noqa: F401 - forked children find them imported

    sys.path.remove(settings["source_root"])
    for name in PRELOAD:
        __import__(name)
    sys.argv = [""]
    library = os.path.dirname(os.__file__)
    settings["readable"] = [library, "/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache", "/dev/urandom", "/dev/null"]
    settings["filter"] = "" if settings["level"] == "weak" else confine.seccomp_program().hex()
    gc.collect()
    gc.freeze()
    return serve(settings["fd"], settings)


if __name__ == "__main__":
    sys.exit(main())
