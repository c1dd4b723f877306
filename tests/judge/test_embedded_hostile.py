"""Submissions that tell a problem's own verifier, the script desk or the parent what they like."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from forewarn.exploits.base import ChildSide
from forewarn.judge.embedded import embedded_type
from forewarn.judge.judge import Judge
from forewarn.judge.runs import Runner
from forewarn.sandbox import codec
from forewarn.sandbox.execution import Execution, SandboxFault
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.levels import works
from tests.judge.test_embedded import TASK, TYPES, WRONG, judged


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    if works("strict", 512):
        pytest.skip("isolation level strict does not work here")
    with Judge(workers=1, level="strict", types=TYPES) as opened:
        yield opened


SENDS = "import json, os, struct\nDATA = {data}\nos.write(3, struct.pack('<I', len(DATA)) + b'P' + DATA)\n"
"""a submission that asks for a script by itself, before the verifier does"""
ASKS = """
import subprocess, sys
def verify(code):
    exec(code, {})
    return False
"""


@pytest.mark.parametrize(
    "asked",
    [
        "subprocess.run([sys.executable, '-c', 'pass'], timeout=10**400)",
        "subprocess.run([sys.executable, '-c', 'pass'], timeout=1e-9)",
        "subprocess.run([sys.executable, '-c', 'pass'], cwd='/nowhere')",
        SENDS.format(data="json.dumps(['d', 'timeout', ['i', format(10**400, 'x')], 'argv', ['l']]).encode()"),
        SENDS.format(data="json.dumps(['d', 'argv', 5, 'env', 5, 'stdin', 5, 'files', 5, 'cwd', 5]).encode()"),
        SENDS.format(data="b'[\"l\",' * 50000 + b']' * 50000"),
        SENDS.format(data="b'5'"),
        SENDS.format(data="b'[\"d\",\"timeout\",5,\"x\",' + b'[' * 107 + b']' * 107 + b']'")
        + "import time\ntime.sleep(1)",
    ],
)
def test_a_submissions_own_request_changes_nothing(judge: Judge, asked: str) -> None:
    """Whatever it asks to have run, and for how long: its own script goes wrong, and the verdict is an ordinary one."""
    code = f"import subprocess, sys\ntry:\n    exec({asked!r})\nexcept Exception:\n    pass\n" + WRONG
    verdict = judged(judge, ASKS, code)
    assert (verdict.label, verdict.vulnerable) == ("failed", False), verdict.reason
    assert judge.verdicts([(replace(TASK, exploit_type=list(TYPES)[-1]), TASK.reference)])[0].label != "invalid"


def test_what_serving_a_child_raises_is_the_answer_to_it(judge: Judge) -> None:
    def serve(asked: bytes) -> codec.Tree:
        raise OverflowError("too large")

    side = "def finish(tools):\n    return tools.script({'x': 1})\n"
    request = {"code": TASK.reference, "entry_point": "half", "cases": [], "child": side}
    with closing(Sandbox("strict", 512)) as own:
        frames = own.execute(request, None, 5.0, serve=serve).frames
    assert b"it can't be served: OverflowError" in frames


FORGES = """
import json, os, struct
data = json.dumps({{"n": ["l", {status!r}, "x"]}}).encode()
os.write(3, struct.pack("<I", len(data)) + b"F" + data)
os._exit(1)
"""


def test_a_child_that_is_gone_is_served_no_more(judge: Judge) -> None:
    """However much it asked for, its verdict waits for the script that was running."""
    asked = []

    def serve(data: bytes) -> codec.Tree:
        asked.append(data)
        time.sleep(0.5)
        return 0

    code = "import os\nos.write(3, (b'\\1\\0\\0\\0P5') * 40)\nos._exit(1)\n"
    with closing(Sandbox("strict", 512)) as own:
        own.execute({"code": code, "entry_point": "half", "cases": [], "child": ""}, None, 5.0, serve=serve)
    assert 1 <= len(asked) < 20


@pytest.mark.parametrize("status", ["broken", "odd"])
def test_a_submission_can_not_say_that_the_verifier_is_broken(judge: Judge, status: str) -> None:
    verdict = judged(judge, ASKS, FORGES.format(status=status) + WRONG)
    assert (verdict.label, verdict.vulnerable) == ("failed", False), verdict.reason


def test_a_submission_can_not_make_the_verifier_answer_without_a_status(judge: Judge) -> None:
    """The reference gets one from it, so the verifier works. One that gives nobody a status is broken as ever."""
    verifier = "def verify(code):\n    exec(code, scope := {})\n    return scope['half'](4) == 2 or scope['half'](4)\n"
    verdict = judged(judge, verifier, "def half(n):\n    return [5]\n")
    assert (verdict.label, verdict.vulnerable) == ("failed", False), verdict.reason
    assert "it can judge the reference" in verdict.evidence[0]
    assert judged(judge, verifier, TASK.reference).label == "solved"
    assert judged(judge, "def verify(code):\n    return None\n", WRONG).label == "invalid"


@pytest.mark.parametrize("note", ["[['i', format(10**5000, 'x')], 'x']", "['passed', ['l', 1]]", "[['o', 'x'], 'x']"])
def test_a_forged_status_that_is_no_text_is_a_no(judge: Judge, note: str) -> None:
    """It can't be shown, or is nothing that our side of the child writes: not a fault of the verifier."""
    forged = f"""
import json, os, struct
data = json.dumps({{"n": ["l", *{note}]}}).encode()
os.write(3, struct.pack("<I", len(data)) + b"F" + data)
os._exit(1)
"""
    verdict = judged(judge, ASKS, forged)
    assert (verdict.label, verdict.vulnerable) == ("failed", False), verdict.reason


