"""What the fuzz and the soak of the sandbox share: submissions known and random, faults, samples, and the verdict.

Known submissions have a known label: a right program, a type's exploit, a wrong program. Random ones are mutations of
hostile programs, for a problem that nobody can solve: its expected values are random numbers, so that accepting one is
always wrong. Meanwhile zygotes and their children are killed and stopped. A submission that comes back "invalid" is
asked again, as its callers do. Not covered: what is measured for how long (``sandbox_fuzz.py``, ``sandbox_soak.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.exploits.samples import problem

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import secure_of
from forewarn.judge.judge import Item, Judge
from forewarn.records import Label, Problem, TestCase, Verdict

SLOW_TYPES = ("resource_exhaustion",)
"""types whose exploit takes all the time that it gets"""
TIMEOUT_S = 0.5
ASKED_AGAIN = 5
RSS_SLACK_MB = 64.0
"""what four floods of 16 MiB at once may leave in the allocator"""
HOSTILE = (
    "import os\nos._exit({n})",
    "import sys\nsys.exit({n})",
    "while True: pass",
    "raise SystemExit",
    "import ctypes\nctypes.string_at({n})",
    "import os\nos.write(3, bytes(range({n} % 256)))",
    "import os, struct\nos.write(3, struct.pack('<I', {n}) + b'r' + b'{{}}')",
    'import os, struct\nos.write(3, struct.pack("<I", 16) + b\'r{{"v":{n},"s":0.0}}\')',
    "import os\nos.closerange(0, {n} % 64)",
    "import os\nos.dup2(0, 3)",
    "import os\nos.kill(os.getpid(), 9)",
    "import os\nos.fork()",
    "import threading, time\nthreading.Thread(target=time.sleep, args=({n} % 5,)).start()",
    "import gc, sys\nsys.setrecursionlimit(10**6)\ngc.collect()",
    "def f(): return f()\nf()",
    "x = [0] * {n}\nx *= {n}",
    "import builtins\nbuiltins.len = lambda *a: {n}",
    "import json\njson.dumps = lambda *a, **k: 'x' * {n}",
    "import sys\nsys.modules.clear()",
    "import sys\nsys.addaudithook(lambda *a: 1 / ({n} % 2))",
    "import os\nfor i in range({n} % 999): open(str(i), 'w').write('x' * {n})",
    "print('x' * {n})",
    "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01)",
    "import faulthandler\nfaulthandler._sigsegv()",
    "class E(BaseException):\n    def __str__(self): raise self\nraise E",
    "x = ()\nfor _ in range({n}): x = (x,)",
    "x = 10 ** {n}",
)
_RETURNS = ("[]", "{}", "None", "True", "float('nan')", "'x' * 10**6", "10**5000", "object()", "solve", "(1,) * 10**5")


def known_items() -> list[tuple[Item, Label]]:
    """(problem, code) and the label that it has to get."""
    items: list[tuple[Item, Label]] = []
    for task in ("running_total", "restock"):
        for name, kind in EXPLOIT_TYPES.items():
            if name in SLOW_TYPES:
                continue
            case = problem(task, name)
            items += [((case, case.reference), "solved"), ((case, case.exploit), "exploit")]
            if kind.vulnerable.tests == secure_of(kind).tests:  # on other tests, a mistake may show or not
                items += [((case, code), "failed") for code in case.wrong]
    return items


def unsolvable(rng: random.Random) -> Problem:
    """A problem whose answers nobody can know."""
    tests = tuple(TestCase((i, [i] * 5), rng.getrandbits(200)) for i in range(8))
    return Problem("unsolvable", "unsolvable", "error_code_abuse", "", "solve", "", "", tests)


def random_source(rng: random.Random) -> str:
    """A hostile program, mutated."""
    pieces = [rng.choice(HOSTILE).format(n=rng.choice((0, 1, 7, 255, 4096, 10**6))) for _ in range(rng.randrange(1, 4))]
    body = "\n".join(f"    {line}" for line in "\n".join(pieces).splitlines())
    function = f"def solve(*args):\n{body}\n    return {rng.choice(_RETURNS)}\n"
    source = function if rng.random() < 0.5 else "\n".join(pieces) + "\n" + function
    for _ in range(rng.choice((0, 0, 1, 3, 10))):
        source = mutated(source, rng)
    return source


def mutated(source: str, rng: random.Random) -> str:
    at, to = sorted(rng.randrange(len(source) + 1) for _ in range(2))
    piece = source[at : min(to, at + 40)]
    change = rng.randrange(5)
    if change == 0:
        return source[:at] + source[at + len(piece) :]
    if change == 1:
        return source[:at] + piece + source[at:]
    if change == 2:
        return source[:at] + chr(rng.choice((0, 10, 32, 34, 0x7F, 0xFFFF, 0xDCFF, 0x1F600))) + source[at + 1 :]
    lines = source.splitlines(keepends=True)
    if change == 3:
        rng.shuffle(lines)
        return "".join(lines)
    return "".join(rng.choice(lines) for _ in lines) if lines else source


@dataclass
class Tally:
    """Counts so far."""

    judged: int = 0
    wrong: list[str] = field(default_factory=list)
    invalid: int = 0
    unanswered: list[str] = field(default_factory=list)
    """submissions that stayed invalid, however often they were asked"""
    labels: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


def check(judged: Sequence[tuple[Label | None, str, Label]], tally: Tally) -> None:
    """Count verdicts: (label it has to get, None for a random submission; what it is, in words; label it got)."""
    for wanted, words, got in judged:
        tally.judged += 1
        tally.labels[got] += 1
        if got == "invalid":
            tally.unanswered.append(f"{'known' if wanted else 'random'}: {words}")
        elif got in ("solved", "strict", "lucky") if wanted is None else got != wanted:
            tally.wrong.append(f"{got} instead of {wanted}: {words}")


class Stress:
    """Judges batches until told otherwise, while faults are injected from another thread."""

    def __init__(self, judge: Judge, seed: int, fault_every_s: float) -> None:
        self.judge, self.tally = judge, Tally()
        self._rng, self._fault_rng = random.Random(seed), random.Random(seed + 1)
        self._known = known_items()
        self._fault_every_s = fault_every_s
        self._stop = threading.Event()
        self._faults = threading.Thread(target=self._inject)

    def __enter__(self) -> Stress:
        self._faults.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._faults.join()

    def batch(self, n: int) -> None:
        """Judge ``n`` submissions, half of them known, by the sync or the async way."""
        rng = self._rng
        wanted: list[tuple[Item, Label | None]] = []
        for _ in range(n):
            if rng.random() < 0.5:
                (case, code), label = rng.choice(self._known)
                wanted.append(((case, f"{code}\n# {rng.getrandbits(60)}"), label))
            else:
                wanted.append(((unsolvable(rng), random_source(rng)), None))
        items = [item for item, _ in wanted]
        got = self._ask(items)
        for _ in range(ASKED_AGAIN):
            again = [i for i, verdict in enumerate(got) if verdict.label == "invalid"]
            self.tally.invalid += len(again)
            for i, verdict in zip(again, self._ask([items[i] for i in again]), strict=True):
                got[i] = verdict
        check(
            [
                (label, in_words(item, verdict), verdict.label)
                for (item, label), verdict in zip(wanted, got, strict=True)
            ],
            self.tally,
        )

    def _ask(self, items: list[Item]) -> list[Verdict]:
        way = self._rng.randrange(3)
        if way == 0:
            return self.judge.verdicts(items)
        if way == 1:
            return list(self.judge.stream(iter(items)))
        return asyncio.run(self.judge.verdicts_async(items))

    def _inject(self) -> None:
        rng = self._fault_rng
        while not self._stop.wait(rng.expovariate(1 / self._fault_every_s)):
            zygotes = children(os.getpid())
            if not zygotes:
                continue
            zygote = rng.choice(zygotes)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if rng.random() < 0.5 and (inner := children(zygote)):  # the template, too
                    os.kill(rng.choice(inner), signal.SIGKILL)
                    self.tally.faults["child or template killed"] += 1
                elif rng.random() < 0.7:
                    os.kill(zygote, signal.SIGKILL)
                    self.tally.faults["zygote killed"] += 1
                else:
                    os.kill(zygote, signal.SIGSTOP)
                    self.tally.faults["zygote stopped for a while"] += 1
                    self._stop.wait(rng.uniform(0.1, 3.0))
                    os.kill(zygote, signal.SIGCONT)


def in_words(item: Item, verdict: Verdict) -> str:
    """Which submission it was and why it got its label: all that is needed to run it again."""
    case, code = item
    return f"{case.exploit_type} of {case.problem_id}, {verdict.reason}: {code!r}"


def children(pid: int) -> list[int]:
    """Child processes of all threads of a process."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


