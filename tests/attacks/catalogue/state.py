"""What one run leaves for the next, and what a crash takes along."""

from __future__ import annotations

from tests.attacks.attack import Attack, by_fault, by_its_word
from tests.attacks.catalogue.network import IPC

FAMILY = "state"
FRESH = ("fresh process",)


def left(leave: str, look: str) -> tuple[str, str]:
    """One submission that leaves something, and one that looks for it (an expression)."""
    header = "import ctypes, gc, locale, math, os, sys, threading, time\n"
    return (
        f"{header}def solve(*args):\n    {leave}\n    return 0",
        f'{header}def solve(*args):\n    return "through" if {look} else "stopped"',
    )


def state(name: str, leave: str, look: str, without: tuple[str, ...] = FRESH) -> Attack:
    source, then = left(leave, look)
    return Attack(name, FAMILY, source, by_its_word, without, then=then)


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
    Attack(
        "takes the zygote along with a crash", FAMILY,
        "import ctypes\ndef solve():\n    ctypes.string_at(0)", by_fault, FRESH,
    ),
    Attack("takes the zygote along with an abort", FAMILY, "import os\ndef solve():\n    os.abort()", by_fault, FRESH),
    Attack(
        "takes the zygote along by leaving", FAMILY, "import os\ndef solve():\n    os._exit(7)", by_fault, FRESH,
    ),
)  # fmt: skip