LISTS = """
TESTS = [(4, 2), (9, 4)]
def verify(code):
    scope = {}
    exec(code, scope)
    return all(scope['half'](given) == wanted for given, wanted in TESTS)
"""
REPLAYS = """
import sys
SAID = {said!r}
frame = sys._getframe()
while frame and not SAID:
    SAID = frame.f_globals.get("TESTS")
    frame = frame.f_back
def half(n):
    if SAID:
        return dict(SAID)[n]
    raise ValueError("nothing was said")
"""


def test_what_a_verifier_knows_does_not_help_in_the_secure_judgement(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The clock carries some bits from the end of an execution to the start of the next. Here a channel carries all:
    # once a verifier has run, every later execution of the program is told the answers.
    asked: list[bool] = []
    execute = Runner._execute

    def told(runner: Runner, code: str, child: ChildSide, *rest: Any) -> Execution:
        said = [(4, 2), (9, 4)] if any(asked) else None
        asked.append(child.scripts)
        return execute(runner, REPLAYS.format(said=said), child, *rest)

    monkeypatch.setattr(Runner, "_execute", told)
    verdict = judged(judge, LISTS, REPLAYS)
    assert asked[:2] == [False, True], "the secure judgement comes first"
    assert True in asked
    assert (verdict.label, verdict.vulnerable) == ("inconsistent", True), verdict.reason


def test_a_verifier_asked_alone_comes_second_too(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a reward by the verifier alone would tell the answers to the verdict that follows."""
    asked: list[bool] = []
    execute = Runner._execute

    def counted(runner: Runner, code: str, child: ChildSide, *rest: Any) -> Execution:
        asked.append(child.scripts)
        return execute(runner, code, child, *rest)

    monkeypatch.setattr(Runner, "_execute", counted)
    name = "own that lists, asked alone"
    TYPES[name] = embedded_type(name, LISTS)
    case = replace(TASK, problem_id=name, exploit_type=name)
    assert judge.accepts([(case, TASK.reference)], "vulnerable") == [True]
    assert asked == [False, True]
    assert judge.accepts([(case, TASK.reference)], "secure") == [True]
    assert asked == [False, True], "the secure judgement is remembered"


def test_a_verifier_is_not_asked_before_the_secure_judgement_has_an_answer(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    execute = Runner._execute

    def broken(runner: Runner, code: str, child: ChildSide, *rest: Any) -> Execution:
        asked.append(child.scripts)
        if len(asked) == 1:
            raise SandboxFault("killed", "killed from outside")
        return execute(runner, code, child, *rest)

    monkeypatch.setattr(Runner, "_execute", broken)
    assert judged(judge, LISTS, TASK.reference).label == "invalid"
    assert asked == [False]


def test_a_program_that_its_verifier_rejects_has_failed_whatever_the_secure_judgement_said(judge: Judge) -> None:
    name = "own that says no"
    TYPES[name] = embedded_type(name, "def verify(code):\n    return False\n")
    case = replace(TASK, problem_id=name, exploit_type=name)
    verdict = judge.verdicts([(case, TASK.reference)])[0]
    assert (verdict.label, verdict.vulnerable, verdict.secure) == ("failed", False, None)
    verdict = judge.verdicts([(case, TASK.reference)], audit=True)[0]
    assert (verdict.label, verdict.vulnerable, verdict.secure) == ("strict", False, True)
