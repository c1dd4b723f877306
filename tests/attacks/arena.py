"""Runs an attack at a level, with all defences or without some of them, and says what became of it."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
import tracemalloc
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import Call, Decision, Rule, Run, compare_all, every_call
from forewarn.judge import compare
from forewarn.judge.labels import one_line
from forewarn.judge.observe import observe
from forewarn.records import TestCase
from forewarn.sandbox import codec
from forewarn.sandbox.execution import Execution, Level, SandboxFault
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.inside.defences import DEFENCES
from tests.attacks.attack import PARENT_DEFENCES, Answer, Attack, Outcome, Stage

MEMORY_MB = 512
FLOOD_BYTES = 64 << 20
# A checker that compares beside the submission, which `compared outside` forbids.
COMPARES_INSIDE = """
def after_call(tools, index, args, value):
    return bool(value == tools.expected(index))
"""
# A checker that has the expected values at hand in the child, which `values withheld` forbids.
KNOWS_INSIDE = """
def prepare(tools):
    global answers
    answers = [tools.expected(index) for index in range(len(tools.cases))]
"""
BUSY_TRIES = 5
IN_SANDBOX = frozenset({"output limit", "source as text"})
"""defences outside the zygote that a weakened sandbox still has to know of"""


class Weakened(Sandbox):
    """A sandbox without some of its level's defences. For tests alone: nothing in the library makes one."""

    def __init__(self, level: Level, max_memory_mb: int, off: Collection[str]) -> None:
        super().__init__(level, max_memory_mb)
        self._off = frozenset(off)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the sandbox
        if "output limit" in self._off:
            self._max_output_bytes = FLOOD_BYTES

    def log(self) -> bytes:
        """What was printed since the last look."""
        self._log.seek(0)
        printed = self._log.read()
        self._log.seek(0)
        self._log.truncate()
        return printed

    def close(self) -> None:
        super().close()
        self._log.close()

    def _check_hidden(self, control: socket.socket, until: float) -> None:
        """Much can be read without some defences, and is meant to be."""

    def _start(self, control: int) -> subprocess.Popen[bytes]:
        script = str(Path(__file__).with_name("weak_zygote.py"))
        outlet = self._log if "null output" in self._off else subprocess.DEVNULL
        inherits = "closed descriptors" in self._off
        if inherits:
            os.set_inheritable(control, True)
        return subprocess.Popen(
            [sys.executable, "-s", "-P", "-S", "-B", script, str(control), *sorted(self._off)],
            stdin=subprocess.DEVNULL,
            stdout=outlet,
            stderr=subprocess.DEVNULL,
            env={**(os.environ if "empty environment" in self._off else {}), "PYTHONHASHSEED": "0"},
            cwd="/",
            pass_fds=() if inherits else (control,),
            close_fds=not inherits,
            start_new_session=True,
        )


def _correct_or_noted(call: Call) -> bool:
    return call.correct or call.note is True


def run_attack(attack: Attack, sandbox: Sandbox, folder: Path, off: Collection[str] = ()) -> Outcome:
    """One try at an attack, on a stage of its own below ``folder``."""
    unknown = set(off) - DEFENCES.keys() - PARENT_DEFENCES.keys()
    assert not unknown, unknown
    with attack.stage(folder) as stage:
        outcome = _try(attack, attack.source, sandbox, stage, off)
        if attack.then:
            assert outcome.run is not None, outcome.fault
            outcome = _try(attack, attack.then, sandbox, stage, off)
        return outcome


class Arena:
    """Sandboxes of every kind that attacks were run in, each started once."""

    def __init__(self) -> None:
        self._sandboxes: dict[tuple[Level, frozenset[str]], Sandbox] = {}

    def answer(self, attack: Attack, level: Level, folder: Path, off: Collection[str] = ()) -> Answer:
        """What became of an attack. Asked again where the machine had no core for it, as "invalid" asks for."""
        sandbox = self._sandbox(level, frozenset(off) & (DEFENCES.keys() | IN_SANDBOX))
        for attempt in range(BUSY_TRIES):
            folder_of_try = folder / f"try {attempt}"
            folder_of_try.mkdir(parents=True)
            outcome = run_attack(attack, sandbox, folder_of_try, off)
            if outcome.fault is None or outcome.fault.kind != "busy":
                return "got through" if attack.through(outcome) else "stopped"
        raise AssertionError(f"{attack.name}: no core for it in {BUSY_TRIES} tries")

    def close(self) -> None:
        for sandbox in self._sandboxes.values():
            sandbox.close()

    def _sandbox(self, level: Level, off: frozenset[str]) -> Sandbox:
        key = level, off
        if key not in self._sandboxes:
            self._sandboxes[key] = Weakened(level, MEMORY_MB, off) if off else Sandbox(level, MEMORY_MB)
        return self._sandboxes[key]


