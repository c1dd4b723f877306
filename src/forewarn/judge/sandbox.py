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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import forewarn
from forewarn.errors import EngineFault
from forewarn.judge import codec

Level = Literal["strict", "hardened", "weak"]
LEVELS: tuple[Level, ...] = ("strict", "hardened", "weak")
"""strongest first. strict: namespaces, Landlock, seccomp, rlimits. hardened: the same without namespaces. weak: rlimits
and a process group only: no protection of files or the network, for trusted code."""
GRACE_S = 10.0
"""added to an execution's deadline before its zygote counts as hung"""
_HEADER = struct.Struct("<IId")


class SandboxFault(EngineFault):
    """The sandbox broke: the execution says nothing about the submission."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What one child did, as its supervisor saw it."""

    exit_status: int | None
    """its exit status; None if a signal ended it"""
    signal: int | None
    killed: Literal["deadline", "cpu", "flood"] | None
    """why the supervisor killed it"""
    seconds: float
    """wall clock from fork to end"""
    frames: bytes
    """all that it sent: the submission's word, to be parsed as such"""


class Sandbox:
    """One zygote process. ``close`` leaves no process and no file."""

    def __init__(self, level: Level, max_memory_mb: int) -> None:
        self.level = level
        self._memory_mb = max_memory_mb
        self._folder: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self.restarts = 0

    def execute(self, request: dict[str, codec.Tree], secrets: list[codec.Tree] | None, timeout_s: float) -> Execution:
        """Run one request (see ``worker.run``) for at most ``timeout_s`` seconds of wall clock.

        ``secrets``: expected values that the supervisor hands out one by one; None where the child may have none.
        Raises ``SandboxFault``; the next call starts a fresh zygote.
        """
        public = codec.dumps(request)
        secret = b"" if secrets is None else codec.dumps(secrets)
        try:
            link = self._ready()
            link.settimeout(timeout_s + GRACE_S)
            link.sendall(_HEADER.pack(len(public), len(secret), timeout_s) + public + secret)
            deadline = time.monotonic() + timeout_s + GRACE_S
            meta_size, frames_size = struct.unpack("<II", _receive(link, 8, deadline))
            answer = json.loads(_receive(link, meta_size, deadline))
            frames = _receive(link, frames_size, deadline)
        except (OSError, EOFError, ValueError, struct.error) as error:
            self._stop()
            self.restarts += 1
            raise SandboxFault(f"the sandbox died or hung: {type(error).__name__}: {error}") from error
        if answer["fault"] is not None:
            raise SandboxFault(f"the sandbox broke: {answer['fault']}")
        status = answer["status"]
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = None if number is not None else os.WEXITSTATUS(status)
        if frames[4:5] == b"!":
            raise SandboxFault(f"the child could not be confined: {frames[5:300].decode('ascii', 'replace')}")
        return Execution(code, number, answer["killed"], answer["seconds"], frames)

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
        if self._socket is not None and self._process is not None and self._process.poll() is None:
            return self._socket
        self._stop()
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="forewarn-")
        work = Path(self._folder) / "work"
        work.mkdir(mode=0o700, exist_ok=True)
        ours, theirs = socket.socketpair()
        settings = {
            "level": self.level,
            "memory_mb": self._memory_mb,
            "work": str(work),
            "fd": theirs.fileno(),
            "source_root": str(Path(forewarn.__file__).parents[1]),
        }
        script = Path(__file__).with_name("zygote.py")
        command = [sys.executable, "-s", "-P", "-S", "-B", str(script), json.dumps(settings)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONHASHSEED": "0"},
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._socket = ours
        return ours

    def _stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()  # its supervisor and child die with it
            self._process.wait()
            self._process = None


def _receive(link: socket.socket, size: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        link.settimeout(left)
        piece = link.recv(min(size, 1 << 20))
        if not piece:
            raise EOFError("the zygote is gone")
        parts.append(piece)
        size -= len(piece)
    return b"".join(parts)


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
