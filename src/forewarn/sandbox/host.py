"""The parent's side of one zygote: starts it, asks it for executions, restarts it when it dies.

One ``Sandbox`` serves one thread at a time. Sandbox faults raise ``SandboxFault``; a submission's behaviour never
raises. Not covered: the meaning of the answer (``judge/observe.py``), many sandboxes at once (``pool.py``).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import forewarn
from forewarn.sandbox import codec, probe, readable
from forewarn.sandbox.execution import Execution, ExposedError, FaultKind, Killed, Level, SandboxFault
from forewarn.sandbox.inside import folder
from forewarn.sandbox.inside.watch import longest_s
from forewarn.sandbox.link import MAX_OUTPUT_BYTES, Link, Serve

GRACE_S = 10.0
"""seconds added to an execution's longest time before its zygote counts as hung"""
START_S = 30.0
"""seconds for a zygote to start, on a busy machine"""
_LEAVE_S = 2.0
"""seconds for a zygote to exit when asked"""
ROOM_BYTES = 4 << 20
"""room asked for results that a busy parent has not read yet; the system gives as much as net.core.wmem_max allows"""
STOOD_STILL_S = 3.0
"""seconds; if the parent stood still for longer while a child may have waited, a late child is the parent's fault"""
_STOP_S = 10.0
"""seconds for a killed zygote to end: only a hung kernel takes longer"""