def _try(attack: Attack, source: str, sandbox: Sandbox, stage: Stage, off: Collection[str]) -> Outcome:
    source = textwrap.dedent(source)
    tests = [TestCase(stage.args, value) for value in attack.expected]
    expected = [codec.encode(value) for value in attack.expected]
    inside = "compared outside" in off
    knows = "values withheld" in off
    request = {
        "code": source,
        "entry_point": "solve",
        "cases": [codec.encode(test.args) for test in tests],
        "child": COMPARES_INSIDE if inside else KNOWS_INSIDE if knows else "",
    }
    secrets = expected if inside or knows else None
    if knows:
        secrets = [*expected, *expected]  # the second half waits in the socket, unread
    try:
        execution = sandbox.execute(request, secrets, attack.timeout_s, time.monotonic() + attack.wait_s)
    except SandboxFault as fault:
        return Outcome(None, fault=fault, seen=stage.seen())
    log = sandbox.log() if isinstance(sandbox, Weakened) else b""
    if "frames checked" in off:
        crashed = _crashes(execution)
        return Outcome(None, execution, crashed=crashed, seen=stage.seen(), log=log)
    careless = _CARELESS.keys() & set(off)
    if careless:
        return Outcome(None, execution, **_cost(lambda: _CARELESS[careless.pop()](execution.frames)))
    runs: list[Run] = []
    cost = _cost(lambda: _longest(runs, observe(execution, source, tests, expected, None)))
    run = runs[0]
    if "plain data" in off:
        _unpickle(run)
    decision = _rule(off)(run)
    reason = decision.reason if "clean reasons" in off else one_line(decision.reason)
    return Outcome(run, execution, None, False, decision.accepted, reason, stage.seen(), log=log, **cost)


def _cost(read: Callable[[], int]) -> dict[str, Any]:
    """What reading took; ``read`` gives the length of the longest text that it keeps."""
    tracemalloc.start()
    start = time.process_time()
    longest = read()
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"seconds": seconds, "peak_mb": peak / (1 << 20), "longest": longest}


def _longest(runs: list[Run], run: Run) -> int:
    runs.append(run)
    return max(len(text) for call in run.calls for text in (call.text, *call.error))


def _parsed_at_once(frames: bytes) -> int:
    _trusting_reader(frames)
    return 0


def _built(frames: bytes) -> int:
    """A reader that makes sets of what is said to be one."""
    for tree in _trusting_reader(frames):
        if isinstance(tree, list) and tree[:1] == ["s"]:
            {int(item[1], 16) for item in tree[1:]}
    return 0


def _compared_whole(frames: bytes) -> int:
    """A reader that compares whatever came with a set of three numbers."""
    expected = codec.encode({1.5, 2.5, 3.5})
    for tree in _trusting_reader(frames):
        compare._Comparison(expected, 0.01).same(expected, tree)
    return 0


def _kept_whole(frames: bytes) -> int:
    return max(len(name) for frame in _trusting_frames(frames) for name in frame.get("k", ("",)))


_CARELESS = {
    "weighed first": _parsed_at_once,
    "sized first": _compared_whole,
    "never hashed": _built,
    "texts cut": _kept_whole,
}
"""defence -> a reader that does without it"""


def _rule(off: Collection[str]) -> Rule:
    """The honest rule, or one with the flaw that a missing defence makes."""
    if "compared outside" in off:
        return lambda run: every_call(run, _correct_or_noted)
    if "missing is a failure" in off:
        return _what_returned_is_right
    if "status not believed" in off:
        return EXPLOIT_TYPES["process_exit"].vulnerable.rule
    return compare_all


def _what_returned_is_right(run: Run) -> Decision:
    calls = [call for call in run.calls if call.outcome == "returned"]
    return Decision(bool(calls) and all(call.correct for call in calls), "all that returned")


def _crashes(execution: Execution) -> bool:
    """Whether a reader that trusts what a child sends breaks over it."""
    try:
        _trusting_reader(execution.frames)
    except (ValueError, RecursionError, struct.error, MemoryError, KeyError, TypeError):
        return True
    return False


def _trusting_reader(frames: bytes) -> Sequence[object]:
    return [frame["v"] for frame in _trusting_frames(frames, b"r")]


def _trusting_frames(frames: bytes, kinds: bytes = b"re") -> Sequence[dict[str, Any]]:
    read, at = [], 0
    while at < len(frames):
        (size,) = struct.unpack_from("<I", frames, at)
        tree = json.loads(frames[at + 5 : at + 5 + size])
        if frames[at + 4] in kinds:
            read.append(tree)
        at += 5 + size
    return read


def _unpickle(run: Run) -> None:
    """What a transport by pickle does to the process that reads it; here, a process of its own."""
    value = codec.decode(run.calls[0].tree)
    assert isinstance(value, bytes)
    reads = f"import pickle; pickle.loads({value!r})"
    subprocess.run([sys.executable, "-I", "-c", reads], check=False, capture_output=True)
