"""What leaves the sandbox: forged, cut short, poisoned."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.attack import Attack, Outcome, Stage, by_cost, by_crash, by_evidence, by_verdict

FAMILY = "results"
OUTSIDE, MISSING, STATUS, FRAMES = (
    ("compared outside",),
    ("missing is a failure",),
    ("status not believed",),
    ("frames checked",),
)
TWO = (42, 43)
FRAME = """
import json, os, struct, sys
def frame(kind, tree):
    data = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    os.write(3, struct.pack("<I", len(data)) + kind + data)
"""


def sends(*statements: str) -> str:
    lines = "".join(f"    {statement}\n" for statement in statements)
    return f"{FRAME}\ndef solve(*args):\n{lines}    os._exit(1)\n"


@contextlib.contextmanager
def planted(folder: Path) -> Iterator[Stage]:
    path = folder / "planted"
    yield Stage((str(path),), path.exists)


def by_reason(outcome: Outcome) -> bool:
    """What is shown of it is more than visible, storable text in one line."""
    assert outcome.run is not None, outcome.fault
    return any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in outcome.reason)


ATTACKS = (
    Attack(
        "forges a passing result", FAMILY,
        sends("frame(b'r', {'v': 0, 's': 0.0, 'n': True})", "frame(b'F', {'n': None})"), by_verdict, OUTSIDE,
    ),
    Attack(
        "returns an object equal to everything", FAMILY,
        """
        class Yes(int):
            def __eq__(self, other):
                return True
            __hash__ = int.__hash__
        def solve():
            return Yes(3)
        """,
        by_verdict, OUTSIDE,
    ),
    Attack(
        "replaces builtins", FAMILY,
        """
        import builtins, sys
        plain = bool
        class Kind(type):
            def __instancecheck__(cls, value):
                return type(value) is plain
        class Forged(metaclass=Kind):
            def __new__(cls, value):
                builtins.bool = plain
                return True
        def solve():
            builtins.bool = Forged
            frame = sys._getframe()
            while frame:
                frame.f_locals.get("hooks", {}).get("__builtins__", {})["bool"] = Forged  # the checker's own
                frame = frame.f_back
            return 41
        """,
        by_verdict, OUTSIDE,
    ),
    Attack(
        "replaces the encoding in sys.modules", FAMILY,
        "import sys\ndef always(value, *, most_text=0):\n    return True\n"
        'sys.modules["forewarn.sandbox.codec"].encode.__code__ = always.__code__\n'
        "def solve():\n    return 41",
        by_verdict, OUTSIDE,
    ),
    Attack(
        "replaces json", FAMILY,
        "import json\nplain = json.JSONEncoder.encode\njson.JSONEncoder.encode = "
        "lambda self, tree: plain(self, {**tree, 'n': True} if type(tree) is dict else tree)\n"
        "def solve():\n    return 41",
        by_verdict, OUTSIDE,
    ),
    Attack(
        "makes its number equal to all by ctypes", FAMILY,
        """
        import ctypes
        COMPARE = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int)
        slot = ctypes.c_void_p.from_address(id(int) + 25 * ctypes.sizeof(ctypes.c_void_p))  # tp_richcompare
        plain = COMPARE(slot.value)
        equal = COMPARE(lambda a, b, op: True if a is 41 and op == 2 else plain(a, b, op))
        def solve():
            slot.value = ctypes.cast(equal, ctypes.c_void_p).value
            return 41
        """.replace("a is 41", "a is MINE").replace("import ctypes", "import ctypes\n        MINE = 41", 1),
        by_verdict, OUTSIDE,
    ),
    Attack(
        "drops the remaining tests", FAMILY,
        """
        import sys
        def solve():
            frame = sys._getframe()
            while frame:
                cases = frame.f_locals.get("cases")
                if isinstance(cases, list):
                    cases.clear()
                frame = frame.f_back
            return 42
        """,
        by_verdict, MISSING, expected=TWO,
    ),
    Attack(
        "exits after the answers that it knows", FAMILY,
        "import os\nasked = []\ndef solve():\n    if asked:\n        os._exit(1)\n    asked.append(1)\n    return 42",
        by_verdict, MISSING, expected=TWO,
    ),
    Attack(
        "announces the end after the first result", FAMILY,
        sends("frame(b'r', {'v': 42, 's': 0.0})", "frame(b'F', {'n': None})"),
        by_verdict, MISSING, expected=TWO,
    ),
    Attack(
        "crashes after the answers that it knows", FAMILY,
        "import ctypes\nasked = []\ndef solve():\n    if asked:\n        ctypes.string_at(0)\n    asked.append(1)\n"
        "    return 42",
        by_verdict, MISSING, expected=TWO,
    ),
    Attack("exits with 0 at import", FAMILY, "import sys\nsys.exit(0)", by_verdict, STATUS),
    Attack("exits with 0 in a call", FAMILY, "import sys\ndef solve():\n    sys.exit(0)", by_verdict, STATUS),
    Attack("exits the process with 0", FAMILY, "import os\ndef solve():\n    os._exit(0)", by_verdict, STATUS),
    Attack(
        "exits from an audit hook", FAMILY,
        """
        import os, sys
        armed = []
        sys.addaudithook(lambda event, args: os._exit(0) if armed else None)
        def solve():
            armed.append(1)
            sys.audit("anything")
            return 41
        """,
        by_verdict, STATUS,
    ),
    Attack(
        "closes every descriptor and exits with 0", FAMILY,
        "import os\nos.closerange(0, 1000)\ndef solve():\n    return 41\nos._exit(0)", by_verdict, STATUS,
    ),
    Attack(
        "points every descriptor at the null device and exits with 0", FAMILY,
        "import os\nfor handle in range(1, 32):\n    os.dup2(0, handle)\ndef solve():\n    return 41\nos._exit(0)",
        by_verdict, STATUS,
    ),
    Attack("sends half a length", FAMILY, sends(r"os.write(3, b'\x10')"), by_crash, FRAMES),
    Attack(
        "announces more than it sends", FAMILY, sends("os.write(3, struct.pack('<I', 2**32 - 1) + b'r')"),
        by_crash, FRAMES,
    ),
    Attack("sends invalid JSON", FAMILY, sends("frame(b'r', b'not json')"), by_crash, FRAMES),
    Attack("sends JSON of another shape", FAMILY, sends("frame(b'r', [1])"), by_crash, FRAMES),
    Attack("nests without end", FAMILY, sends("""frame(b'r', b'{"v": ' + b'[' * 500_000)"""), by_crash, FRAMES),
    Attack(
        "sends a number of a million digits", FAMILY, sends("""frame(b'r', b'{"v": ' + b'9' * 1_000_000 + b'}')"""),
        by_crash, FRAMES,
    ),
    Attack(
        "sends a poisoned pickle", FAMILY,
        """
        import pickle
        class Bomb:
            def __init__(self, path):
                self.path = path
            def __reduce__(self):
                return open, (self.path, "w")
        def solve(path):
            return pickle.dumps(Bomb(path))
        """,
        by_evidence, ("plain data",), stage=planted,
    ),
    Attack(
        "breaks the log with its error message", FAMILY,
        r"def solve():" "\n" r"    raise ValueError('two\nlines \udcff')", by_reason, ("clean reasons",),
    ),
    Attack(
        "shows another label on the terminal", FAMILY,
        r"def solve():" "\n" r"    raise ValueError('\x1b[2K\rlabel solved')", by_reason, ("clean reasons",),
    ),
    Attack(
        "writes backwards on the terminal", FAMILY,
        r"def solve():" "\n" r"    raise ValueError('\u202edevlos')", by_reason, ("clean reasons",),
    ),
    Attack(
        "fills the parent's memory with empty objects", FAMILY,
        sends("""frame(b'r', b'{"v": [' + b'{},' * 2_500_000 + b'{}]}')"""), by_cost, ("weighed first",),
    ),
    Attack(
        "fills the parent's memory with empty arrays", FAMILY,
        sends("""frame(b'r', b'{"v": [' + b'[],' * 2_500_000 + b'[]]}')"""), by_cost, ("weighed first",),
    ),
    Attack(
        "sends integers that collide", FAMILY,
        sends("frame(b'r', {'v': ['s', *(['i', format(sys.hash_info.modulus * i, 'x')] for i in range(30_000))]})"),
        by_cost, ("never hashed",),
    ),
    Attack(
        "sends a set of a few huge members", FAMILY,
        sends("member = '[\"l\"' + ',[\"l\"]' * 60_000 + ']'",
              "frame(b'r', ('{\"v\":[\"s\",' + ','.join([member] * 3) + '],\"n\":null}').encode())"),
        by_cost, ("sized first",), expected=({1.5, 2.5, 3.5},),
    ),
    Attack(
        "gives an exception a name of 7 MB", FAMILY,
        sends("frame(b'e', {'k': ['N' * 7_000_000], 'm': ''})"), by_cost, ("texts cut",),
    ),
    Attack(
        "hides code behind a declared encoding", FAMILY,
        "# -*- coding: utf-7 -*-\nvalue = 41\n# only a remark +AAo-value = 42\ndef solve():\n    return value",
        by_verdict, ("source as text",),
    ),
)  # fmt: skip
