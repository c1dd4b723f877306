"""Looking for the expected values: frames, the collector, hooks, the channel."""

from __future__ import annotations

from tests.attacks.attack import Attack, by_its_word

FAMILY = "introspection"
WITHHELD = ("values withheld",)
EXPECTED = ("expected-0xC0FFEE", "expected-0xC0FFEE")
IS_IT = 'NEEDLE = "expected-" + "0xC0FFEE"\ndef is_it(value):\n    return value == NEEDLE and value is not NEEDLE\n'

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
)