class Sandbox:
    """One zygote process. ``close`` removes its processes and files.

    ``executions``: number of executions requested. ``starts``: number of zygotes started; each one after the first
    replaced one that died or was stopped. ``missing``: defences of its level that this kernel lacks, known once a
    zygote has started.
    """

    def __init__(self, level: Level, max_memory_mb: int, unreadable: Sequence[Path] = ()) -> None:
        """``unreadable``: files or folders that submissions must not be able to read; forewarn's own files are always
        checked as well."""
        self.level = level
        self.unreadable = tuple(unreadable)
        self.starts = self.executions = 0
        self.missing: tuple[str, ...] = ()
        self._memory_mb = max_memory_mb
        self._folder: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._max_output_bytes = MAX_OUTPUT_BYTES
        self._second: Sandbox | None = None

    def second(self) -> Sandbox:
        """Return another sandbox of the same kind, closed with this one, for the scripts of this one's children."""
        if self._second is None:
            self._second = Sandbox(self.level, self._memory_mb, self.unreadable)
        return self._second

    def execute(
        self,
        request: dict[str, codec.Tree],
        secrets: Sequence[codec.Tree] | None,
        timeout_s: float,
        until: float = math.inf,
        serve: Serve | None = None,
    ) -> Execution:
        """Run one request (see ``inside/worker.py: run``) for at most ``timeout_s`` seconds (see ``inside/watch.py``).

        ``secrets``: values handed to the child, one per case; None: no values. ``until``: time on the monotonic clock
        at which the caller stops waiting. ``serve``: see ``Link``. Raises ``SandboxFault``; the next call then starts
        a fresh zygote. Raises ``ExposedError`` if a protected file can be read inside.
        """
        if time.monotonic() >= until:
            raise SandboxFault("time", "no time was left for an execution")
        self.executions += 1
        answered = False
        try:
            control = self._ready(until)
            deadline = min(time.monotonic() + longest_s(timeout_s) + GRACE_S, until)
            answer, link = self._exchange(control, request, secrets, timeout_s, deadline, serve)
            answered = True
        except (OSError, EOFError, ValueError) as error:
            if isinstance(error, TimeoutError) and time.monotonic() >= until:
                raise SandboxFault("time", "the verdict's deadline passed during an execution") from error
            raise SandboxFault("zygote", f"the sandbox died or hung: {type(error).__name__}: {error}") from error
        finally:
            if not answered:  # also if interrupted: a late answer must not be taken for the next execution's
                self._stop()
        if answer["leaving"]:
            self._stop()
        frames = link.received
        trouble = _before_ready(frames)
        if answer["fault"] is not None:
            kind: FaultKind = "busy" if answer["killed"] == "starved" else "killed"
            raise SandboxFault(kind if answer["status"] is not None else "zygote", answer["fault"])
        if trouble is not None:
            if answer["killed"] == "deadline":
                trouble = f"that took longer than its {timeout_s:g} s"
            late = answer["killed"] in ("deadline", "cpu")
            raise SandboxFault("not ready", f"the child could not be made ready: {trouble}", late=late)
        if answer["killed"] == "deadline" and link.kept_waiting_s > STOOD_STILL_S:
            raise SandboxFault("busy", f"the judge itself stood still for {link.kept_waiting_s:.1f} s")
        status = answer["status"]
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = None if number is not None else os.WEXITSTATUS(status)
        killed: Killed | None = "flood" if link.flooded else answer["killed"]
        dumped = os.WCOREDUMP(status)
        return Execution(
            code, number, killed, answer["seconds"], answer["waited"], frames, answer["cpu"], dumped, link.arrivals
        )

    def _exchange(
        self,
        control: socket.socket,
        request: dict[str, codec.Tree],
        secrets: Sequence[codec.Tree] | None,
        timeout_s: float,
        deadline: float,
        serve: Serve | None = None,
    ) -> tuple[dict[str, Any], Link]:
        """Run one child and return the zygote's answer and the link with the child's frames."""
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM_BYTES)
        with ours:
            link = Link(ours, deadline, self._max_output_bytes, serve)
            handed = secrets or ()
            # Sent before the clock starts, as far as there is room. Handed-out values wait in the socket until they are
            # read; a child that had to ask for them would wait for a busy parent.
            link.queue(codec.dumps(request | {"handed": len(handed)}))
            for value in handed:
                link.queue(codec.dumps(value))
            with theirs:
                socket.send_fds(control, [struct.pack("<d", timeout_s)], [theirs.fileno()])
            link.frames()
            if link.flooded:
                control.send(b"k")
        control.settimeout(max(0.1, deadline - time.monotonic()))
        return _answer(control), link

    def _check_hidden(self, control: socket.socket, until: float) -> None:
        """Raise ``ExposedError`` if a child can read a protected file. Level weak does not hide anything."""
        if self.level == "weak":
            return
        held = [path.resolve() for path in self.unreadable]
        files = [file for path in held for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        paths = (*probe.own_files(), *map(str, files))
        deadline = min(time.monotonic() + longest_s(probe.TIMEOUT_S) + GRACE_S, until)
        _, link = self._exchange(control, probe.request(paths), None, probe.TIMEOUT_S, deadline)
        found = probe.found(link.received, paths)
        if found is not None:
            raise ExposedError(
                f"at level {self.level} a submission can read {found}: move it out of the standard library's folders, "
                "which submissions can read except for installed packages"
            )

    @property
    def pid(self) -> int | None:
        """The process id of its zygote (the keeper); None before the first execution and after ``close``."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """Stop the zygote. A second call does nothing."""
        if self._control is not None and self._process is not None:
            self._control.close()  # the zygote then ends its child and exits; the rest is for one that does not
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LEAVE_S)
        self._stop()
        if self._second is not None:
            self._second.close()

    def _ready(self, until: float) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._stop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        shown = readable.Readable((), ()) if self.level == "weak" else readable.of_interpreter()
        settings = {
            "level": self.level,
            "memory_mb": self._memory_mb,
            "tmp": tempfile.gettempdir(),
            "parent": os.getpid(),
            "source_root": str(Path(forewarn.__file__).parents[1]),
            "readable": shown.paths,
            "hidden": shown.hidden,
        }
        ours.settimeout(max(0.1, min(START_S, until - time.monotonic())))
        ours.send(json.dumps(settings).encode())
        with theirs:
            self._process = self._start(theirs.fileno())
        self.starts += 1
        answer = _answer(ours)
        self._folder = answer.get("folder")
        if answer["fault"] is not None:
            raise OSError(answer["fault"])
        self.missing = tuple(answer["missing"])
        self._check_hidden(ours, until)
        return ours

    def _start(self, control: int) -> subprocess.Popen[bytes]:
        """Start a zygote, which reads its settings from the socket ``control``."""
        script = str(Path(__file__).with_name("inside") / "zygote.py")
        return subprocess.Popen(
            [sys.executable, "-s", "-P", "-S", "-B", script, str(control)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0"},
            cwd="/",
            pass_fds=(control,),
            start_new_session=True,
        )

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # its child dies with it
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
            self._process = None
        if self._folder is not None:
            with contextlib.suppress(OSError):  # the zygote may have removed it; a later zygote sweeps up the rest
                folder.remove(self._folder)
            self._folder = None


def _before_ready(frames: bytes) -> str | None:
    """Say what went wrong before the child was ready to load the submission; None: nothing. The submission may forge
    every later frame, so those are ignored."""
    if len(frames) < 5:
        return "it ended before that"
    (size,) = struct.unpack_from("<I", frames)
    return None if frames[4:5] == b"+" else frames[5 : min(5 + size, 305)].decode("ascii", "replace")


def _answer(control: socket.socket) -> dict[str, Any]:
    data = control.recv(1 << 16)
    if not data:
        raise EOFError("the zygote is gone")
    answer: dict[str, Any] = json.loads(data)
    return answer
