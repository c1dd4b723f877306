"""Runs the scripts that a confined child asks for, each in a confined child of its own; children never start processes.

A verifier that was written for a plain machine calls ``subprocess`` to run a submission. In the sandbox that call
becomes a request (``inside/verifier_side.py``): the script, its arguments and the files of the child's disk go out, and
the script's output, files and exit status come back. Both children are fully confined; the parent treats their messages
as data, and passes the files on packed. Not covered: programs other than Python scripts, which are refused.
"""

from __future__ import annotations

import struct
import time

from forewarn.sandbox import codec
from forewarn.sandbox.execution import Execution, SandboxFault
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.inside import disk
from forewarn.sandbox.sides import side_of

MAX_SCRIPTS = 500
"""maximum number of scripts in one execution"""
SHARE_OF_REST = 0.8
"""share of an execution's remaining time that a script gets, so that the execution outlives it"""
SURE_S = 2.0
"""seconds; if a child is not ready within a time limit below this, its script counts as out of time, since the caller
chose the limit or had used up the rest; with a longer limit the sandbox is at fault"""

OURS_S = 10.0
"""time limit of the known-good job that shows whether a sandbox works, seconds"""
OUT_OF_TIME: dict[str, object] = {"status": None, "out": b"", "err": b""}
"""the answer for a script that ran out of time"""
_OURS = codec.encode({"argv": ["-c", "pass"], "cwd": "/tmp", "env": None, "stdin": b"", "files": disk.pack({})})


class ScriptDesk:
    """Runs the scripts of one execution in ``sandbox``. ``fault``: the fault that occurred, or None."""

    def __init__(self, sandbox: Sandbox, timeout_s: float, until: float) -> None:
        self.fault: SandboxFault | None = None
        self._sandbox, self._until = sandbox, until
        self._ends = time.monotonic() + timeout_s
        self._left = MAX_SCRIPTS
        self._budget = codec.Budget()

    def serve(self, data: bytes) -> codec.Tree:
        """Return the answer to one request: a dict with ``error``, or with the report of ``inside/script_side.py``."""
        self._left -= 1
        try:
            job = codec.loads(data, self._budget)
        except codec.CodecError as error:
            return codec.encode({"error": f"no script: {error}"})
        if not isinstance(job, list) or job[:1] != ["d"] or self._left < 0:
            return codec.encode({"error": "no script, or more than a verifier needs"})
        timeout_s = _limit_s(codec.entry(job, "timeout"), max(0.1, SHARE_OF_REST * (self._ends - time.monotonic())))
        try:
            execution = self._sandbox.execute(_request(job), None, timeout_s, self._until)
        except SandboxFault as fault:
            return self._unanswered(fault, timeout_s)
        return _report(execution)

    def _unanswered(self, fault: SandboxFault, timeout_s: float) -> codec.Tree:
        """Return the answer if a script's child was not ready. The job, which a submission may have made, or the
        sandbox is at fault; a sandbox that can run a known-good job is not."""
        late = codec.encode(OUT_OF_TIME)
        if fault.late and timeout_s < SURE_S:
            return late
        if fault.kind == "not ready":
            try:
                self._sandbox.execute(_request(_OURS), None, max(timeout_s, OURS_S), self._until)
            except SandboxFault as other:
                fault = other
            else:
                return late if fault.late else codec.encode({"error": "a child can't load this script"})
        self.fault = self.fault or fault
        return codec.encode({"error": str(fault)})


def _request(job: codec.Tree) -> dict[str, codec.Tree]:
    return {"code": "", "entry_point": "", "cases": [["t", job]], "child": script_side()}


def _limit_s(asked: object, left_s: float) -> float:
    """Return the requested time, which may be a number of any size, cut to the remaining time."""
    if not isinstance(asked, (int, float)) or not 0 < asked < left_s:
        return left_s
    return float(asked)


def script_side() -> str:
    """Return the source of the child side that runs one script; as in a verifier, names of ``typing`` are built in."""
    return side_of("script", "typing")


def _report(execution: Execution) -> codec.Tree:
    """Return a script's result. ``status``: as ``subprocess`` gives it; None if it ran out of time."""
    if execution.killed in ("deadline", "cpu"):
        return codec.encode(OUT_OF_TIME)
    told = _last_note(execution.frames)
    if told is not None:
        return told
    # It exited early or was killed, so unflushed output is lost, as it would be anywhere.
    status = execution.exit_status
    status = -(execution.signal or 9) if status is None else status
    return codec.encode({"status": status, "out": b"", "err": b""})


def _last_note(frames: bytes) -> codec.Tree | None:
    """Return the note in the frame that ends a run, if the child sent a valid one."""
    at, last = 0, b""
    while at + 5 <= len(frames):
        (size,) = struct.unpack_from("<I", frames, at)
        if frames[at + 4 : at + 5] == b"F":
            last = frames[at + 5 : at + 5 + size]
        at += 5 + size
    try:
        frame = codec.loads(last, codec.Budget())
    except codec.CodecError:
        return None
    note = frame.get("n") if isinstance(frame, dict) else None
    told = [codec.entry(note, name) for name in ("status", "error")]
    return note if any(word is not None for word in told) else None