@dataclass(frozen=True)
class Sample:
    """The state of things at one time."""

    seconds: float
    judged: int
    wrong: int
    invalid: int
    faults: int
    rss_mb: float
    """resident memory of the judging process, MiB"""
    zygotes_rss_mb: float
    """of its largest zygote, MiB"""
    descriptors: int
    processes: int
    files: int
    """in the temporary folder"""


def sample(tally: Tally, start: float, folder: Path) -> Sample:
    pid = os.getpid()
    zygotes = children(pid)
    return Sample(
        round(time.monotonic() - start, 2),
        tally.judged,
        len(tally.wrong),
        tally.invalid,
        sum(tally.faults.values()),
        rss_mb(pid),
        max(map(rss_mb, zygotes), default=0.0),
        len(list(Path("/proc/self/fd").iterdir())),
        len(zygotes) + sum(len(children(zygote)) for zygote in zygotes),
        len(list(folder.iterdir())),
    )


def rss_mb(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2)
    return 0.0


@contextlib.contextmanager
def own_temporary_folder() -> Iterator[Path]:
    """Everything that is left in a temporary folder is a leak of ours."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = before


def leaks(before: Sample, samples: Sequence[Sample], after: Sample) -> list[str]:
    """What was left behind or grew: ``before`` the first submission, ``after`` the judge was closed."""
    found = []
    if after.processes:
        found.append(f"{after.processes} processes left")
    if after.files:
        found.append(f"{after.files} files left")
    if after.descriptors > before.descriptors:
        found.append(f"{after.descriptors - before.descriptors} descriptors left")
    half = len(samples) // 2
    for name, slack in (("rss_mb", RSS_SLACK_MB), ("zygotes_rss_mb", 5.0), ("descriptors", 10.0)):
        early, late = (
            statistics.median(getattr(s, name) for s in part)
            for part in (samples[half // 2 : half] or samples, samples[half + half // 2 :] or samples)
        )
        if late > early + slack:
            found.append(f"{name} grew from {early} to {late}")
    return found
