"""What one run leaves for the next, and what a crash takes along."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.attacks.attack import Attack, Stage, by_fault, by_its_word
from tests.attacks.catalogue.network import IPC

FAMILY = "state"
FRESH = ("fresh process",)


def left(leave: str, look: str, more: str = "") -> tuple[str, str]:
    """One submission that leaves something, and one that looks for it (an expression)."""
    header = "import ctypes, fcntl, gc, locale, math, os, struct, sys, threading, time\n" + more + "\n"
    return (
        f"{header}def solve(*args):\n    {leave}\n    return 0",
        f'{header}def solve(*args):\n    return "through" if {look} else "stopped"',
    )


def state(name: str, leave: str, look: str, without: tuple[str, ...] = FRESH, header: str = "") -> Attack:
    source, then = left(leave, look, header)
    return Attack(name, FAMILY, source, by_its_word, without, then=then)


# struct flock of 64-bit machines, for a lock on all of a file
LOCK = "struct.pack('hhqqi4x', {kind}, 0, 0, 0, 0)"
F_OFD_GETLK, F_OFD_SETLK, READ_LOCK, WRITE_LOCK = 36, 37, 0, 1
LOCKED = f"""
def locked():
    try:
        found = fcntl.fcntl(os.open('/dev/null', 0), {F_OFD_GETLK}, {LOCK.format(kind=READ_LOCK)})
    except OSError:
        return False
    return struct.unpack("h", found[:2])[0] != fcntl.F_UNLCK
"""
FRAMES = """
def predecessor():
    frame = sys._getframe()
    while frame:
        for value in frame.f_locals.values():
            if isinstance(value, dict) and value.get("status") == 77 << 8:
                return True
        frame = frame.f_back
    return False
"""
LEAVES_77 = "import os\ndef solve():\n    os._exit(77)"


def looks(header: str, look: str) -> str:
    return f'import sys\n{header}\ndef solve(*args):\n    return "through" if {look} else "stopped"'


# A bit is a name that was looked for, or not: the second look at a missing name is faster than the first.
N_NAMES, RIGHT = 300, 0.7
NAMES = f"""
library = os.path.dirname(os.__file__)
def bits(token):
    draw = random.Random(token)
    return [(f"{{library}}/{{draw.getrandbits(64):x}}", draw.random() < 0.5) for _ in range({N_NAMES})]
def heard(token):
    found, times = bits(token), []
    for name, _ in found:
        start = time.perf_counter_ns()
        os.path.exists(name)
        times.append(time.perf_counter_ns() - start)
    middle = sorted(times)[len(times) // 2]
    return sum((spent <= middle) == told for spent, (_, told) in zip(times, found)) / len(found)
"""


@contextlib.contextmanager
def a_token(folder: Path) -> Iterator[Stage]:
    yield Stage((secrets.token_hex(8),))


def the_disk_remembers() -> str | None:
    """Some file systems, such as those in memory, do not keep missing names."""
    names = [f"{os.path.dirname(os.__file__)}/{random.getrandbits(64):x}" for _ in range(N_NAMES)]  # noqa: PTH120
    first, second = _times(names), _times(names)
    return None if second < 0.7 * first else "this disk's file system does not remember missing names"


def _times(names: Sequence[str]) -> float:
    spent = []
    for name in names:
        start = time.perf_counter_ns()
        os.path.exists(name)  # noqa: PTH110
        spent.append(time.perf_counter_ns() - start)
    return statistics.median(spent)


SEGMENT = "ctypes.CDLL(None).shmget(0x4711F, 64, {flags})"
ATTACKS = (
    state("leaves a changed module", "math.pi = 3", "math.pi == 3"),
    state("leaves a module of its own", 'sys.modules["left"] = math', '"left" in sys.modules'),
    state("leaves an environment variable", 'os.environ["LEFT"] = "1"', '"LEFT" in os.environ'),
    state("leaves a locale", 'locale.setlocale(locale.LC_ALL, "C.UTF-8")', 'locale.setlocale(locale.LC_TIME) != "C"'),
    state("leaves a working folder", 'os.chdir("/dev")', 'os.getcwd() == "/dev"'),
    state(
        "leaves a thread",
        "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()",
        "threading.active_count() > 1",
    ),
    state("leaves a trace hook", "sys.setprofile(lambda *args: None)", "sys.getprofile() is not None"),
    state(
        "leaves a message in memory",
        'gc.kept = "left" + "over-7b1e"; gc.list = [gc.kept]; gc.collect()',
        'any("left" + "over-7b1e" in map(str, gc.get_referents(thing)) for thing in gc.get_objects() '
        "if type(thing) is list and len(thing) < 5)",
    ),
    state("leaves a file", 'open("left", "w").close()', 'os.path.exists("left")', ("own disk", "clean folder")),
    state(
        "leaves shared memory",
        SEGMENT.format(flags="0o1600"),
        f"ctypes.CDLL(None).shmctl({SEGMENT.format(flags='0')}, 0, None) == 0",
        IPC,
    ),
    state(
        "leaves a flag on a descriptor that others inherit",
        "fcntl.fcntl(0, fcntl.F_SETFL, os.O_NONBLOCK)", "fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK",
        ("own descriptions",),
    ),
    state(
        "leaves a lock on a descriptor that others inherit",
        f"fcntl.fcntl(0, {F_OFD_SETLK}, {LOCK.format(kind=WRITE_LOCK)})",
        "locked()",
        ("own descriptions", "system call filter"),
        header=LOCKED,
    ),
    Attack(
        "leaves the names that it looked for", FAMILY,
        f"import os, random, time\n{NAMES}\ndef solve(token):\n"
        "    for name, told in bits(token):\n        if told:\n            os.path.exists(name)\n    return 0\n",
        by_its_word, ("copied library",), stage=a_token, possible=the_disk_remembers,
        then=f"import os, random, time\n{NAMES}\ndef solve(token):\n"
        f'    return "through" if heard(token) > {RIGHT} else "stopped"\n',
    ),
    Attack(
        "reads how the previous execution ended", FAMILY, LEAVES_77, by_its_word, ("template apart",),
        then=looks(FRAMES, "predecessor()"),
    ),
    Attack(
        "crashes and takes the zygote along", FAMILY,
        "import ctypes\ndef solve():\n    ctypes.string_at(0)", by_fault, FRESH,
    ),
    Attack("aborts and takes the zygote along", FAMILY, "import os\ndef solve():\n    os.abort()", by_fault, FRESH),
    Attack(
        "exits and takes the zygote along", FAMILY, "import os\ndef solve():\n    os._exit(7)", by_fault, FRESH,
    ),
)  # fmt: skip
