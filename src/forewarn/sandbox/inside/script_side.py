"""Child side: runs one Python script as a process of its own would, and reports what it printed, left and ended with.

Inside the sandbox, standard library alone. The job is the only case's only argument: ``argv`` (options of the
interpreter, then a file, ``-c`` source or ``-m`` module, then arguments), ``cwd``, ``env`` (None: as it is), ``stdin``
and ``files`` (as ``disk.py`` packs them).
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
"""``status``, as ``subprocess`` gives it, ``out`` and ``err``; ``files``, where they are others than were brought; or
``error``, why no script was run"""
brought: dict[str, bytes | None] = {}
"""the files with which the script starts"""


def prepare(tools: Any) -> None:
    disk.claim()
    disk.stand_in()
    # The job comes from a child in which a submission runs: one that can't be set up is its fault, and none of ours.
    _, error = tools.attempt(set_up, tools.cases[0][0])
    if error is not None:
        told.update(error=f"no script: {type(error).__name__}: {error}"[:300])


def set_up(job: Any) -> None:
    """The disk and the folder as the script is to find them. Raises whatever a job that is none makes it raise."""
    if not isinstance(job["argv"], list) or not isinstance(job["stdin"], bytes):
        raise TypeError("argv is no list, or stdin no bytes")
    if job["env"] is not None and not all(isinstance(text, str) for pair in job["env"].items() for text in pair):
        raise TypeError("env is no text")
    brought.update(disk.unpack(job["files"]))
    disk.write(brought)
    os.chdir(job["cwd"])


def around(tools: Any, proceed: object) -> None:
    """In place of loading and calling a submission."""
    if told:
        return
    job = tools.cases[0][0]
    del sys.modules["submission"]  # the worker's, and empty: a script may have a module of that name
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
    return told if error or files is None else told | {"files": files}  # where it broke what reads them, they stay


def changed() -> str | None:
    """The files that the script left, packed; None where they are those that were brought."""
    left = disk.read()
    return None if left == brought else disk.pack(left)


def run_main(argv: list[str]) -> None:
    """Run what the command line names as ``__main__``."""
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
    main.__dict__["__builtins__"] = builtins  # those of this side are its own
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
    """The exit status that the interpreter would give, and what it would print a traceback of."""
    if not isinstance(error, SystemExit):
        return (0, None) if error is None else (1, error)
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF, None
    print(error.code, file=sys.stderr)
    return 1, None


def finish_process() -> None:
    """What the interpreter does between the end of a script and that of its process."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
