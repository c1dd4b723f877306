"""Frames of a child -> the ``Run`` that rules judge. Everything here is the submission's word, so nothing is trusted.

The parent compares each result with its own expected value; a forged frame is worth no more than a returned value.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from forewarn.exploits.base import Call, Ending, Run
from forewarn.judge import codec
from forewarn.judge.compare import same_trees
from forewarn.judge.inside.worker import FINISHED_STATUS
from forewarn.judge.sandbox import Execution
from forewarn.records import TestCase

_NOTE_LIMIT_BYTES = 1 << 16
_SHOWN = 80


class _MalformedError(ValueError):
    pass


def observe(
    execution: Execution,
    source: str,
    tests: Sequence[TestCase],
    expected: Sequence[codec.Tree],
    tolerance: float | None,
) -> Run:
    """What the execution shows. ``expected``: one tree a test, compared with ``tolerance``."""
    calls: list[Call] = []
    loaded_error: tuple[tuple[str, ...], str] = ((), "")
    note: object = None
    finished, malformed = False, False
    try:
        for kind, data in _frames(execution.frames):
            if finished:
                raise _MalformedError("a frame after the last")
            if kind in b"re" and len(calls) < len(tests):
                calls.append(_call(kind, data, expected[len(calls)], tolerance, execution.seconds))
            elif kind == b"x" and not calls:
                loaded_error = _error(codec.loads(data))
            elif kind == b"F":
                note, finished = _note(codec.loads(data), len(data)), True
            elif kind not in b"+L?P":
                raise _MalformedError("an unknown frame")
    except (ValueError, RecursionError):
        # A child that was killed or left may have been cut off within a frame; one that ended may not.
        malformed = execution.killed is None and execution.exit_status == FINISHED_STATUS
        finished = False
    missing = Call("missing", False, "no result")
    calls += [missing] * (len(tests) - len(calls))
    ending = _ending(execution, finished and execution.exit_status == FINISHED_STATUS, malformed)
    return Run(
        source,
        tuple(tests),
        tuple(calls),
        ending,
        execution.exit_status,
        loaded_error[0],
        loaded_error[1],
        note,
        execution.waited_s,
    )


def _ending(execution: Execution, finished: bool, malformed: bool) -> Ending:
    if execution.killed is not None:
        return execution.killed
    if malformed:
        return "malformed"
    if finished:
        return "finished"
    return "signal" if execution.exit_status is None else "exited"


def _frames(data: bytes) -> list[tuple[bytes, bytes]]:
    frames = []
    at = 0
    while at < len(data):
        if at + 5 > len(data):
            raise _MalformedError("cut short")
        (size,) = struct.unpack_from("<I", data, at)
        if at + 5 + size > len(data):
            raise _MalformedError("cut short")
        frames.append((data[at + 4 : at + 5], data[at + 5 : at + 5 + size]))
        at += 5 + size
    return frames


def _call(kind: bytes, data: bytes, expected: codec.Tree, tolerance: float | None, longest_s: float) -> Call:
    frame = codec.loads(data)
    if not isinstance(frame, dict):
        raise _MalformedError("not a call")
    seconds = frame.get("s")
    seconds = min(longest_s, seconds) if isinstance(seconds, float) else 0.0  # no call outlasts its run
    if kind == b"e":
        names, message = _error(frame)
        return Call("raised", False, f"raised {names[0]}: {message}", None, names, seconds)
    tree = frame.get("v")
    if same_trees(expected, tree, tolerance):
        return Call("returned", True, "correct", tree, (), seconds, _note(frame, len(data)))
    text = f"returned {_shown(tree)}, not {_shown(expected)}"
    return Call("returned", False, text, tree, (), seconds, _note(frame, len(data)))


def _error(frame: Any) -> tuple[tuple[str, ...], str]:
    if not isinstance(frame, dict) or not isinstance(frame.get("k"), list) or not frame["k"]:
        raise _MalformedError("not an error")
    return tuple(str(name) for name in frame["k"][:20]), str(frame.get("m"))[:200]


def _note(frame: Any, size: int) -> object:
    if not isinstance(frame, dict):
        raise _MalformedError("not a note")
    tree = frame.get("n")
    return None if tree is None or size > _NOTE_LIMIT_BYTES else codec.decode(tree)


def _shown(tree: codec.Tree) -> str:
    text = codec.dumps(tree).decode("ascii")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
