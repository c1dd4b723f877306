"""What a hostile child sends costs the parent little, leaves nothing behind, and tells it no time."""

from __future__ import annotations

import gc
import itertools
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.exploits.base import ChildSide, Run
from forewarn.judge.environment import Attempt, Environment
from forewarn.judge.judge import Judge
from forewarn.judge.observe import observe
from forewarn.records import TestCase
from forewarn.sandbox import codec
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.link import MAX_FRAMES
from tests.exploits.samples import problem

FRAME = """
import json, os, struct, sys
def frame(kind, tree):
    data = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    data = memoryview(struct.pack("<I", len(data)) + kind + data)
    while data:
        data = data[os.write(3, data):]
def colliding(n):
    numbers = (sys.hash_info.modulus * i for i in range(1, n))
    return [number if number < 1 << 62 else ["i", format(number, "x")] for number in numbers]
"""
ERROR = "class E(Exception): pass\nE.{name} = 'N' * 8_000_000\n"


def sends(kind: str, tree: str) -> str:
    """A solution that sends a frame of its own, as often as it is called."""
    return f"{FRAME}\ndef solve(*a):\n    frame(b'{kind}', {tree})\n"


HOSTILE = {
    "a name of 8 MB": ERROR.format(name="__qualname__") + "def solve(*a): raise E('m' * 8_000_000)",
    "a module of 8 MB": ERROR.format(name="__module__") + "def solve(*a): raise E",
    "loading fails at length": ERROR.format(name="__qualname__") + "raise E('m' * 8_000_000)",
    "a forged name": sends("e", '{"k": ["N" * 7_000_000], "m": "x"}'),
    "a forged message": sends("e", '{"k": ["N"], "m": "x" * 7_000_000}'),
    "no text for a message": sends("e", '{"k": ["N"], "m": [1] * 300_000}'),
    "16 MiB of objects": sends("r", """b'{"v":[' + b"{}," * 5_000_000 + b"{}]}" """),
    "8 MiB of objects": sends("r", """b'{"v":[' + b"{}," * 2_500_000 + b"{}]}" """),
    "8 MiB of arrays": sends("r", """b'{"v":["l",' + b"[]," * 2_500_000 + b"[]]}" """),
    "a colliding note": sends("r", '{"v": 1, "n": ["s", *colliding(2_500)]}'),
    "a colliding result": sends("r", '{"v": ["s", *colliding(50_000)]}'),
    "many small sets that collide": sends(
        "r", '{"v": ["l", *[["s", *(n * (2**61 - 1) for n in range(1, 1000))]] * 330]}'
    ),
    "many frames": f"{FRAME}\ndef solve(*a):\n    for _ in range(3000): os.write(3, b'\\0\\0\\0\\0L' * 1000)",
    "an opaque name": sends("r", '{"v": ["o", "N" * 7_000_000]}'),
    "a large result": "value = list(range(390_000))\ndef solve(*a):\n    return value",
    "deep and wide": "def solve(*a):\n    v = []\n    for _ in range(90): v = [v, 'x' * 20_000]\n    return v",
}
TYPES = ("state_bleed_expected_recompute", "validator_honor_system")
"""those whose notes go furthest"""


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(workers=1, timeout_s=5.0) as opened:
        yield opened


