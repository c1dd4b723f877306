"""Inside the sandbox: a replacement for ``subprocess.Popen`` that has the parent run Python scripts, each in a child of
its own. It never starts a process, and refuses any other program.

It uses only the standard library. Not covered: the code that runs such a script (``script_side.py``).
"""

# ruff: noqa: PTH100, PTH109, PTH119
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from forewarn.sandbox.inside import disk

Ask = Callable[[object], Any]
"""job -> its result; see ``sandbox/scripts.py``"""


def stand_in(ask: Ask) -> None:
    """Make ``subprocess``, and everything built on it, ask the parent from now on."""

    class Popen(Process):
        def _ask(self, job: dict[str, object]) -> Any:
            return ask(job)

    subprocess.Popen = Popen  # type: ignore[assignment,misc]


class Process:
    """The part of ``Popen`` that verifiers use. The script runs when it is first waited for, to its end or the timeout.

    A script that ran out of time and is waited for again restarts from its beginning, unless it was killed. Popen's
    other arguments (``preexec_fn``, ``start_new_session`` ...) have no meaning here; they are accepted and ignored.
    """

    def __init__(
        self,
        args: Any,
        bufsize: int = -1,
        executable: object = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        preexec_fn: object = None,
        close_fds: bool = True,
        shell: bool = False,
        cwd: Any = None,
        env: Mapping[Any, Any] | None = None,
        universal_newlines: bool | None = None,
        *_: object,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **__: object,
    ) -> None:
        names = ("python", "python3", os.path.basename(sys.executable), sys.executable)
        if shell or isinstance(args, (str, bytes)) or executable or str(args[0]) not in names:
            raise PermissionError(1, "the sandbox runs Python scripts and no other program")
        self.args, self.pid = args, 2
        self.returncode: int | None = None
        self._argv = [os.fsdecode(arg) for arg in args[1:]]
        self._cwd = os.path.abspath(os.fsdecode(cwd)) if cwd is not None else os.getcwd()
        self._env = None if env is None else {os.fsdecode(key): os.fsdecode(value) for key, value in env.items()}
        self.text = bool(text or universal_newlines or encoding or errors)
        self.coding = encoding or "utf-8", errors or "strict"
        self._merged = stderr == subprocess.STDOUT
        self._given = stdin if hasattr(stdin, "read") else None
        self._killed: int | None = None
        self._endless = False
        self.stdin = Pipe(self) if stdin == subprocess.PIPE else None
        self.stdout = Pipe(self) if stdout == subprocess.PIPE else None
        self.stderr = Pipe(self) if stderr == subprocess.PIPE else None

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        if input is not None and self.stdin is not None:
            self.stdin.write(input)
        self.wait(timeout)
        return self.stdout and self.stdout.read(), self.stderr and self.stderr.read()

    def poll(self) -> int | None:
        """Wait for the script, as nothing else is possible. Returns None for a script that does not end."""
        if self._endless:
            return self._killed
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._endless = True
            return None

    def wait(self, timeout: float | None = None) -> int | None:
        if self.returncode is None:
            self.returncode = self._killed
        if self.returncode is None:
            self._run(timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        self._killed = -int(number)

    def kill(self) -> None:
        self.send_signal(9)

    def terminate(self) -> None:
        self.send_signal(15)

    def _ask(self, job: dict[str, object]) -> Any:
        raise NotImplementedError

    def _run(self, timeout: float | None) -> None:
        stdin = self.stdin.data if self.stdin else self._given.read() if self._given else b""
        told = self._ask(
            {
                "argv": self._argv,
                "cwd": self._cwd,
                "timeout": timeout,
                "env": dict(os.environ) if self._env is None else self._env,
                "stdin": stdin.encode() if isinstance(stdin, str) else bytes(stdin),
                "files": disk.pack(disk.read()),
            }
        )
        if "error" in told:
            raise OSError(told["error"])
        if told["status"] is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        if "files" in told:  # absent if the script did not change its files
            disk.write(disk.unpack(told["files"]))
        self.returncode = told["status"]
        if self.stdout is not None:
            self.stdout.data = told["out"] + told["err"] if self._merged else told["out"]
        if self.stderr is not None:
            self.stderr.data = told["err"]


class Pipe:
    """One end of a script's standard stream, whose whole content is available at once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.data = b""
        self.closed = False

    def write(self, data: Any) -> int:
        self.data += data.encode(*self._process.coding) if isinstance(data, str) else data
        return len(data)

    def read(self, size: int | None = -1) -> Any:
        self._process.wait()
        return self._taken(len(self.data) if size is None or size < 0 else size)

    def readline(self) -> Any:
        self._process.wait()
        return self._taken(self.data.find(b"\n") + 1 or len(self.data))

    def readlines(self) -> Sequence[Any]:
        return list(self)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.readline, "" if self._process.text else b"")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def _taken(self, size: int) -> Any:
        data, self.data = self.data[:size], self.data[size:]
        if not self._process.text:
            return data
        return data.decode(*self._process.coding).replace("\r\n", "\n").replace("\r", "\n")
