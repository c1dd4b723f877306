"""Child side that runs one Python script as its own process would, and reports its output, files and exit status.

It runs inside the sandbox and uses only the standard library. The job is the only argument of the only case: ``argv``
(options of the interpreter, then a file, ``-c`` source or ``-m`` module, then arguments), ``cwd``, ``env`` (None:
unchanged), ``stdin`` and ``files`` (as ``disk.py`` packs them).
"""

# ruff: noqa: PTH100, PTH109, PTH120
from __future__ import annotations

import atexit
import builtins
import io
import os
import runpy
import sys
import threading
import traceback
import types
from typing import Any

from forewarn.sandbox.inside import disk

told: dict[str, object] = {}
"""``status``, as ``subprocess`` gives it, ``out`` and ``err``; ``files``, if the script changed them; or ``error``, the
reason why the script did not run"""
brought: dict[str, bytes | None] = {}
"""the files at the script's start"""


def prepare(tools: Any) -> None:
    disk.claim()
    disk.stand_in()
    # The job comes from a child in which a submission runs, so a job that can't be set up is the submission's fault.
    _, error = tools.attempt(set_up, tools.cases[0][0])
    if error is not None:
        told.update(error=f"no script: {type(error).__name__}: {error}"[:300])


def set_up(job: Any) -> None:
    """Set up the disk and the folder for the script. An invalid job can make it raise anything."""
    if not isinstance(job["argv"], list) or not isinstance(job["stdin"], bytes):
        raise TypeError("argv is not a list, or stdin is not bytes")
    if job["env"] is not None and not all(isinstance(text, str) for pair in job["env"].items() for text in pair):
        raise TypeError("env is not text")
    brought.update(disk.unpack(job["files"]))
    disk.write(brought)
    os.chdir(job["cwd"])


def around(tools: Any, proceed: object) -> None:
    """Run the script instead of loading and calling a submission."""
    if told:
        return
    job = tools.cases[0][0]
    del sys.modules["submission"]  # the worker's empty module: a script may have a module of that name
    if job["env"] is not None:
        os.environ.clear()
        os.environ.update(job["env"])
    streams = [io.TextIOWrapper(io.BytesIO(data), "utf-8", write_through=True) for data in (job["stdin"], b"", b"")]
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    _, error = tools.attempt(run_main, job["argv"])
    status, trouble = ended(error)
    if trouble is not None:
        tools.attempt(traceback.print_exception, trouble, trouble, trouble.__traceback__, None, streams[2])
    tools.attempt(finish_process)
    out, err = (stream.buffer.getvalue() for stream in streams[1:])
    told.update(status=status, out=out, err=err)


def finish(tools: Any) -> dict[str, object]:
    if "error" in told:
        return told
    files, error = tools.attempt(changed)
    if isinstance(error, OSError):
        return {"error": str(error)}
    return told if error or files is None else told | {"files": files}  # no files if the code that reads them broke


def changed() -> str | None:
    """Return the files that the script left, packed; None if they are unchanged."""
    left = disk.read()
    return None if left == brought else disk.pack(left)


def run_main(argv: list[str]) -> None:
    """Run the program on the command line as ``__main__``."""
    arguments = list(argv)
    while arguments and arguments[0].startswith("-") and arguments[0] not in ("-c", "-m", "-"):
        arguments = arguments[2:] if arguments[0] in ("-W", "-X") else arguments[1:]
    kind = arguments.pop(0) if arguments and arguments[0] in ("-c", "-m", "-") else "file" if arguments else "-"
    if kind == "-m":
        sys.argv = arguments
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins  # this side has its own builtins
    sys.modules["__main__"] = main
    if kind == "file":
        with open(arguments[0], "rb") as file:
            source = file.read()
        main.__file__ = name = arguments[0]
        sys.argv = arguments
    elif kind == "-c":
        name, source = "<string>", arguments[0].encode()
        sys.argv = ["-c", *arguments[1:]]
    else:
        name, source = "<stdin>", sys.stdin.buffer.read()
        sys.argv = ["-", *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(name)) if kind == "file" else "")
    exec(compile(source, name, "exec", dont_inherit=True), main.__dict__)


def ended(error: BaseException | None) -> tuple[int, BaseException | None]:
    """Return the interpreter's exit status, and the exception whose traceback it would print."""
    if not isinstance(error, SystemExit):
        return (0, None) if error is None else (1, error)
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF, None
    print(error.code, file=sys.stderr)
    return 1, None


def finish_process() -> None:
    """Do what the interpreter does between the end of a script and the end of its process."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
