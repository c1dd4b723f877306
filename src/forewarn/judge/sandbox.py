"""The parent's side of one zygote: start it, ask it for executions, restart it when it dies.

One ``Sandbox`` serves one thread at a time. Faults of ours raise ``SandboxFault``; what a submission does never raises.
Not covered: what the answer means (``observe.py``, ``judge.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import forewarn
from forewarn.errors import EngineFault
from forewarn.judge import codec
from forewarn.judge.link import Link
from forewarn.judge.zygote import STRETCH

Killed = Literal["deadline", "cpu", "flood"]
Level = Literal["strict", "hardened", "weak"]
LEVELS: tuple[Level, ...] = ("strict", "hardened", "weak")
"""strongest first. strict: fresh namespaces and a read-only root of the interpreter's files, seccomp, rlimits, Landlock
where there is any. hardened: Landlock, seccomp, rlimits. weak: rlimits and a process group only, no protection of files
or the network: for trusted code."""
GRACE_S = 10.0
"""added to an execution's deadline before its zygote counts as hung"""
START_S = 30.0
"""for a zygote to start, on a busy machine"""


class SandboxFault(EngineFault):
    """The sandbox broke: the execution says nothing about the submission."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What one child did, as its supervisor saw it."""

    exit_status: int | None
    """its exit status; None if a signal ended it"""
    signal: int | None
    killed: Killed | None
    """why the supervisor killed it"""
    seconds: float
    """wall clock from fork to end"""
    waited_s: float
    """how long its first thread stood ready without a core"""
    frames: bytes
    """all that it sent: the submission's word, to be parsed as such"""


class Sandbox:
    """One zygote process. ``close`` leaves no process and no file."""

    def __init__(self, level: Level, max_memory_mb: int) -> None:
        self.level = level
        self._memory_mb = max_memory_mb
        self._folder: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def execute(
        self, request: dict[str, codec.Tree], secrets: Sequence[codec.Tree] | None, timeout_s: float
    ) -> Execution:
        """Run one request (see ``worker.run``) for at most ``timeout_s`` seconds of wall clock (see ``zygote.watch``).

        ``secrets``: expected values that the child may ask for; None where it may have none.
        Raises ``SandboxFault``; the next call starts a fresh zygote.
        """
        try:
            control = self._ready()
            ours, theirs = socket.socketpair()
            with ours:
                deadline = time.monotonic() + STRETCH * timeout_s + GRACE_S
                link = Link(ours, secrets, deadline)
                link.queue(codec.dumps(request))  # before the clock starts, as far as the buffer takes it
                with theirs:
                    socket.send_fds(control, [struct.pack("<d", timeout_s)], [theirs.fileno()])
                frames = link.frames()
                if link.flooded:
                    control.send(b"k")
            control.settimeout(max(0.1, deadline - time.monotonic()))
            answer = _answer(control)
        except (OSError, EOFError, ValueError) as error:
            self._stop()
            raise SandboxFault(f"the sandbox died or hung: {type(error).__name__}: {error}") from error
        trouble = _before_ready(frames)
        if trouble is not None:
            raise SandboxFault(f"the child could not be made ready: {trouble}")
        status = answer["status"]
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = None if number is not None else os.WEXITSTATUS(status)
        killed: Killed | None = "flood" if link.flooded else answer["killed"]
        return Execution(code, number, killed, answer["seconds"], answer["waited"], frames)

    @property
    def pid(self) -> int | None:
        """The zygote's process id; None before the first execution and after ``close``."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        self._stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _ready(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._stop()
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="forewarn-")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        settings = {
            "level": self.level,
            "memory_mb": self._memory_mb,
            "folder": self._folder,
            "fd": theirs.fileno(),
            "source_root": str(Path(forewarn.__file__).parents[1]),
        }
        script = str(Path(__file__).with_name("zygote.py"))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-S", "-B", script, json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONHASHSEED": "0"},
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        ours.settimeout(START_S)
        _answer(ours)
        return ours

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # its child dies with it
            self._process.wait()
            self._process = None


def _before_ready(frames: bytes) -> str | None:
    """None if the child was ready to load the submission. What comes after that is the submission's word."""
    at = 0
    while at + 5 <= len(frames):
        (size,) = struct.unpack_from("<I", frames, at)
        kind, data = frames[at + 4 : at + 5], frames[at + 5 : at + 5 + size]
        if kind != b"?":
            return None if kind == b"+" else data[:300].decode("ascii", "replace")
        at += 5 + size
    return "it ended before that"


def _answer(control: socket.socket) -> dict[str, Any]:
    data = control.recv(1 << 16)
    if not data:
        raise EOFError("the zygote is gone")
    answer: dict[str, Any] = json.loads(data)
    if answer["fault"] is not None:
        raise OSError(answer["fault"])
    return answer


def works(level: Level, max_memory_mb: int) -> str | None:
    """Try a level with one harmless execution. None if it works, else why not."""
    sandbox = Sandbox(level, max_memory_mb)
    request: dict[str, codec.Tree] = {
        "code": "def f():\n    return 1",
        "entry_point": "f",
        "cases": [["t"]],
        "child": "",
    }
    try:
        execution = sandbox.execute(request, None, 30.0)
    except SandboxFault as fault:
        return str(fault)
    finally:
        sandbox.close()
    return None if b'"v":1' in execution.frames else "a harmless execution gave no result"