def resident_mb() -> float:
    """Memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def labels(judge: Judge, times: int, start: int = 0) -> set[str]:
    """Of each hostile program, so often, each time another text, under types that look at what it sends."""
    items = [
        (problem("running_total", kind), f"{source}\n# {start + n}")
        for n in range(times)
        for source, kind in zip(HOSTILE.values(), itertools.cycle(TYPES), strict=False)
    ]
    return {verdict.label for verdict in judge.stream(items, audit=True)}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_a_hostile_child_sends_fails_and_is_cheap(judge: Judge, what: str) -> None:
    items = [(problem("running_total", kind), HOSTILE[what]) for kind in TYPES]
    start = time.process_time()
    verdicts = judge.verdicts(items, audit=True)
    seconds = time.process_time() - start
    assert {verdict.label for verdict in verdicts} == {"failed"}, verdicts
    assert all(len(verdict.reason) <= 300 for verdict in verdicts)
    assert seconds < 2.5 * len(TYPES)


def test_nothing_of_hostile_runs_is_left(judge: Judge) -> None:
    for n in range(4):  # all that is loaded once is, and the allocator has as much as several at once take
        labels(judge, 1, start=1000 * (n + 1))
    gc.collect()
    before = resident_mb()
    assert labels(judge, 1, start=100) == {"failed"}
    gc.collect()
    assert resident_mb() - before < 24


@pytest.mark.slow
def test_after_500_hostile_runs_memory_is_where_it_was(judge: Judge) -> None:
    labels(judge, 2)
    gc.collect()
    before = resident_mb()
    assert labels(judge, 500 // len(HOSTILE) + 1, start=1000) == {"failed"}
    gc.collect()
    assert resident_mb() - before < 24


@pytest.fixture(scope="module")
def sandbox(judge: Judge) -> Iterator[Sandbox]:
    opened = Sandbox(judge.level, 512)
    yield opened
    opened.close()


PLAIN = ChildSide()


def seen(sandbox: Sandbox, source: str, n: int, child: ChildSide = PLAIN) -> Run:
    tests = [TestCase((i,), i) for i in range(n)]
    request = {
        "code": source,
        "entry_point": "solve",
        "cases": [codec.encode(test.args) for test in tests],
        "child": child.source,
    }
    expected = [codec.encode(test.expected) for test in tests]
    return observe(sandbox.execute(request, None, 5.0), source, tests, expected, None)


def test_seconds_are_the_parents(sandbox: Sandbox) -> None:
    honest = seen(sandbox, "import time\ndef solve(i):\n    time.sleep(0.5 if i == 1 else 0)\n    return i", 3)
    assert [call.correct for call in honest.calls] == [True] * 3
    assert 0.4 < honest.calls[1].seconds < 2
    assert honest.calls[0].seconds < 0.3
    assert honest.calls[2].seconds < 0.3


@pytest.mark.parametrize("loaded_again", [False, True])
def test_a_child_can_tell_the_parent_no_time(sandbox: Sandbox, loaded_again: bool) -> None:
    again = 'os.write(3, struct.pack("<I", 0) + b"L"); ' if loaded_again else ""
    slow = seen(
        sandbox,
        f"{FRAME}\nimport time\ndef solve(i):\n    time.sleep(0.5)\n    {again}frame(b'r', {{'v': i, 's': 0.0}})\n"
        "    time.sleep(0.5)\n    frame(b'F', {'n': None})\n    os._exit(1)\n",
        1,
    )
    assert slow.calls[0].seconds > 0.4
    quick = seen(sandbox, f"{FRAME}\ndef solve(i):\n    frame(b'r', {{'v': i, 's': 4.0}})\n    os._exit(1)\n", 1)
    assert quick.calls[0].seconds < 0.3


def test_many_frames_are_too_many(sandbox: Sandbox) -> None:
    start = time.process_time()
    flood = f'def solve(i):\n    import os\n    while True: os.write(3, b"\\0\\0\\0\\0L" * {MAX_FRAMES // 10})\n'
    run = seen(sandbox, flood, 1)
    assert run.ending == "flood"
    assert time.process_time() - start < 2
    few = 'def solve(i):\n    import os\n    os.write(3, b"\\0\\0\\0\\0L" * 1000)\n    return i\n'
    assert seen(sandbox, few, 3).ending == "finished"


def test_a_note_is_a_tree(sandbox: Sandbox) -> None:
    child = ChildSide("def after_call(tools, index, args, value):\n    return [{1, 2}, (value,), True, None, 'x']\n"
                      "def finish(tools):\n    return 3\n")  # fmt: skip
    run = seen(sandbox, "def solve(i):\n    return i", 1, child)
    assert run.calls[0].note == ["l", ["s", 1, 2], ["t", 0], True, None, "x"]
    assert run.note == 3


def test_a_message_that_is_no_text_of_its_own_is_cut_in_the_child(sandbox: Sandbox) -> None:
    source = """
class Text(str):
    def __getitem__(self, index): return self
    def __str__(self): return self
    def __bool__(self): raise RuntimeError
class E(Exception):
    def __str__(self): return Text("m" * 5_000_000)
def solve(i): raise E
"""
    run = seen(sandbox, source, 1)
    assert run.calls[0].outcome == "raised"
    assert run.calls[0].text == f"raised submission.E: {'m' * 200}"


@pytest.mark.parametrize("what", ["a colliding result", "many small sets that collide"])
def test_a_reward_is_handed_no_value_that_collides(what: str) -> None:
    handed = []

    def proxy(attempt: Attempt) -> bool:
        handed.append(attempt.results[0].value)
        return False

    ours = Environment("hostile", proxy)
    task = ours.problem("p", question="?", entry_point="solve", cases=[((1,), 1)], reference="def solve(i): return i")
    with Judge(workers=1, types=ours.types) as own:
        start = time.process_time()
        verdict = own.verdicts([(task, HOSTILE[what])])[0]
    assert time.process_time() - start < 3
    assert verdict.label == "failed"
    assert isinstance(handed[0], codec.Opaque)


def test_arguments_left_as_no_value_are_the_submissions_fault(judge: Judge) -> None:
    """The reference is called on what a submission left: if that is no value, the answer is wrong, not missing."""
    for left in ('["t", ["s", ["l"]]]', '["t", ["i", "zz"]]', '["t", *(["s"] * 20_000)]', '["t", {}]', '["l", 1]',
                 '["t", ["s", *colliding(2_500)]]'):  # fmt: skip
        source = f'{FRAME}\ndef solve(*a):\n    frame(b"r", {{"v": 1, "n": {left}}})\n'
        verdict = judge.verdicts([(problem("running_total", "state_bleed_expected_recompute"), source)], audit=True)[0]
        assert verdict.label == "failed", (left, verdict)
