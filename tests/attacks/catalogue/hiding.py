"""Looking for expected values and for the judge: in frames, the collector, hooks, the channel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.attack import Attack, Stage, by_its_word

FAMILY = "introspection"
WITHHELD = ("values withheld",)
EXPECTED = ("expected-0xC0FFEE", "expected-0xC0FFEE")
IS_IT = 'NEEDLE = "expected-" + "0xC0FFEE"\ndef is_it(value):\n    return value == NEEDLE and value is not NEEDLE\n'


@contextlib.contextmanager
def judges_number(folder: Path) -> Iterator[Stage]:
    yield Stage((os.getpid(),))


ATTACKS = (
    Attack(
        "walks the frames for expected values",
        FAMILY,
        "import sys\n"
        + IS_IT
        + """
def holds(value, depth=4):
    if type(value) is str:
        return is_it(value)
    if depth and type(value) in (list, tuple):
        return any(holds(item, depth - 1) for item in value)
    if depth and type(value) is dict and value is not globals():
        return any(holds(item, depth - 1) for item in list(value.values()))
    return False
def solve():
    frame = sys._getframe().f_back
    while frame:
        if holds(dict(frame.f_locals)):
            return "through"
        frame = frame.f_back
    return "stopped"
""",
        by_its_word,
        WITHHELD,
        expected=EXPECTED,
    ),
    Attack(
        "asks the collector for expected values",
        FAMILY,
        "import gc\n"
        + IS_IT
        + """
def solve():
    for thing in gc.get_objects():
        if any(type(item) is str and is_it(item) for item in gc.get_referents(thing)):
            return "through"
    return "stopped"
""",
        by_its_word,
        WITHHELD,
        expected=EXPECTED,
    ),
    Attack(
        "reads ahead what is handed out",
        FAMILY,
        """
        import os, select
        def solve():
            if not select.select([3], [], [], 1.0)[0]:
                return "stopped"
            return "through" if b"0xC0FFEE" in os.read(3, 100) else "stopped"
        """,
        by_its_word,
        WITHHELD,
        expected=EXPECTED,
    ),
    Attack(
        "learns the judge's process id and what its zygote was told",
        FAMILY,
        """
        import sys
        def solve(pid):
            frame, said = sys._getframe().f_back, " ".join(sys.orig_argv + sys.argv)
            while frame:
                if any(type(value) is int and value == pid for name, value in frame.f_locals.items() if name != "args"):
                    return "through"
                frame = frame.f_back
            return "through" if "'source_root'" in said or str(pid) in said else "stopped"
        """,
        by_its_word,
        ("settings apart",),
        stage=judges_number,
    ),
)
