"""Frames of a child -> the ``Run`` that rules judge. The submission could have forged every frame, so none is trusted.

The parent compares each result with its own expected value, so a forged frame gains no more than a returned value.
Results and notes remain trees, and only trees that ``encode`` could have made (``codec.checked``). The cost of parsing
is bounded beforehand, every text is cut here, and times come from the parent's clock, never from the child.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from forewarn.exploits.base import Call, Ending, Run
from forewarn.judge.compare import same_trees
from forewarn.judge.spelling import spelled
from forewarn.records import TestCase
from forewarn.sandbox import codec
from forewarn.sandbox.execution import Execution
from forewarn.sandbox.inside.worker import FINISHED_STATUS, MAX_CLASSES, MAX_FRAME_BYTES, MAX_TEXT

_NOTE_LIMIT_BYTES = 1 << 16
_SHOWN = 80


_one_reader = threading.Lock()
"""One thread of a judge reads results at a time. Reading holds the interpreter, and children wait for threads that take
what they send: several readers would keep them waiting for as many times as long."""


class _MalformedError(ValueError):
    pass


def observe(
    execution: Execution,
    source: str,
    tests: Sequence[TestCase],
    expected: Sequence[codec.Tree],
    tolerance: float | None,
) -> Run:
    """Return what the execution shows. ``expected``: one tree per test, compared with ``tolerance``."""
    with _one_reader:
        return _observed(execution, source, tests, expected, tolerance)


def _observed(
    execution: Execution,
    source: str,
    tests: Sequence[TestCase],
    expected: Sequence[codec.Tree],
    tolerance: float | None,
) -> Run:
    calls: list[Call] = []
    loaded_error: tuple[tuple[str, ...], str] = ((), "")
    note: codec.Tree = None
    finished, malformed = False, False
    budget = codec.Budget()
    since: float | None = None
    try:
        for kind, data, came in _frames(execution):
            if finished:
                raise _MalformedError("a frame after the last")
            if kind in b"re" and len(calls) < len(tests):
                # The keeper's clock bounds a call, so that a parent that is late to read doesn't make it look slow.
                seconds = 0.0 if since is None else min(came - since, execution.seconds)
                frame = codec.loads(data, budget)
                note_fits = len(data) <= _NOTE_LIMIT_BYTES
                calls.append(_call(kind, frame, note_fits, expected[len(calls)], tolerance, seconds))
                since = came
            elif kind == b"L":
                since = came if since is None else since  # a second such frame could hide the time before it
            elif kind == b"x" and not calls and not loaded_error[0]:
                loaded_error = _error(codec.loads(data, budget))
            elif kind == b"F":
                note, finished = _note(codec.loads(data, budget), len(data) <= _NOTE_LIMIT_BYTES), True
            elif kind not in b"+?P":
                raise _MalformedError("an unknown frame")
    except (ValueError, RecursionError):
        # A child that was killed or exited early may have been cut off within a frame; one that finished may not.
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
        execution.seconds,
    )


def _ending(execution: Execution, finished: bool, malformed: bool) -> Ending:
    if execution.killed is not None:
        return execution.killed
    if malformed:
        return "malformed"
    if finished:
        return "finished"
    return "signal" if execution.exit_status is None else "exited"


def _frames(execution: Execution) -> Iterator[tuple[bytes, bytes, float]]:
    """Yield kind, data and arrival time of each frame."""
    data, at = execution.frames, 0
    for came in execution.arrivals:
        if at + 5 > len(data):
            break
        (size,) = struct.unpack_from("<I", data, at)
        if size > MAX_FRAME_BYTES:
            raise _MalformedError("larger than the worker sends any")
        if at + 5 + size > len(data):
            break
        yield data[at + 4 : at + 5], data[at + 5 : at + 5 + size], came
        at += 5 + size
    if at < len(data):
        raise _MalformedError("cut short")


def _call(
    kind: bytes, frame: codec.Tree, note_fits: bool, expected: codec.Tree, tolerance: float | None, seconds: float
) -> Call:
    if kind == b"e":
        names, message = _error(frame)
        return Call("raised", False, f"raised {names[0]}: {message}", None, names, seconds)
    note = _note(frame, note_fits)
    tree = codec.checked(frame.get("v"))
    if same_trees(expected, tree, tolerance):
        return Call("returned", True, "correct", tree, (), seconds, note)
    text = f"returned {spelled(tree, _SHOWN)}, not {spelled(expected, _SHOWN)}"
    return Call("returned", False, text, tree, (), seconds, note)


def _error(frame: Any) -> tuple[tuple[str, ...], str]:
    """Return class names and message, each cut to a fixed length."""
    names = frame.get("k") if isinstance(frame, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names[:MAX_CLASSES]):
        raise _MalformedError("not an error")
    message = frame.get("m")
    return (
        tuple(name[:MAX_TEXT] for name in names[:MAX_CLASSES]),
        message[:MAX_TEXT] if isinstance(message, str) else "",
    )


def _note(frame: Any, fits: bool) -> codec.Tree:
    """Return the tree of a note; None for a frame that is too large for a note."""
    if not isinstance(frame, dict):
        raise _MalformedError("not a note")
    return codec.checked(frame.get("n")) if fits else None
